package rundir

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/wandb/run"
	"github.com/vobs/vobs/internal/wandb/transactionlog"
)

// Options describe the job whose event is written.
type Options struct {
	// JobID is the id of the job's own run, which the event belongs to; "" for a run of
	// the event's own.
	JobID string
	// Job is what that run left here (see [Find]); nil if it left nothing.
	Job *JobLog
	// Now names the directory, in its own location: local time, as in the SDK.
	Now time.Time
}

// Written is an offline run on disk.
type Written struct {
	// Path is the run's directory, absolute.
	Path string
	// RunID is the run that wandb sync will write to.
	RunID string
	// Sync is the shell command that sends it.
	Sync string
	// Notes are remarks for the user, one sentence each.
	Notes []string
}

// Write writes a run into the wandb directory, for `wandb sync`, completely or not at all.
// If the wandb directory is not writable, it uses the system's directory for temporary
// files.
//
// For a job's own run, this is what wandb sync of the SDK 0.31.0 does with a second
// directory of the same id: it sends the directories of one run in the order of the start
// times in their files, continues the history, and replaces the run's configuration and
// summary by those of the file. So the file repeats both from the job's own file, and
// continues its steps. If they are not completely available (no file, a damaged one, a job
// that did not finish, a run that was resumed from elsewhere), the job's run must not be
// written to: then the event becomes a run of its own, in a group named after the job's
// run.
func Write(wandbDir string, r run.Run, o Options) (*Written, error) {
	out := &Written{}
	previous, syncWith := out.chooseRun(&r, o)
	if err := run.CheckID(r.ID); err != nil {
		return nil, err
	}
	err := out.write(wandbDir, &r, previous, o.Now)
	if err != nil {
		// As the SDK does, but with a name that nobody else may have taken.
		temp, tempErr := os.MkdirTemp("", "wandb-")
		if tempErr != nil {
			return nil, err
		}
		if out.write(temp, &r, previous, o.Now) != nil {
			os.Remove(temp)
			return nil, err
		}
		out.Notes = append(out.Notes, fmt.Sprintf("the offline run is in %s because the wandb directory cannot be written to: %v", temp, err))
	}
	out.RunID = r.ID
	out.Sync = "wandb sync"
	for _, dir := range append(syncWith, out.Path) {
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
		out.Sync += " " + shellQuote(dir)
	}
	return out, nil
}

// chooseRun decides which run is written to. previous is the state of that run, syncWith
// are directories that must be synced together with the new one.
func (w *Written) chooseRun(r *run.Run, o Options) (previous *transactionlog.Previous, syncWith []string) {
	if o.JobID == "" {
		return nil, nil
	}
	if why := o.Job.whyNotContinuable(o.JobID); why != "" {
		if r.Group == "" {
			r.Group = o.JobID
		}
		w.Notes = append(w.Notes, fmt.Sprintf("the event is an offline run of its own, in the group %s: %s", r.Group, why))
		if o.Job != nil && o.Job.Log.HasRun && o.Job.Log.ID == o.JobID {
			r.Entity, r.Project = o.Job.Log.Entity, o.Job.Log.Project
		}
		return nil, nil
	}
	job := o.Job.Log
	r.ID, r.Entity, r.Project, r.Group, r.JobType = o.JobID, job.Entity, job.Project, job.Group, job.JobType
	r.Name, r.Notes, r.Tags, r.Host = job.Name, job.Notes, job.Tags, job.Host
	r.ExitCode = job.ExitCode
	if len(o.Job.Unsynced) > 0 {
		w.Notes = append(w.Notes, "the offline run continues the job's own: sync both with one command, otherwise the job's configuration and summary may replace everything")
	}
	return &transactionlog.Previous{
		NextStep: o.Job.LastStep + 1,
		Started:  o.Job.Started, LastStarted: job.Started,
		Runtime: job.LastRuntime,
		Config:  job.Config, Summary: job.Summary, SweepID: job.Sweep,
		Telemetry: job.Telemetry, Environment: job.Environment,
	}, o.Job.Unsynced
}

// whyNotContinuable returns why a run cannot be continued; "" if it can.
func (j *JobLog) whyNotContinuable(id string) string {
	switch {
	case j == nil:
		return "the job left no file of its run here, so its configuration and summary would be lost"
	case j.Err != nil:
		return fmt.Sprintf("the job's file %s cannot be read to its end (%v)", j.Path, j.Err)
	case !j.Log.HasRun || j.Log.ID != id:
		return fmt.Sprintf("the job's file %s does not name its run", j.Path)
	case !j.Log.Exited:
		return fmt.Sprintf("the job's run has not ended, according to its file %s", j.Path)
	case j.Log.Started.IsZero():
		return fmt.Sprintf("the job's file %s does not contain when its run began", j.Path)
	case j.Offline:
		return "" // offline, resume= has no effect: the file has everything
	case j.Log.Resumed || j.Log.FirstStep > 0:
		return fmt.Sprintf("the job's run was resumed, and its file %s has only a part of it", j.Path)
	case j.Log.MayResume:
		// The SDK's file of a resumed run repeats the summary, but not the configuration,
		// and contains nothing else about it (seen with 0.31.0).
		return fmt.Sprintf("the job's run may have been resumed, and then its file %s has only a part of it", j.Path)
	}
	return ""
}

func (w *Written) write(wandbDir string, r *run.Run, previous *transactionlog.Previous, now time.Time) (err error) {
	if wandbDir, err = filepath.Abs(wandbDir); err != nil {
		return err
	}
	if err := os.MkdirAll(wandbDir, 0o777); err != nil {
		return fmt.Errorf("making the wandb directory: %w", err)
	}
	base := filepath.Join(wandbDir, offlinePrefix+now.Format(timeLayout)+"-"+r.ID)
	dir := base
	for n := 1; ; n++ {
		err := os.Mkdir(dir, 0o777)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) || n > 1000 {
			return fmt.Errorf("making the offline run: %w", err)
		}
		dir = base + "-" + strconv.Itoa(n)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	// wandb sync complains if this directory is missing.
	files := filepath.Join(dir, "files")
	if err := os.Mkdir(files, 0o777); err != nil {
		return fmt.Errorf("making the offline run: %w", err)
	}
	for _, f := range r.Files {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("the run's file %q would lie outside its directory", f.Name)
		}
		name := filepath.Join(files, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return fmt.Errorf("writing the offline run: %w", err)
		}
		if err := writeNew(name, func(w *bufio.Writer) error { _, err := w.Write(f.Content); return err }); err != nil {
			return err
		}
	}
	// The file gets its name once it is complete: without it there is nothing to sync.
	name := filepath.Join(dir, logName(r.ID))
	if err := writeNew(name+".part", func(w *bufio.Writer) error { return transactionlog.Write(w, r, previous) }); err != nil {
		return err
	}
	if err := os.Rename(name+".part", name); err != nil {
		return fmt.Errorf("writing the offline run: %w", err)
	}
	w.Path = dir
	return nil
}

func writeNew(name string, write func(*bufio.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("writing the offline run: %w", err)
	}
	b := bufio.NewWriter(f)
	err = write(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("writing the offline run: %w", err)
	}
	return nil
}

// shellQuote quotes a path for a shell, if necessary.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=@%:,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
