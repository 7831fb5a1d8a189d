// Package rundir reads and writes W&B's layout of runs on disk: below the wandb directory
// each run has a directory, with the run's .wandb file and its files.
//
// Source: sync_dir, wandb_dir and what uses them in wandb/sdk/wandb_settings.py and
// wandb_init.py, as of the SDK 0.31.0.
package rundir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/wandb/transactionlog"
)

// Dir returns the wandb directory below a root (WANDB_DIR, or the working directory).
func Dir(root string) string {
	if dir := filepath.Join(root, ".wandb"); exists(dir) {
		return dir
	}
	return filepath.Join(root, "wandb")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const (
	// The prefix tells wandb sync whether there is something to send.
	offlinePrefix = "offline-run-"
	onlinePrefix  = "run-"
	// timeLayout is in local time.
	timeLayout = "20060102_150405"
)

// logName returns the name of a run's .wandb file in its directory.
func logName(id string) string { return "run-" + id + ".wandb" }

// JobLog is what a run left on this machine: the content of its newest file.
type JobLog struct {
	// Path is the .wandb file; it is in the run's directory.
	Path string
	// Offline reports whether the run was not sent while it was running.
	Offline bool
	// Log is what could be read of it, and Err why that is not all: a
	// *transactionlog.Error, or that the file could not be read.
	Log *transactionlog.Log
	Err error
	// LastStep is the highest step in any file of the run, -1 without one.
	LastStep int64
	// Started is when the oldest file of the run began; zero if no file has it.
	Started time.Time
	// Unsynced are the run's offline directories that are not synced yet, oldest first.
	// A run that was started several times has several.
	Unsynced []string
}

// Find reads what a run left in the wandb directory: the newest of all directories
// {run,offline-run}-TIME-ID that contain a file run-ID.wandb. It returns nil if there is
// none, and an error if the directory cannot be read or ctx ends.
func Find(ctx context.Context, wandbDir, id string) (*JobLog, error) {
	dirs, err := runDirs(wandbDir, id)
	if err != nil || len(dirs) == 0 {
		return nil, err
	}
	out := &JobLog{LastStep: -1}
	for _, d := range dirs {
		out.Path = filepath.Join(d.path, logName(id))
		out.Offline = d.offline
		out.Log, out.Err = readLog(ctx, out.Path)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reading %s: %w", out.Path, err)
		}
		out.LastStep = max(out.LastStep, out.Log.LastStep)
		if s := out.Log.Started; !s.IsZero() && (out.Started.IsZero() || s.Before(out.Started)) {
			out.Started = s
		}
		if d.offline && !exists(out.Path+".synced") {
			out.Unsynced = append(out.Unsynced, d.path)
		}
	}
	return out, nil
}

// runDir is a run's directory.
type runDir struct {
	path    string
	offline bool
	time    string
	// number is appended to the id if several runs began within one second.
	number int
}

// runDirs returns a run's directories, oldest first.
func runDirs(wandbDir, id string) (out []runDir, err error) {
	entries, err := os.ReadDir(wandbDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the run %s: %w", id, err)
	}
	for _, e := range entries {
		d := runDir{path: filepath.Join(wandbDir, e.Name())}
		rest, ok := strings.CutPrefix(e.Name(), offlinePrefix)
		d.offline = ok
		if !ok {
			if rest, ok = strings.CutPrefix(e.Name(), onlinePrefix); !ok {
				continue
			}
		}
		if len(rest) < len(timeLayout)+1 {
			continue
		}
		d.time = rest[:len(timeLayout)]
		number, ok := strings.CutPrefix(rest[len(timeLayout):], "-"+id)
		if !ok {
			continue
		}
		if number != "" {
			n, ok := strings.CutPrefix(number, "-")
			if d.number, err = strconv.Atoi(n); !ok || err != nil {
				continue // another run: ids may have a common prefix
			}
		}
		// Opening anything but a regular file could block.
		if info, err := os.Stat(filepath.Join(d.path, logName(id))); err == nil && info.Mode().IsRegular() {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b runDir) int {
		return cmp.Or(strings.Compare(a.time, b.time), cmp.Compare(a.number, b.number))
	})
	return out, nil
}

func readLog(ctx context.Context, path string) (*transactionlog.Log, error) {
	f, err := os.Open(path)
	if err != nil {
		return &transactionlog.Log{FirstStep: -1, LastStep: -1}, err
	}
	defer f.Close()
	return transactionlog.Decode(contextReader{ctx, f})
}

// contextReader is a reader that stops when a context ends: files of long runs are large.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (e contextReader) Read(b []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.r.Read(b)
}
