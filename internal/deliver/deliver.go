// Package deliver writes a finished event to its target: stdout, a file of its own, or
// the end of a file of events. The target is checked before the command starts, so
// that a typo does not lose a two-hour run. If the target cannot take the event any
// more, the caller writes it to stderr as a last resort.
package deliver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Spec is where the event goes; if both files are empty, to stdout.
type Spec struct {
	// File is replaced by the event, atomically.
	File string
	// Append is a file to which the event is appended as one line.
	Append string
	// RunID replaces %i in the name of a file.
	RunID string
}

// Output is an event's opened target.
type Output struct {
	write func(ctx context.Context, event []byte) error
	name  string
	// partial is the file for the partial event; "" if the target has none.
	partial string
	// hasPartial reports whether that file is there, and ours.
	hasPartial bool
	// OwnsStdout reports that only the event goes to stdout: the command's own stdout
	// must go elsewhere.
	OwnsStdout bool
}

// Name returns the target's name for messages.
func (o *Output) Name() string { return o.name }

// lockTimeout bounds the wait for other writers of an append file.
const lockTimeout = time.Second

// readerTimeout bounds the wait for somebody to open a named pipe for reading.
const readerTimeout = time.Second

// Open checks the target and prepares it. It leaves nothing behind if the event is
// never written: a new file appears only with the event.
func Open(s Spec) (*Output, error) {
	switch {
	case s.File != "" && s.Append != "":
		return nil, errors.New("--output and --append cannot be combined: the event goes to one file")
	case s.File != "":
		name, err := ExpandName(s.File, s.RunID)
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", s.File, err)
		}
		return openFile(name)
	case s.Append != "":
		name, err := ExpandName(s.Append, s.RunID)
		if err != nil {
			return nil, fmt.Errorf("append %s: %w", s.Append, err)
		}
		return openAppend(name)
	}
	return &Output{name: "stdout", OwnsStdout: true, write: toStream(os.Stdout)}, nil
}

// toStream returns the function that writes to one of this process's own streams.
func toStream(f *os.File) func(context.Context, []byte) error {
	return func(ctx context.Context, event []byte) error {
		_, err := WriteStream(ctx, f, event)
		return err
	}
}

// Write delivers the event: one line with its newline. It then removes the partial event; if
// Write fails, that stays. A stream is waited for as long as it has a reader and ctx lasts. A
// file is written whatever becomes of ctx.
func (o *Output) Write(ctx context.Context, event []byte) error {
	if err := o.write(ctx, event); err != nil {
		return fmt.Errorf("writing the event to %s: %w", o.name, err)
	}
	if o.hasPartial {
		if err := os.Remove(o.partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the partial event: %w", err)
		}
	}
	return nil
}

// KeepsPartial reports whether the partial event can be kept: next to a file given with
// --output.
func (o *Output) KeepsPartial() bool { return o.partial != "" }

// WritePartial replaces FILE.partial with the partial event, in case vobs itself is
// killed.
func (o *Output) WritePartial(event []byte) error {
	if err := replace(o.partial, nil, event); err != nil {
		return fmt.Errorf("writing the partial event to %s: %w", o.partial, err)
	}
	o.hasPartial = true
	return nil
}

// ExpandName replaces %h with the host name, %p with the process id, %i with the run id,
// %r with the rank of the process in its job (SLURM_PROCID or RANK, 0 without either)
// and %% with %. Any other % is an error: it would be part of the name unnoticed.
func ExpandName(name, runID string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			b.WriteByte(name[i])
			continue
		}
		if i++; i == len(name) {
			return "", errors.New("it ends with a single %: write %% for a % in the name")
		}
		switch name[i] {
		case 'h':
			host, err := os.Hostname()
			if err != nil {
				host = "unknown"
			}
			b.WriteString(host)
		case 'p':
			b.WriteString(strconv.Itoa(os.Getpid()))
		case 'i':
			b.WriteString(runID)
		case 'r':
			b.WriteString(rank())
		case '%':
			b.WriteByte('%')
		default:
			placeholder, _ := utf8.DecodeRuneInString(name[i:])
			return "", fmt.Errorf("unknown placeholder %%%c: use %%h, %%p, %%i or %%r, and %%%% for a %% in the name", placeholder)
		}
	}
	return b.String(), nil
}

func rank() string {
	for _, name := range []string{"SLURM_PROCID", "RANK"} {
		if v := os.Getenv(name); v != "" {
			// A rank is a number; anything else must not choose a path.
			if _, err := strconv.ParseUint(v, 10, 32); err == nil {
				return v
			}
		}
	}
	return "0"
}

// openFile prepares a target that the event replaces. Anything but a regular file (a
// pipe, a terminal, /dev/stdout) is written to directly.
func openFile(name string) (*Output, error) {
	path, err := resolve(name)
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", name, err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		info = nil
	case err != nil:
		return nil, fmt.Errorf("output %s: %w", name, err)
	case info.IsDir():
		return nil, fmt.Errorf("output %s is a directory: name a file in it", name)
	case !info.Mode().IsRegular() || isStream(path):
		return openDirect(name, path, info)
	case unix.Access(path, unix.W_OK) != nil:
		return nil, fmt.Errorf("output %s: no permission to write", name)
	}
	dir := filepath.Dir(path)
	trial, err := createTemporary(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !exists(dir): // /proc exists, and takes no files
		return nil, fmt.Errorf("output %s: directory %s does not exist", name, dir)
	case err != nil:
		return nil, fmt.Errorf("output %s: cannot create a file in its directory: %w", name, err)
	}
	trial.Close()
	if err := os.Remove(trial.Name()); err != nil {
		return nil, fmt.Errorf("output %s: %w", name, err)
	}
	o := &Output{name: name, write: func(_ context.Context, event []byte) error { return replace(path, info, event) }}
	if len(filepath.Base(path)) <= maxName-len(partialSuffix) {
		o.partial = path + partialSuffix
		if o.hasPartial, err = isPartialEvent(o.partial); err != nil {
			return nil, fmt.Errorf("output %s: vobs would replace %s, which %w: move it away, or name another output", name, o.partial, err)
		}
	}
	return o, nil
}

// partialSuffix is what the name of the partial event ends in. A name is at most maxName bytes
// long (NAME_MAX of every Linux file system): without room for the suffix there is no partial
// event.
const (
	partialSuffix = ".partial"
	maxName       = 255
)

// maxPartialSize is the size above which a file is certainly not a partial event.
const maxPartialSize = 16 << 20

// isPartialEvent reports whether there is a partial event at path, which an earlier run left
// that was killed. A file that is something else is an error.
func isPartialEvent(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot be examined (%w)", err)
	case !info.Mode().IsRegular():
		return false, errors.New("is not a regular file")
	}
	text := []byte(nil)
	if info.Size() <= maxPartialSize {
		if text, err = os.ReadFile(path); err != nil {
			return false, fmt.Errorf("cannot be read (%w)", err)
		}
	}
	// The first key of every view of an event.
	if !json.Valid(text) || !bytes.Contains(text, []byte(`"peak_vram_gb":`)) {
		return false, errors.New("is not a partial event")
	}
	return true, nil
}

// resolve follows symbolic links, including that of the last element, so that the
// file is replaced and not the link.
func resolve(name string) (string, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	for range 40 { // as the kernel does
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil // not a link, or nothing there yet
		}
		if isStream(path) {
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", errors.New("too many levels of symbolic links")
}

// isStream reports whether a path names an open file of this process: the target of
// such a link cannot be opened by its path.
func isStream(path string) bool {
	return strings.HasPrefix(path, "/dev/fd/") || strings.HasPrefix(path, "/proc/")
}

// replace writes the event to a temporary file next to path and renames it. It keeps
// the mode of the file it replaces.
func replace(path string, old fs.FileInfo, event []byte) (err error) {
	f, err := createTemporary(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			f.Close()
			return err
		}
	}
	if _, err := f.Write(event); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// createTemporary creates a file with a random name, which nobody can have prepared, and with
// the permissions of any new file.
func createTemporary(dir string) (f *os.File, err error) {
	for range 10 {
		f, err = os.OpenFile(filepath.Join(dir, ".vobs-"+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return f, err
}

// openDirect prepares a pipe, a device, or one of our own streams. A stream is written
// through its own descriptor: opened anew by its name, the file behind it would be
// written from the beginning, over what the command wrote there.
func openDirect(name, path string, info fs.FileInfo) (*Output, error) {
	for _, stream := range []*os.File{os.Stdout, os.Stderr} {
		if own, err := stream.Stat(); err == nil && os.SameFile(own, info) {
			return &Output{name: name, write: toStream(stream)}, nil
		}
	}
	if unix.Access(path, unix.W_OK) != nil {
		return nil, fmt.Errorf("output %s: no permission to write", name)
	}
	return &Output{name: name, write: func(ctx context.Context, event []byte) error { return writeDirect(ctx, path, event) }}, nil
}

// writeDirect waits at most readerTimeout for a reader of a named pipe, and for a reader to
// take the event as long as ctx lasts.
func writeDirect(ctx context.Context, path string, event []byte) error {
	deadline := time.Now().Add(readerTimeout)
	for {
		f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if errors.Is(err, unix.ENXIO) && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		if _, err = WriteStream(ctx, f, event); err == nil {
			err = f.Close() // not after an error: a write may be in progress
		}
		return err
	}
}

// openAppend prepares a file of events. One of this process's own streams is written
// through its descriptor, as openFile does it.
func openAppend(name string) (*Output, error) {
	if path, err := resolve(name); err == nil && isStream(path) {
		return openFile(name)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOCTTY, 0o666)
	switch dir := filepath.Dir(name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("append %s: directory %s does not exist", name, dir)
	case err != nil:
		return nil, fmt.Errorf("append %s: %w", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("append %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("append %s is not a regular file: use --output", name)
	}
	return &Output{name: name, write: func(_ context.Context, event []byte) error { return appendLine(name, event) }}, nil
}

// appendLine appends the event with one write under an advisory lock, so that the
// lines of several writers do not mix. If the file does not end with a newline, as
// `vllm bench serve --append-result` leaves it, it gets one first.
func appendLine(name string, event []byte) error {
	// The file may have been replaced by a pipe since it was checked.
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOCTTY, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it was replaced by something else than a regular file")
	}
	// Without the lock (somebody else holds it, or the file system has none) the
	// write still appends the whole line; only a missing newline may go unnoticed.
	locked := lock(f)
	if info, err = f.Stat(); err != nil {
		return err
	}
	if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err == nil && last[0] != '\n' {
			event = append([]byte{'\n'}, event...)
		}
	}
	n, err := f.Write(event)
	if err == nil && n < len(event) {
		err = errors.New("the line was cut short")
	}
	if err != nil && n > 0 {
		removeStump(f, info.Size(), int64(n), locked)
	}
	return err
}

// removeStump removes the first n bytes of a line, which were appended to a file of that size.
// If somebody else has written meanwhile, it only ends the line.
func removeStump(f *os.File, size, n int64, locked bool) {
	info, err := f.Stat()
	if err == nil && locked && info.Size() == size+n && f.Truncate(size) == nil {
		return
	}
	// On a full disk this fails, too, unless the newline still fits into the last block.
	_, _ = f.Write([]byte{'\n'})
}

// lock takes the lock, or gives up after lockTimeout. It reports whether it has the lock.
func lock(f *os.File) bool {
	for deadline := time.Now().Add(lockTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
	return false
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
