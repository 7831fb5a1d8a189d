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

// Options say what an offline run is written beside.
type Options struct {
	// JobID is the id of the job's own run, which the event is for; "" for a run of
	// its own.
	JobID string
	// Job is what that run left here (see [Find]); nil where it left nothing.
	Job *JobLog
	// Now gives the directory its name, in its own location: local time, as the SDK has it.
	Now time.Time
}

// Written is an offline run on disk.
type Written struct {
	// Path is the run's directory, absolute.
	Path string
	// RunID is the run that wandb sync will write to.
	RunID string
	// Sync is the command that sends it, for a shell.
	Sync string
	// Notes tell what the user should know of it, each in one sentence.
	Notes []string
}

// Write puts a run into the wandb directory, for `wandb sync`. It is there whole or
// not at all. Where the wandb directory cannot be written to, it goes into the
// system's directory for temporary files.
//
// For a job's own run, this is what wandb sync of the SDK 0.31.0 does with a second
// directory of the same id: it sends the directories of one run in the order of the
// start times in their files, lets the history go on, and puts the file's
// configuration and summary in the place of what the run had. So the file repeats
// what the job's own file has of both, and goes on with its steps. Where that is not
// to be had whole (no file, a damaged one, a job that did not finish, a run that was
// resumed from elsewhere), nothing may be written to the job's run: then the event
// becomes a run of its own, in a group that is named after the job's run.
func Write(wandbDir string, r run.Run, o Options) (*Written, error) {
	out := &Written{}
	earlier, siblings := out.choose(&r, o)
	if err := run.CheckID(r.ID); err != nil {
		return nil, err
	}
	err := out.write(wandbDir, &r, earlier, o.Now)
	if err != nil {
		// What the SDK does, but not with a name that others may have taken.
		temp, tempErr := os.MkdirTemp("", "wandb-")
		if tempErr != nil {
			return nil, err
		}
		if out.write(temp, &r, earlier, o.Now) != nil {
			os.Remove(temp)
			return nil, err
		}
		out.Notes = append(out.Notes, fmt.Sprintf("the offline run is in %s, for the wandb directory cannot be written to: %v", temp, err))
	}
	out.RunID = r.ID
	out.Sync = "wandb sync"
	for _, dir := range append(siblings, out.Path) {
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
		out.Sync += " " + quote(dir)
	}
	return out, nil
}

// choose decides which run is written to. earlier is what that run had, siblings
// are directories that must be synced with the new one.
func (w *Written) choose(r *run.Run, o Options) (earlier *transactionlog.Earlier, siblings []string) {
	if o.JobID == "" {
		return nil, nil
	}
	if why := o.Job.unfit(o.JobID); why != "" {
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
		w.Notes = append(w.Notes, "the offline run goes on with the job's own: sync both with one command, else the job's configuration and summary may take the place of all")
	}
	return &transactionlog.Earlier{
		NextStep: o.Job.LastStep + 1,
		Started:  o.Job.Started, LastStarted: job.Started,
		Runtime: job.LastRuntime,
		Config:  job.Config, Summary: job.Summary, SweepID: job.Sweep,
		Telemetry: job.Telemetry, Environment: job.Environment,
	}, o.Job.Unsynced
}

// unfit says why a run cannot be gone on with; "" where it can.
func (j *JobLog) unfit(id string) string {
	switch {
	case j == nil:
		return "the job left no file of its run here, and without its configuration and summary both would be replaced"
	case j.Err != nil:
		return fmt.Sprintf("the job's file %s cannot be read to its end (%v)", j.Path, j.Err)
	case !j.Log.HasRun || j.Log.ID != id:
		return fmt.Sprintf("the job's file %s does not tell its run", j.Path)
	case !j.Log.Exited:
		return fmt.Sprintf("the job's run has not ended by its file %s", j.Path)
	case j.Log.Started.IsZero():
		return fmt.Sprintf("the job's file %s does not tell when its run began", j.Path)
	case j.Offline:
		return "" // offline, resume= does nothing: the file is all there is
	case j.Log.Resumed || j.Log.FirstStep > 0:
		return fmt.Sprintf("the job's run was resumed, and its file %s is not all of it", j.Path)
	case j.Log.MayResume:
		// The SDK's file of a resumed run repeats the summary, not the configuration, and
		// says no more than this (seen with 0.31.0).
		return fmt.Sprintf("the job's run may have been resumed, and then its file %s is not all of it", j.Path)
	}
	return ""
}

func (w *Written) write(wandbDir string, r *run.Run, earlier *transactionlog.Earlier, now time.Time) (err error) {
	if wandbDir, err = filepath.Abs(wandbDir); err != nil {
		return err
	}
	if err := os.MkdirAll(wandbDir, 0o777); err != nil {
		return fmt.Errorf("making the wandb directory: %w", err)
	}
	base := filepath.Join(wandbDir, offlinePrefix+now.Format(stampLayout)+"-"+r.ID)
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
	// wandb sync complains where this one is missing.
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
	// The file has its name when it is whole: without it there is nothing to sync.
	name := filepath.Join(dir, logName(r.ID))
	if err := writeNew(name+".part", func(w *bufio.Writer) error { return transactionlog.Write(w, r, earlier) }); err != nil {
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

// quote makes one word of a path for a shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=@%:,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
