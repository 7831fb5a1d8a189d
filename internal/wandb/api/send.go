package api

import (
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
	// DefaultLagWait is how long the server's count of rows is waited for. It lags by
	// 2 to 4 s on wandb.ai (github.com/wandb/wandb/issues/12421).
	DefaultLagWait = 10 * time.Second
	// lag is how long a count must stand still where nothing tells what it should be.
	lag = 4 * time.Second
	// fresh is how long after its end a run's figures may still be on their way.
	fresh = time.Minute
	poll  = time.Second
)

// Target says into which run of W&B an event goes.
type Target struct {
	// JobRunID is the run of the job itself (WANDB_RUN_ID), "" for a run of our own.
	JobRunID string
	// Resume is WANDB_RESUME: "", allow, must, never or auto.
	Resume string
	// JobLog is what the job's own log file tells; nil where there is none.
	JobLog *JobLog
	// LagWait bounds the wait for the server's figures; 0 is DefaultLagWait. At most
	// half of the time that the context leaves goes into it.
	LagWait time.Duration
}

// JobLog is what a job's own log, the newest `.wandb` file of its run, tells. It is
// known at once, while what the server says may be some seconds old.
type JobLog struct {
	// Entity and Project are those of the run, "" where the log does not say.
	Entity, Project string
	// Rows counts the log's lines of history; LastStep is the highest step, -1 without.
	Rows, LastStep int64
	// StartingStep is where the log began: above 0 for a run that was resumed, whose
	// earlier rows are in an earlier log.
	StartingStep int64
	// Started is when the run began; zero where unknown.
	Started time.Time
	// Unsynced says that the job's run was offline and was not synced yet: what it
	// logged comes to the server later, and would take the place of what is added now.
	Unsynced bool
	// Summary is the run's summary.
	Summary []run.Item
	// Exited says that the run was finished, with ExitCode.
	Exited   bool
	ExitCode int
}

// Result says where the event is.
type Result struct {
	// URL is the run's page.
	URL                 string
	Entity, Project, ID string
	// Resumed says that the event was added to a run that was there.
	Resumed bool
	// Sibling says why the event has a run of its own in place of the job's; "" where
	// it has not.
	Sibling string
	// Warnings tell what else did not work: files that were not stored.
	Warnings []string
}

// plan is how an event goes into a run.
type plan struct {
	id, entity, project, group, jobType string
	// storageID is the server's own name of a run that is gone on with.
	storageID string
	// create says that config, names and tags are sent; else the run keeps its own.
	create bool
	// config is what a run that was made but not started has.
	config []run.Item
	// offset and step are those of the first row.
	offset, step int64
	// started is what _runtime counts from; where it is unknown, runtime is what the
	// run had lasted, in seconds.
	started time.Time
	runtime float64
	// summary is what the run has already.
	summary  []run.Item
	exitCode *int
	resumed  bool
	sibling  string
}

// Send brings a run to the server: a new one, or by Target the job's own, to which it
// is added after all that it has. It returns when all has arrived, or with an *Error,
// which says what has. Sending the same run again gives the same run.
func (c *Client) Send(ctx context.Context, r run.Run, target Target) (Result, error) {
	if bad := check(r); bad != nil {
		return Result{}, c.clean(bad)
	}
	p, err := c.plan(ctx, r, target)
	if err != nil {
		return Result{}, done(err, "nothing was sent")
	}
	to, err := c.upsert(ctx, p.bucket(r))
	if err != nil {
		return Result{}, done(err, "nothing was sent")
	}
	result := Result{
		URL: c.RunURL(to.entity, to.project, to.id), Entity: to.entity, Project: to.project, ID: to.id,
		Resumed: p.resumed, Sibling: p.sibling,
	}
	if p.resumed && to.lines > p.offset {
		// Rows came since the plan was made: where they are and what their steps are.
		s, err := c.runStatus(ctx, to.entity, to.project, to.id)
		if err != nil {
			return result, done(err, "the run "+result.URL+" is as it was, none of the event's figures was sent")
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
		return result, done(err, had)
	}
	return result, nil
}

// uploadInTime leaves half of the time to what counts more: the figures.
func (c *Client) uploadInTime(ctx context.Context, to bucket, files []run.File) ([]string, []error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, deadline.Sub(c.now())/2)
		defer cancel()
	}
	return c.upload(ctx, to, files)
}

// done adds to an error what had reached the server.
func done(err error, had string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Done = had
	}
	return err
}

// plan asks the server what it has and decides.
func (c *Client) plan(ctx context.Context, r run.Run, target Target) (plan, error) {
	if target.JobRunID == "" {
		return c.planOwn(ctx, r)
	}
	entity, project := r.Entity, r.Project
	if log := target.JobLog; log != nil {
		// The job may have named them in its code.
		entity, project = or(log.Entity, entity), or(log.Project, project)
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
	p.group, p.jobType, p.sibling = or(r.Group, target.JobRunID), or(r.JobType, "report"), why
	return p, nil
}

// planOwn is the plan for a run whose id is ours alone.
func (c *Client) planOwn(ctx context.Context, r run.Run) (plan, error) {
	s, err := c.runStatus(ctx, r.Entity, r.Project, r.ID)
	if err != nil {
		return plan{}, err
	}
	p := newRun(r)
	p.entity, p.project = or(s.entity, p.entity), or(s.project, p.project)
	if s.exists && s.lines > int64(len(r.Rows)) {
		// Somebody went on with it. Our rows are its first and are written again, as
		// they were; the rest stays.
		p.create, p.summary, p.storageID, p.exitCode = false, s.summary, s.storageID, nil
		if terminal(s.state) {
			p.exitCode = endOf(s.state, nil, r.ExitCode)
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

// planJob is the plan for going on with a job's own run, or why that must not be.
func (c *Client) planJob(ctx context.Context, r run.Run, target Target) (p plan, why string, err error) {
	log := target.JobLog
	recent := c.now().Sub(r.StartTime.Add(r.Duration)) < fresh
	began := c.now()
	wait := target.LagWait
	if wait <= 0 {
		wait = DefaultLagWait
	}
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, deadline.Sub(began)/2)
	}
	still := began // since when nothing changed
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
			return p, "the job's run " + r.ID + " is not on the server, though it was logged here", nil
		case !s.started:
			p = newRun(r)
			p.entity, p.project, p.config = or(s.entity, p.entity), or(s.project, p.project), s.config
			return p, "", nil
		case target.Resume == "never":
			return p, "WANDB_RESUME=never, and the run " + r.ID + " exists", nil
		}
		alive := !terminal(s.state) && (log == nil || !log.Exited)
		switch {
		case alive && (log != nil || !recent):
			return p, "the run " + r.ID + " is " + or(s.state, "perhaps alive") + ": another program writes to it", nil
		case !alive && settled(s, log, recent, c.now().Sub(still)):
			return appendTo(r, s, log, recent), "", nil
		}
		if c.now().Add(poll).Sub(began) > wait {
			if alive {
				return p, "the run " + r.ID + " is " + or(s.state, "perhaps alive") + ": another program writes to it", nil
			}
			return p, fmt.Sprintf("W&B does not show all rows of the run %s yet (%d by now), and what is added now could overwrite the others", r.ID, s.lines), nil
		}
		if err := c.sleep(ctx, poll); err != nil {
			return p, "", c.clean((&Error{Op: "RunResumeStatus", URL: c.Server() + "/graphql"}).ended(err))
		}
	}
}

// settled says whether the server shows all rows of the run, so that its count is
// where the next row goes.
func settled(s status, log *JobLog, recent bool, stood time.Duration) bool {
	if log == nil {
		return !recent || stood >= lag
	}
	// A log that began later counts its own rows alone. With a row for each step before
	// it, the count is known; else the newest row must be the log's last.
	return s.lines >= log.Rows && (s.lines >= log.StartingStep+log.Rows || stepOf(s.tail) >= log.LastStep)
}

// appendTo is the plan for going on with a run after all that it has.
func appendTo(r run.Run, s status, log *JobLog, recent bool) plan {
	p := plan{
		id: r.ID, entity: s.entity, project: s.project, resumed: true,
		storageID: s.storageID, offset: s.lines, runtime: s.runtime, summary: s.summary,
		exitCode: endOf(s.state, log, r.ExitCode),
	}
	// The tail and the summary are served from a cache, the count is not
	// (github.com/wandb/wandb/pull/12668); a run may leave steps out.
	last := max(stepOf(s.tail), stepOf(s.summary), s.lines-1)
	if log != nil {
		last = max(last, log.LastStep)
		// What the server has is older than the log where it is behind it. Else it may be
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

// terminal says whether a run has ended (wandb/apis/public/runs.py names the states).
func terminal(state string) bool {
	return slices.Contains([]string{"finished", "failed", "crashed", "killed", "preempted"}, state)
}

// endOf is the exit code that leaves a run in the state that it is in. nil says
// nothing of the end: then a run that crashed goes on to be one, for it has no
// heartbeat.
func endOf(state string, log *JobLog, own int) *int {
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
	in := bucketInput{ID: opt(p.storageID), Name: &p.id, Project: opt(p.project), Entity: opt(p.entity)}
	if !p.create {
		return in
	}
	wandb := run.Encode(struct {
		CLIVersion string            `json:"cli_version"`
		Telemetry  map[string]string `json:"t"`
	}{r.Writer, map[string]string{"5": r.Writer}})
	config := string(run.Object(run.Merge(p.config, values(r.Config), values([]run.Item{{Key: "_wandb", JSON: wandb}}))))
	in.GroupName, in.JobType, in.DisplayName, in.Notes = opt(p.group), opt(p.jobType), opt(r.Name), opt(r.Notes)
	in.Host, in.Config = opt(r.Host), &config
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

// stream is what is sent of a run.
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
			{Key: "_timestamp", JSON: run.Encode(stamp(at))},
			{Key: "_runtime", JSON: run.Encode(runtime)},
		})
	}
	// How long a job's own run lasted is the job's to say.
	own, _ := run.Members(find(p.summary, "_wandb"))
	if find(own, "runtime") == nil {
		own = run.Merge(own, []run.Item{{Key: "runtime", JSON: run.Encode(int64(runtime))}})
		summary = run.Merge(summary, []run.Item{{Key: "_wandb", JSON: run.Object(own)}})
	}
	s.summary = string(run.Object(summary))
	return s
}

// runtimeAt is how long the run had lasted at a time, in seconds.
func (p plan) runtimeAt(t time.Time) float64 {
	if p.started.IsZero() {
		return p.runtime
	}
	return max(float64(t.Sub(p.started).Microseconds())/1e6, 0)
}

// stepOf is the step of a row or a summary, -1 where there is none.
func stepOf(items []run.Item) int64 {
	x, ok := number(find(items, "_step"))
	if !ok || math.Abs(x) > 1<<53 {
		return -1
	}
	return int64(x)
}

// invalid finds a value that is no JSON.
func invalid(items []run.Item) (key string, found bool) {
	for _, item := range items {
		if !json.Valid(item.JSON) {
			return item.Key, true
		}
	}
	return "", false
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// find gives the value of a key, nil where there is none; the last one counts.
func find(items []run.Item, key string) []byte {
	for i := len(items) - 1; i >= 0; i-- {
		if items[i].Key == key {
			return items[i].JSON
		}
	}
	return nil
}

// number reads a finite number.
func number(text []byte) (float64, bool) {
	x, err := strconv.ParseFloat(string(text), 64)
	return x, err == nil && !math.IsInf(x, 0) && !math.IsNaN(x)
}
