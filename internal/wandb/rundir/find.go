// Package rundir knows how W&B lays out runs on disk: a directory for each below
// the wandb directory, in it the run's .wandb file and its files.
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

// Dir is the wandb directory below a root (WANDB_DIR, or the working directory).
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
	// The prefix tells wandb sync whether there is something to do.
	offlinePrefix = "offline-run-"
	onlinePrefix  = "run-"
	// stampLayout is local time.
	stampLayout = "20060102_150405"
)

// logName is the name of a run's .wandb file in its directory.
func logName(id string) string { return "run-" + id + ".wandb" }

// JobLog is what a run left on this machine: its newest file, read.
type JobLog struct {
	// Path is the .wandb file; its directory is the run's.
	Path string
	// Offline says that the run was not sent while it went on.
	Offline bool
	// Log is what was read of it, and Err why that is not all: a *transactionlog.Error
	// or that the file could not be read.
	Log *transactionlog.Log
	Err error
	// LastStep is the highest step in any file of the run, -1 without one.
	LastStep int64
	// Started is when the oldest file of the run began; zero where none says it.
	Started time.Time
	// Unsynced are the run's offline directories that were not synced yet, oldest
	// first. A run that was begun several times has several.
	Unsynced []string
}

// Find reads what a run left in the wandb directory: the newest of all directories
// {run,offline-run}-TIME-ID that hold a file run-ID.wandb. It is nil where there is
// none, an error where the directory cannot be read or ctx ended.
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
	stamp   string
	// copy is the number behind the id, of runs that began within one second.
	copy int
}

// runDirs gives a run's directories, oldest first.
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
		if len(rest) < len(stampLayout)+1 {
			continue
		}
		d.stamp = rest[:len(stampLayout)]
		number, ok := strings.CutPrefix(rest[len(stampLayout):], "-"+id)
		if !ok {
			continue
		}
		if number != "" {
			n, ok := strings.CutPrefix(number, "-")
			if d.copy, err = strconv.Atoi(n); !ok || err != nil {
				continue // another run's: ids may begin alike
			}
		}
		// Anything but a file could hold up who opens it.
		if info, err := os.Stat(filepath.Join(d.path, logName(id))); err == nil && info.Mode().IsRegular() {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b runDir) int {
		return cmp.Or(strings.Compare(a.stamp, b.stamp), cmp.Compare(a.copy, b.copy))
	})
	return out, nil
}

func readLog(ctx context.Context, path string) (*transactionlog.Log, error) {
	f, err := os.Open(path)
	if err != nil {
		return &transactionlog.Log{FirstStep: -1, LastStep: -1}, err
	}
	defer f.Close()
	return transactionlog.Decode(ending{ctx, f})
}

// ending is a reader that ends with a context: files of long runs are large.
type ending struct {
	ctx context.Context
	r   io.Reader
}

func (e ending) Read(b []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.r.Read(b)
}
