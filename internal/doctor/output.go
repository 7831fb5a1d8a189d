package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/deliver"
	"github.com/vobs/vobs/internal/render"
)

// leastSpace is the free space, in bytes, below which the output is worth a note: an event has
// some 50 KB, and --series a few MB an hour.
const leastSpace = 256 << 20

// slowSync is the time for a synchronous write from which the file system is worth a note.
const slowSync = 250 * time.Millisecond

// output checks the event's target: that of -o or --append, or the working directory.
func (o *Options) output(context.Context) []Check {
	const name = "output"
	const fix = "name a file in a directory that this user can write to"
	if o.Output != "" && o.Append != "" {
		return []Check{problem(name, "give one of them", "--output and --append cannot be combined")}
	}
	target := o.Output + o.Append
	if target == "" {
		dir := o.path(".")
		check := o.directory(dir)
		if check.Status == Problem { // stdout does not need it
			check.Status = Note
		}
		check.Message = "stdout by default; here: " + check.Message
		return []Check{check}
	}
	file, err := deliver.ExpandName(target, "run-id")
	if err != nil {
		return []Check{problem(name, "", "%s: %v", target, err)}
	}
	info, statErr := os.Stat(o.path(file))
	if statErr == nil && !info.Mode().IsRegular() && !info.IsDir() && o.Append == "" {
		return []Check{ok(name, "%s is a pipe or a device: it is written directly", file)}
	}
	if o.Append != "" && statErr == nil {
		// Package deliver would create the file if it were removed now.
		f, err := os.OpenFile(o.path(file), os.O_WRONLY|os.O_APPEND|unix.O_NONBLOCK, 0)
		if err != nil {
			return []Check{problem(name, fix, "append %s: %v", file, err)}
		}
		f.Close()
		if !info.Mode().IsRegular() {
			return []Check{problem(name, "use --output", "append %s is not a regular file", file)}
		}
	} else if _, err := deliver.Open(deliver.Spec{File: o.path(file)}); err != nil {
		return []Check{problem(name, fix, "%s", strings.ReplaceAll(err.Error(), o.path(file), file))}
	}
	check := o.directory(filepath.Dir(o.path(file)))
	check.Message = file + ": " + check.Message
	return []Check{check}
}

// directory checks that a directory can be written to, the free space, and how long a
// synchronous write takes, with a temporary file.
func (o *Options) directory(dir string) Check {
	const name = "output"
	took, err := trySync(dir)
	if err != nil {
		return problem(name, "write to another directory, or free space", "%v", err)
	}
	var fsinfo unix.Statfs_t
	if err := unix.Statfs(dir, &fsinfo); err != nil {
		return note(name, "", "writable, free space unknown: %v", err)
	}
	free := int64(fsinfo.Bavail) * int64(fsinfo.Bsize)
	text := fmt.Sprintf("writable, %s free, a synchronous write took %s", render.Bytes(free), render.Seconds(took.Seconds()))
	switch {
	case free < leastSpace:
		return note(name, "free space, or write to another file system", "%s", text)
	case took >= slowSync:
		return note(name, "write to a local file system if --series is used", "%s: the file system is slow", text)
	}
	return ok(name, "%s", text)
}

// trySync writes 64 KiB through to the disk, in a temporary file that is removed, and returns the
// time that it took.
func trySync(dir string) (took time.Duration, err error) {
	name := filepath.Join(dir, ".vobs-doctor-"+rand.Text())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("directory %s does not exist", dir)
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := os.Remove(name); err != nil { // at once: so nothing is left if the file system hangs
		return 0, err
	}
	begin := time.Now()
	if _, err = f.Write(make([]byte, 64<<10)); err == nil {
		err = f.Sync()
	}
	return time.Since(begin), err
}
