package wandb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/wandb/api"
	"github.com/vobs/vobs/internal/wandb/run"
	"github.com/vobs/vobs/internal/wandb/rundir"
)

const (
	// DefaultTimeout bounds the sending of one event.
	DefaultTimeout = 30 * time.Second
	// writeTime bounds the writing of an offline run: a directory on a file server that
	// does not answer must not block vobs.
	writeTime = 2 * time.Second
)

// Outcome is where an event went.
type Outcome struct {
	// URL is the page of the run that has it, "" if it was not sent.
	URL string
	// Path is the directory of an offline run, "" if none was written; Sync is the
	// command that sends it.
	Path, Sync string
	// Resumed reports whether the event was added to an existing run.
	Resumed bool
	// Failed is why an event that should have been sent was not; then it is in an offline
	// run.
	Failed error
	// Notes are further remarks, one sentence each.
	Notes []string
}

// Send sends one event to W&B. If that is not wanted or fails, it writes an offline run.
// It takes at most timeout, and 2 s more for the disk; if ctx ends, it stops sending. The
// error is that the event is in neither place.
func (s *Settings) Send(ctx context.Context, r *run.Run, timeout time.Duration) (Outcome, error) {
	type result struct {
		Outcome
		err error
	}
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		out, err := s.send(limit, *r)
		done <- result{out, err}
	}()
	select {
	case r := <-done:
		return r.Outcome, r.err
	case <-limit.Done():
	}
	select {
	case r := <-done:
		return r.Outcome, r.err
	case <-time.After(writeTime):
		return Outcome{}, fmt.Errorf("%s could not be written to in time", s.Dir)
	}
}

func (s *Settings) send(ctx context.Context, r run.Run) (Outcome, error) {
	s.Apply(&r)
	var out Outcome
	job, err := s.jobLog(ctx)
	if err != nil {
		out.Notes = append(out.Notes, err.Error())
	}
	if s.Mode == Online {
		sent, err := s.online(ctx, r, job)
		if err == nil {
			out.URL, out.Resumed = sent.URL, sent.Resumed
			if sent.OwnRunReason != "" {
				out.Notes = append(out.Notes, "the event has a run of its own: "+sent.OwnRunReason)
			}
			out.Notes = append(out.Notes, sent.Warnings...)
			return out, nil
		}
		out.Failed = err
	}
	options := rundir.Options{JobID: s.RunID, Job: job, Now: time.Now()}
	if s.Shared {
		options.Job = nil // its other writers are still active
	}
	written, err := rundir.Write(s.Dir, r, options)
	if err != nil {
		return Outcome{}, errors.Join(out.Failed, err)
	}
	out.Path, out.Sync = written.Path, written.Sync
	out.Notes = append(out.Notes, written.Notes...)
	return out, nil
}

// jobLog reads the log of the job's own run, if there is one here.
func (s *Settings) jobLog(ctx context.Context) (*rundir.JobLog, error) {
	if s.RunID == "" || s.Shared {
		return nil, nil
	}
	return rundir.Find(ctx, s.Dir, s.RunID)
}

// online sends a run to the server.
func (s *Settings) online(ctx context.Context, r run.Run, job *rundir.JobLog) (api.Result, error) {
	credentials, err := s.Credentials()
	if err != nil {
		return api.Result{}, err
	}
	c := s.client(credentials, r.Writer)
	defer c.Close()
	target := api.Target{JobRunID: s.RunID, Resume: s.Resume, JobLog: apiJobLog(job)}
	if s.Shared && s.RunID != "" {
		// The other writers write without steps: see Settings.Shared.
		target = api.Target{}
		if r.Group == "" {
			r.Group = s.RunID
		}
	}
	return c.Send(ctx, r, target)
}

func (s *Settings) client(credentials *Credentials, writer string) *api.Client {
	auth := api.APIKey(credentials.APIKey.Reveal())
	if credentials.IdentityTokenFile != "" {
		auth = api.IdentityToken(credentials.IdentityTokenFile, credentials.CredentialsFile)
	}
	headers := map[string]string{}
	for name, value := range s.Headers {
		headers[name] = value.Reveal()
	}
	return &api.Client{
		BaseURL: s.BaseURL, AppURL: s.AppURL, Auth: auth,
		Username: s.Username, Email: s.Email, Headers: headers,
		Proxy: s.Proxy, InsecureTLS: s.InsecureTLS, Timeout: s.GraphQLTimeout, RowsTimeout: s.FileStreamTimeout, FilesTimeout: s.FileTransferTimeout,
		UserAgent: strings.ReplaceAll(writer, " ", "/"),
	}
}

// apiJobLog returns what the client needs of the job's log file; nil if there is none.
func apiJobLog(job *rundir.JobLog) *api.JobLog {
	if job == nil || job.Log == nil {
		return nil
	}
	l := job.Log
	out := &api.JobLog{
		Entity: l.Entity, Project: l.Project, Rows: l.Rows, LastStep: job.LastStep, Started: job.Started,
		Unsynced: len(job.Unsynced) > 0, Summary: l.Summary, Exited: l.Exited && job.Err == nil, ExitCode: l.ExitCode,
	}
	if l.MayResume || l.Resumed {
		out.StartingStep = max(l.FirstStep, 0)
	}
	return out
}
