package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/vobs/vobs/internal/wandb/run"
)

const (
	// DefaultLagWait bounds the wait for the server's count of rows, which lags by 2 to
	// 4 s on wandb.ai (github.com/wandb/wandb/issues/12421).
	DefaultLagWait = 10 * time.Second
	// steadyTime is how long a count must stay the same if it is not known what it
	// should be.
	steadyTime = 4 * time.Second
	// recentEnd is how long after its end a run's rows may still be on their way.
	recentEnd    = time.Minute
	pollInterval = time.Second
)

// Target is the run of W&B that an event goes into.
type Target struct {
	// JobRunID is the run of the job itself (WANDB_RUN_ID), "" for a run of our own.
	JobRunID string
	// Resume is WANDB_RESUME: "", allow, must, never or auto.
	Resume string
	// JobLog is the content of the job's own log file; nil if there is none.
	JobLog *JobLog
	// LagWait bounds the wait for the server's figures; 0 is DefaultLagWait. It is
	// limited to half of the time that the context leaves.
	LagWait time.Duration
}

// JobLog is the content of a job's own log, the newest `.wandb` file of its run. It is up
// to date, while the server's response may be some seconds old.
type JobLog struct {
	// Entity and Project are those of the run, "" if the log does not have them.
	Entity, Project string
	// Rows is the number of history rows in the log; LastStep is the highest step, -1 if
	// there is none.
	Rows, LastStep int64
	// StartingStep is the step at which the log begins: above 0 for a resumed run, whose
	// earlier rows are in an earlier log.
	StartingStep int64
	// Started is when the run began; zero if unknown.
	Started time.Time
	// Unsynced reports whether the job's run was offline and is not synced yet: its rows
	// reach the server later, and would replace what is added now.
	Unsynced bool
	// Summary is the run's summary.
	Summary []run.Item
	// Exited reports whether the run was finished, with ExitCode.
	Exited   bool
	ExitCode int
}

// Result is where the event went.
type Result struct {
	// URL is the run's page.
	URL                 string
	Entity, Project, ID string
	// Resumed reports whether the event was added to an existing run.
	Resumed bool
	// OwnRunReason is why the event has a run of its own instead of being in the job's
	// run; "" if it is in the job's run, or was not meant to be.
	OwnRunReason string
	// Warnings are about what else failed: files that were not stored.
	Warnings []string
}

// plan is how an event is added to a run.
type plan struct {
	id, entity, project, group, jobType string
	// storageID is the server's own name of a run that is continued.
	storageID string
	// create sends config, names and tags; without it the run keeps its own.
	create bool
	// config is that of a run that was created but not started.
	config []run.Item
	// offset and step are those of the first row.
	offset, step int64
	// _runtime counts from started. If that is unknown, runtime is how long the run had
	// lasted, in seconds.
	started time.Time
	runtime float64
	// summary is the run's summary so far.
	summary      []run.Item
	exitCode     *int
	resumed      bool
	ownRunReason string
}

// Send sends a run to the server: as a new run, or into the job's own (see Target), after
// all that this has. It returns once everything has arrived, or with an *Error whose
// Progress is what has arrived. Sending the same run again gives the same run.
func (c *Client) Send(ctx context.Context, r run.Run, target Target) (Result, error) {
	if bad := checkRun(r); bad != nil {
		return Result{}, c.clean(bad)
	}
	p, err := c.plan(ctx, r, target)
	if err != nil {
		return Result{}, withProgress(err, "nothing was sent")
	}
	to, err := c.upsert(ctx, p.bucket(r))
	if err != nil {
		return Result{}, withProgress(err, "nothing was sent")
	}
	result := Result{
		URL: c.RunURL(to.entity, to.project, to.id), Entity: to.entity, Project: to.project, ID: to.id,
		Resumed: p.resumed, OwnRunReason: p.ownRunReason,
	}
	if p.resumed && to.lines > p.offset {
		// Rows arrived after the plan was made: find out their number and steps.
		s, err := c.runStatus(ctx, to.entity, to.project, to.id)
		if err != nil {
			return result, withProgress(err, "the run "+result.URL+" is unchanged, none of the event's figures was sent")
		}
		p.offset = max(to.lines, s.lines)
		p.step = max(p.step, stepOf(s.tail)+1, stepOf(s.summary)+1, p.offset)
		p.summary = run.Merge(p.summary, s.summary)
	}
	body := p.stream(r)
	if len(r.Files) > 0 {
		var failures []error
		body.uploaded, failures = c.uploadInTime(ctx, to, r.Files)
		for _, f := range failures {
			result.Warnings = append(result.Warnings, f.Error())
		}
	}
	if sent, err := c.stream(ctx, to, body); err != nil {
		had := "the run " + result.URL
		if p.resumed {
			had += " is as it was"
		} else {
			had += " was created"
		}
		if sent > 0 {
			had += fmt.Sprintf(", %d of %d rows were sent", sent, len(body.rows))
		} else {
			had += ", none of its figures was sent"
		}
		return result, withProgress(err, had)
	}
	return result, nil
}

// uploadInTime leaves half of the time to the figures, which matter more.
func (c *Client) uploadInTime(ctx context.Context, to bucket, files []run.File) ([]string, []error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, deadline.Sub(c.now())/2)
		defer cancel()
	}
	return c.upload(ctx, to, files)
}

// withProgress adds to an error what had reached the server.
func withProgress(err error, had string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Progress = had
	}
	return err
}

// plan asks the server for the run's status and decides what to do.
func (c *Client) plan(ctx context.Context, r run.Run, target Target) (plan, error) {
	if target.JobRunID == "" {
		return c.planOwn(ctx, r)
	}
	entity, project := r.Entity, r.Project
	if log := target.JobLog; log != nil {
		// The job may have set them in its code.
		entity, project = cmp.Or(log.Entity, entity), cmp.Or(log.Project, project)
	}
	job := r
	job.ID, job.Entity, job.Project = target.JobRunID, entity, project
	p, why, err := c.planJob(ctx, job, target)
	if err != nil || why == "" {
		return p, err
	}
	sibling := r
	sibling.Entity, sibling.Project = entity, project
	if p, err = c.planOwn(ctx, sibling); err != nil {
		return p, err
	}
	p.group, p.jobType, p.ownRunReason = cmp.Or(r.Group, target.JobRunID), cmp.Or(r.JobType, "report"), why
	return p, nil
}

// planOwn returns the plan for a run of the event's own.
func (c *Client) planOwn(ctx context.Context, r run.Run) (plan, error) {
	s, err := c.runStatus(ctx, r.Entity, r.Project, r.ID)
	if err != nil {
		return plan{}, err
	}
	p := newRun(r)
	p.entity, p.project = cmp.Or(s.entity, p.entity), cmp.Or(s.project, p.project)
	if s.exists && s.lines > int64(len(r.Rows)) {
		// Somebody has continued it. Our rows are its first and are written again
		// unchanged; the rest stays.
		p.create, p.summary, p.storageID, p.exitCode = false, s.summary, s.storageID, nil
		if terminal(s.state) {
			p.exitCode = exitCodeFor(s.state, nil, r.ExitCode)
		}
	}
	return p, nil
}

func newRun(r run.Run) plan {
	return plan{
		id: r.ID, entity: r.Entity, project: r.Project, group: r.Group, jobType: r.JobType,
		create: true, started: r.StartTime, exitCode: &r.ExitCode,
	}
}

// planJob returns the plan for continuing a job's own run, or why that must not be done.
func (c *Client) planJob(ctx context.Context, r run.Run, target Target) (p plan, why string, err error) {
	log := target.JobLog
	recent := c.now().Sub(r.StartTime.Add(r.Duration)) < recentEnd
	began := c.now()
	wait := target.LagWait
	if wait <= 0 {
		wait = DefaultLagWait
	}
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, deadline.Sub(began)/2)
	}
	still := began // since when nothing has changed
	var last status
	for first := true; ; first = false {
		s, err := c.runStatus(ctx, r.Entity, r.Project, r.ID)
		if err != nil {
			return p, "", err
		}
		if first || s.lines != last.lines || s.state != last.state || stepOf(s.tail) != stepOf(last.tail) {
			still = c.now()
		}
		last = s
		switch {
		case !s.started && target.Resume == "must":
			return p, "WANDB_RESUME=must, and W&B has no run " + r.ID, nil
		case log != nil && log.Unsynced:
			return p, "the job's run " + r.ID + " was offline and is not synced yet", nil
		case !s.exists && log != nil:
			return p, "the job's run " + r.ID + " is not on the server, although there is a log of it here", nil
		case !s.started:
			p = newRun(r)
			p.entity, p.project, p.config = cmp.Or(s.entity, p.entity), cmp.Or(s.project, p.project), s.config
			return p, "", nil
		case target.Resume == "never":
			return p, "WANDB_RESUME=never, and the run " + r.ID + " exists", nil
		}
		alive := !terminal(s.state) && (log == nil || !log.Exited)
		switch {
		case alive && (log != nil || !recent):
			return p, stillWritten(r.ID, s.state), nil
		case !alive && settled(s, log, recent, c.now().Sub(still)):
			return appendTo(r, s, log, recent), "", nil
		}
		if c.now().Add(pollInterval).Sub(began) > wait {
			if alive {
				return p, stillWritten(r.ID, s.state), nil
			}
			return p, fmt.Sprintf("W&B does not show all rows of the run %s yet (%d so far), and rows added now could overwrite the others", r.ID, s.lines), nil
		}
		if err := c.sleep(ctx, pollInterval); err != nil {
			return p, "", c.clean((&Error{Op: "RunResumeStatus", URL: c.Server() + "/graphql"}).contextEnded(err))
		}
	}
}

// stillWritten is the reason that another program writes to a run.
func stillWritten(id, state string) string {
	return "the run " + id + " is " + cmp.Or(state, "possibly running") + ": another program writes to it"
}

// settled reports whether the server shows all rows of the run, so that its count is the
// position of the next row.
func settled(s status, log *JobLog, recent bool, stood time.Duration) bool {
	if log == nil {
		return !recent || stood >= steadyTime
	}
	// A log that began later counts only its own rows. If there is a row for each step
	// before it, the total is known; otherwise the newest row must be the log's last.
	return s.lines >= log.Rows && (s.lines >= log.StartingStep+log.Rows || stepOf(s.tail) >= log.LastStep)
}

// appendTo returns the plan for continuing a run after all that it has.
func appendTo(r run.Run, s status, log *JobLog, recent bool) plan {
	p := plan{
		id: r.ID, entity: s.entity, project: s.project, resumed: true,
		storageID: s.storageID, offset: s.lines, runtime: s.runtime, summary: s.summary,
		exitCode: exitCodeFor(s.state, log, r.ExitCode),
	}
	// The tail and the summary come from a cache, the count does not
	// (github.com/wandb/wandb/pull/12668); a run may skip steps.
	last := max(stepOf(s.tail), stepOf(s.summary), s.lines-1)
	if log != nil {
		last = max(last, log.LastStep)
		// If the server is behind the log, its summary is older. Otherwise it may be
		// newer: a summary can be changed after the end.
		if recent || stepOf(s.summary) < log.LastStep {
			p.summary = run.Merge(s.summary, log.Summary)
		}
		if log.StartingStep == 0 {
			p.started = log.Started
		}
	}
	p.step = last + 1
	at, dated := number(find(s.tail, "_timestamp"))
	runtime, timed := number(find(s.tail, "_runtime"))
	if dated && timed {
		p.started = time.UnixMicro(int64((at - runtime) * 1e6))
	}
	return p
}

// terminal reports whether a run has ended (wandb/apis/public/runs.py names the states).
func terminal(state string) bool {
	return slices.Contains([]string{"finished", "failed", "crashed", "killed", "preempted"}, state)
}

// exitCodeFor returns the exit code that leaves a run in its state. nil leaves the end
// open: a crashed run then stays crashed, since it has no heartbeat.
func exitCodeFor(state string, log *JobLog, own int) *int {
	code := own
	switch {
	case log != nil && log.Exited:
		code = log.ExitCode
	case state == "finished":
		code = 0
	case state == "failed":
		code = 1
	case terminal(state):
		return nil
	}
	return &code
}

func (p plan) bucket(r run.Run) bucketInput {
	in := bucketInput{ID: optional(p.storageID), Name: &p.id, Project: optional(p.project), Entity: optional(p.entity)}
	if !p.create {
		return in
	}
	wandb := run.Encode(struct {
		CLIVersion string            `json:"cli_version"`
		Telemetry  map[string]string `json:"t"`
	}{r.Writer, map[string]string{"5": r.Writer}})
	config := string(run.Object(run.Merge(p.config, values(r.Config), values([]run.Item{{Key: "_wandb", JSON: wandb}}))))
	in.GroupName, in.JobType, in.DisplayName, in.Notes = optional(p.group), optional(p.jobType), optional(r.Name), optional(r.Notes)
	in.Host, in.Config = optional(r.Host), &config
	if len(r.Tags) > 0 {
		in.Tags = r.Tags
	}
	return in
}

// values wraps every item as a config has it.
func values(items []run.Item) []run.Item {
	out := make([]run.Item, len(items))
	for i, item := range items {
		out[i] = run.Item{Key: item.Key, JSON: slices.Concat([]byte(`{"value":`), item.JSON, []byte(`}`))}
	}
	return out
}

// stream returns what to send of a run.
func (p plan) stream(r run.Run) stream {
	s := stream{offset: p.offset, exitCode: p.exitCode}
	ended := r.StartTime.Add(r.Duration)
	step, at := p.step-1, ended
	for _, line := range r.Rows {
		step, at = step+1, line.Time
		s.rows = append(s.rows, row(line, step, p.runtimeAt(line.Time)))
	}
	summary := run.Merge(p.summary, r.Summary)
	runtime := max(p.runtimeAt(ended), p.runtime)
	if last := max(step, 0); stepOf(p.summary) <= last {
		summary = run.Merge(summary, []run.Item{
			{Key: "_step", JSON: run.Encode(last)},
			{Key: "_timestamp", JSON: run.Encode(unixSeconds(at))},
			{Key: "_runtime", JSON: run.Encode(runtime)},
		})
	}
	// How long a job's own run lasted is for the job to set.
	own, _ := run.Members(find(p.summary, "_wandb"))
	if find(own, "runtime") == nil {
		own = run.Merge(own, []run.Item{{Key: "runtime", JSON: run.Encode(int64(runtime))}})
		summary = run.Merge(summary, []run.Item{{Key: "_wandb", JSON: run.Object(own)}})
	}
	s.summary = string(run.Object(summary))
	return s
}

// runtimeAt returns how long the run had lasted at a time, in seconds.
func (p plan) runtimeAt(t time.Time) float64 {
	if p.started.IsZero() {
		return p.runtime
	}
	return max(float64(t.Sub(p.started).Microseconds())/1e6, 0)
}

// stepOf returns the step of a row or a summary, -1 if there is none.
func stepOf(items []run.Item) int64 {
	x, ok := number(find(items, "_step"))
	if !ok || math.Abs(x) > 1<<53 {
		return -1
	}
	return int64(x)
}

// invalid returns the key of a value that is not JSON.
func invalid(items []run.Item) (key string, found bool) {
	for _, item := range items {
		if !json.Valid(item.JSON) {
			return item.Key, true
		}
	}
	return "", false
}

// find returns the value of a key, nil if there is none; the last one counts.
func find(items []run.Item, key string) []byte {
	for i := len(items) - 1; i >= 0; i-- {
		if items[i].Key == key {
			return items[i].JSON
		}
	}
	return nil
}

// number parses a finite number.
func number(text []byte) (float64, bool) {
	x, err := strconv.ParseFloat(string(text), 64)
	return x, err == nil && !math.IsInf(x, 0) && !math.IsNaN(x)
}
