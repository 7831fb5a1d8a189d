package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/wandb/run"
	"github.com/vobs/vobs/internal/wandb/wandbtest"
)

// job returns a run as the SDK leaves it: three rows, whose steps have a gap.
func job() wandbtest.Run {
	return wandbtest.Run{
		Entity: "ent0", Project: "p", ID: "job1", State: "finished", Group: "its", Notes: "its notes", Tags: []string{"t1"},
		Config: `{"lr":{"value":0.1},"_wandb":{"value":{"t":{"5":"0.31.0"}}}}`,
		Lines: []string{
			`{"_step":0,"_timestamp":1795341601,"_runtime":1,"loss":NaN}`,
			`{"_step":2,"_timestamp":1795341602,"_runtime":2,"loss":2}`,
			`{"_step":5,"_timestamp":1795341610,"_runtime":10,"loss":1}`,
		},
		Summary: `{"loss":1,"odd":NaN,"_step":5,"_timestamp":1795341610,"_runtime":10,"_wandb":{"runtime":60}}`,
	}
}

// jobLog returns the content of the job's own log.
func jobLog() *JobLog {
	return &JobLog{
		Entity: "ent0", Project: "p", Rows: 3, LastStep: 5, Started: began, Exited: true,
		Summary: []run.Item{item("loss", "1"), item("odd", "NaN"), item("_step", "5"), item("_wandb", `{"runtime":60}`)},
	}
}

// kept fails the test if anything of the job was lost.
func kept(t *testing.T, b *bench) {
	t.Helper()
	stored := b.backend.Run("ent0", "p", "job1")
	j := job()
	if len(stored.Overwritten) > 0 {
		t.Errorf("overwritten: %q", stored.Overwritten)
	}
	if d := cmp.Diff(j.Lines, stored.Lines[:min(3, len(stored.Lines))]); d != "" {
		t.Error(d)
	}
	if stored.Config != j.Config || stored.Notes != j.Notes || stored.Group != j.Group || !slices.Equal(stored.Tags, j.Tags) {
		t.Errorf("settings changed: %+v", stored)
	}
	if stored.State != j.State {
		t.Errorf("state %s, was %s", stored.State, j.State)
	}
	for _, part := range []string{`"loss":1`, `"odd":NaN`, `"_wandb":{"runtime":60}`} {
		if !strings.Contains(stored.Summary, part) {
			t.Errorf("the summary lost %s: %s", part, stored.Summary)
		}
	}
}

func TestAppend(t *testing.T) {
	b := newBench(t)
	b.backend.Put(job())
	r := event()
	r.Project = "from the environment; the job's code set p"
	got, err := b.Send(context.Background(), r, Target{JobRunID: "job1", JobLog: jobLog()})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Result{URL: b.server.URL + "/ent0/p/runs/job1", Entity: "ent0", Project: "p", ID: "job1", Resumed: true}, got); d != "" {
		t.Error(d)
	}
	kept(t, b)
	golden(t, "append.golden", wire(b))
	want(t, "runs", len(b.backend.Runs()), 1)
	want(t, "waits", len(b.clock.waits()), 0)
}

// The server shows the newest row and the state late; the log is up to date.
func TestServerLag(t *testing.T) {
	for name, c := range map[string]struct {
		log   func(*JobLog)
		nolog bool
		polls int
		lines int
		state string
		waits int
		why   string
	}{
		"all there":                    {},
		"one poll late":                {polls: 1, lines: 1, waits: 1},
		"six polls late":               {polls: 6, lines: 0, waits: 6},
		"the state late":               {polls: 2, lines: 3, state: "running", waits: 0},
		"never":                        {polls: 99, lines: 2, waits: 10, why: "W&B does not show all rows of the run job1 yet (2 so far)"},
		"resumed, all there":           {log: func(l *JobLog) { l.StartingStep, l.Rows = 3, 1 }},
		"resumed, late":                {log: func(l *JobLog) { l.StartingStep, l.Rows = 3, 1 }, polls: 2, lines: 2, waits: 2},
		"resumed, dense":               {log: func(l *JobLog) { l.StartingStep, l.Rows, l.LastStep = 2, 1, 9 }},
		"no rows":                      {log: func(l *JobLog) { l.Rows, l.LastStep = 0, -1 }},
		"no log: unchanged":            {nolog: true, waits: 4},
		"no log: grows":                {nolog: true, polls: 3, lines: 1, waits: 7},
		"no log: ends late":            {nolog: true, polls: 3, lines: 3, state: "running", waits: 7},
		"no log: alive":                {nolog: true, polls: 99, lines: 3, state: "running", waits: 10, why: "the run job1 is running"},
		"alive by its log":             {log: func(l *JobLog) { l.Exited = false }, polls: 99, lines: 3, state: "running", why: "the run job1 is running"},
		"alive in an unknown state":    {log: func(l *JobLog) { l.Exited = false }, polls: 99, lines: 3, state: "dancing", why: "the run job1 is dancing"},
		"ended, by the server only":    {log: func(l *JobLog) { l.Exited = false }},
		"its exit has not arrived yet": {polls: 99, lines: 3, state: "crashed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.backend.Put(job())
			if c.polls > 0 {
				b.backend.Lag("ent0", "p", "job1", c.polls, c.lines, c.state)
			}
			target := Target{JobRunID: "job1", JobLog: jobLog()}
			if c.log != nil {
				c.log(target.JobLog)
			}
			if c.nolog {
				target.JobLog = nil
			}
			got, err := b.Send(context.Background(), event(), target)
			if err != nil {
				t.Fatal(err)
			}
			want(t, "waits", len(b.clock.waits()), c.waits)
			kept(t, b)
			if c.why != "" {
				if !strings.HasPrefix(got.OwnRunReason, c.why) || got.Resumed || got.ID != "vobs-1" {
					t.Errorf("got %+v, want a run of its own because %s", got, c.why)
				}
				want(t, "its rows", len(b.backend.Run("ent0", "p", "job1").Lines), 3)
				ownRun := b.backend.Run("ent0", "p", "vobs-1")
				want(t, "its own rows", len(ownRun.History()), 2)
				want(t, "its own group", ownRun.Group, "g")
				return
			}
			if !got.Resumed || got.ID != "job1" || got.OwnRunReason != "" {
				t.Errorf("got %+v, want the job's run", got)
			}
			stored := b.backend.Run("ent0", "p", "job1")
			want(t, "rows", len(stored.History()), 5)
			first := max(6, target.step())
			for i, part := range []string{"vobs/gpu0/used_bytes", "vllm_gen/peak_vram_gb"} {
				if line := stored.Lines[3+i]; !strings.Contains(line, fmt.Sprintf(`"_step":%d,`, first+int64(i))) || !strings.Contains(line, part) {
					t.Errorf("row %d: %s", i, line)
				}
			}
		})
	}
}

func (t Target) step() int64 {
	if t.JobLog == nil {
		return 0
	}
	return t.JobLog.LastStep + 1
}

// The time is not spent on waiting alone: half of it is left for sending.
func TestLagWithinBudget(t *testing.T) {
	b := newBench(t)
	b.clock.t = time.Now()
	b.backend.Put(job())
	b.backend.Lag("ent0", "p", "job1", 99, 0, "")
	ctx, cancel := context.WithTimeout(context.Background(), 7*time.Second)
	defer cancel()
	r := event()
	r.StartTime = time.Now().Add(-r.Duration)
	got, err := b.Send(ctx, r, Target{JobRunID: "job1", JobLog: jobLog()})
	if err != nil || got.OwnRunReason == "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	want(t, "waits", len(b.clock.waits()), 3)
}

// The job's run keeps its state.
func TestStateKept(t *testing.T) {
	seven, one := 7, 1
	for name, c := range map[string]struct {
		state string
		code  *int // in the server's record
		log   *JobLog
		want  string
		exit  *int
	}{
		"finished":            {"finished", new(int), nil, "finished", new(int)},
		"failed":              {"failed", &seven, nil, "failed", &one},
		"failed, by its log":  {"failed", &seven, &JobLog{LastStep: -1, Exited: true, ExitCode: 7}, "failed", &seven},
		"running, by its log": {"running", nil, &JobLog{LastStep: -1, Exited: true}, "finished", new(int)},
		// Nobody sends heartbeats afterwards: a run in state running counts as crashed after 5 minutes.
		"crashed": {"crashed", nil, nil, "running", nil},
		"killed":  {"killed", nil, nil, "running", nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			j := job()
			j.State, j.ExitCode = c.state, c.code
			b.backend.Put(j)
			if _, err := b.Send(context.Background(), event(), Target{JobRunID: "job1", JobLog: c.log}); err != nil {
				t.Fatal(err)
			}
			stored := b.backend.Run("ent0", "p", "job1")
			want(t, "state", stored.State, c.want)
			if d := cmp.Diff(c.exit, stored.ExitCode); d != "" {
				t.Error(d)
			}
		})
	}
}

// WANDB_RESUME, and runs that are missing or not started.
func TestResume(t *testing.T) {
	log := &JobLog{LastStep: -1, Project: "p"}
	begun := func() *wandbtest.Run { j := job(); return &j }
	ahead := func() *wandbtest.Run {
		j := wandbtest.Run{Entity: "ent0", Project: "p", ID: "job1", State: "pending", Config: `{"lr":{"value":Infinity},"command":{"value":"old"}}`}
		return &j
	}
	missing := func() *wandbtest.Run { return nil }
	for name, c := range map[string]struct {
		run     *wandbtest.Run
		resume  string
		log     *JobLog
		ownRun  string
		resumed bool
	}{
		"missing":                  {missing(), "", nil, "", false},
		"missing, allow":           {missing(), "allow", nil, "", false},
		"missing, never":           {missing(), "never", nil, "", false},
		"missing, must":            {missing(), "must", nil, "WANDB_RESUME=must, and W&B has no run job1", false},
		"missing, but in a log":    {missing(), "", log, "the job's run job1 is not on the server", false},
		"created ahead":            {ahead(), "", nil, "", false},
		"created ahead, must":      {ahead(), "must", nil, "WANDB_RESUME=must", false},
		"created ahead, and a log": {ahead(), "", log, "", false},
		"begun":                    {begun(), "", jobLog(), "", true},
		"started, but unsynced":    {begun(), "", &JobLog{LastStep: 5, Rows: 3, Exited: true, Unsynced: true}, "the job's run job1 was offline", false},
		"begun, auto":              {begun(), "auto", jobLog(), "", true},
		"begun, must":              {begun(), "must", jobLog(), "", true},
		"begun, never":             {begun(), "never", jobLog(), "WANDB_RESUME=never, and the run job1 exists", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if c.run != nil {
				b.backend.Put(*c.run)
			}
			r := event()
			r.Group, r.JobType = "", ""
			got, err := b.Send(context.Background(), r, Target{JobRunID: "job1", Resume: c.resume, JobLog: c.log})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(got.OwnRunReason, c.ownRun) || (got.OwnRunReason == "") != (c.ownRun == "") {
				t.Errorf("the reason for a run of its own: got %q, want %q", got.OwnRunReason, c.ownRun)
			}
			want(t, "resumed", got.Resumed, c.resumed)
			if c.ownRun != "" {
				s := b.backend.Run("ent0", "p", "vobs-1")
				if s == nil {
					t.Fatal("the event has no run of its own")
				}
				want(t, "its group", s.Group, "job1")
				want(t, "its job type", s.JobType, "report")
				if j := b.backend.Run("ent0", "p", "job1"); j != nil && j.State != c.run.State {
					t.Errorf("the job's run was changed: %+v", j)
				}
				return
			}
			j := b.backend.Run("ent0", "p", "job1")
			if j == nil {
				t.Fatal("there is no run")
			}
			if name == "created ahead" {
				want(t, "config", j.Config, `{"lr":{"value":Infinity},"command":{"value":["sh","-c","a <b> & c"]},"gpu":{"value":{"count":1}},"_wandb":{"value":{"cli_version":"vobs 1.2.3","t":{"5":"vobs 1.2.3"}}}}`)
			}
		})
	}
}

// The newer of two summaries counts.
func TestSummaries(t *testing.T) {
	for name, c := range map[string]struct {
		server string
		age    time.Duration
		loss   string
	}{
		"just ended: the log":                       {`{"loss":3,"_step":5}`, time.Second, `"loss":1`},
		"long ago: the server":                      {`{"loss":3,"_step":5}`, time.Hour, `"loss":3`},
		"long ago, but the server never got it all": {`{"loss":3,"_step":4}`, time.Hour, `"loss":1`},
		"the server has none":                       {`{}`, time.Hour, `"loss":1`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.clock.t = ended.Add(c.age)
			j := job()
			j.Summary = c.server
			b.backend.Put(j)
			if _, err := b.Send(context.Background(), event(), Target{JobRunID: "job1", JobLog: jobLog()}); err != nil {
				t.Fatal(err)
			}
			if got := b.backend.Run("ent0", "p", "job1").Summary; !strings.Contains(got, c.loss) || !strings.Contains(got, `"vllm_gen/peak_vram_gb":64.5`) || !strings.Contains(got, `"_step":7`) {
				t.Errorf("got %s", got)
			}
		})
	}
}

// Nothing is written to a run that cannot be read.
func TestUnreadable(t *testing.T) {
	for name, change := range map[string]func(*wandbtest.Run){
		"the run's summary": func(r *wandbtest.Run) { r.Summary = `{"loss":` },
		"the run's config":  func(r *wandbtest.Run) { r.Config = `[]` },
	} {
		b := newBench(t)
		j := job()
		change(&j)
		b.backend.Put(j)
		_, err := b.Send(context.Background(), event(), Target{JobRunID: "job1"})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != KindResponse || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
		want(t, name, fmt.Sprint(b.backend.Ops()), "[RunResumeStatus]")
	}
}

// _runtime counts from the start of the run according to its newest row, otherwise
// according to the server or the log.
func TestRuntime(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*wandbtest.Run)
		log    *JobLog
		want   string
	}{
		// By the job's rows it began at 10:00:00, a quarter of a second before us.
		"by its newest row": {func(*wandbtest.Run) {}, jobLog(), `"_runtime":90.25`},
		"by its log":        {func(r *wandbtest.Run) { r.Lines = nil }, &JobLog{LastStep: 5, Started: began.Add(-time.Second), Exited: true}, `"_runtime":91`},
		// That log begins where the run was resumed.
		"not by a later log": {func(r *wandbtest.Run) { r.Lines = nil }, &JobLog{LastStep: -1, StartingStep: 3, Started: began.Add(-time.Second), Exited: true}, `"_runtime":60`},
		"by the summary":     {func(r *wandbtest.Run) { r.Lines = nil }, nil, `"_runtime":60`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.clock.t = ended.Add(time.Hour)
			j := job()
			c.change(&j)
			b.backend.Put(j)
			if _, err := b.Send(context.Background(), event(), Target{JobRunID: "job1", JobLog: c.log}); err != nil {
				t.Fatal(err)
			}
			lines := b.backend.Run("ent0", "p", "job1").Lines
			if last := lines[len(lines)-1]; !strings.Contains(last, c.want+",") {
				t.Errorf("got %s, want %s", last, c.want)
			}
		})
	}
}

// There is no wait for a run that ended long ago, nor for one that still runs.
func TestLongAgo(t *testing.T) {
	for state, ownRun := range map[string]string{"finished": "", "running": "the run job1 is running"} {
		b := newBench(t)
		b.clock.t = ended.Add(time.Hour)
		j := job()
		j.State = state
		b.backend.Put(j)
		got, err := b.Send(context.Background(), event(), Target{JobRunID: "job1"})
		if err != nil {
			t.Fatal(err)
		}
		want(t, state+": waits", len(b.clock.waits()), 0)
		if !strings.HasPrefix(got.OwnRunReason, ownRun) || (got.OwnRunReason == "") != (ownRun == "") {
			t.Errorf("%s: the reason for a run of its own is %q", state, got.OwnRunReason)
		}
	}
}

// The next step comes after the highest known one.
func TestNextStep(t *testing.T) {
	for name, c := range map[string]struct {
		lines   []string
		summary string
		want    string
	}{
		"nothing":                {nil, `{}`, `"_step":0,`},
		"the newest row":         {[]string{`{"_step":9}`}, `{"_step":4}`, `"_step":10,`},
		"the summary":            {[]string{`{"_step":2}`}, `{"_step":9}`, `"_step":10,`},
		"the count":              {[]string{`{"a":1}`, `{"a":1}`, `{"_step":0}`}, `{}`, `"_step":3,`},
		"no number":              {[]string{`{"_step":"x"}`}, `{"_step":NaN}`, `"_step":1,`},
		"out of range":           {[]string{`{"_step":7e300}`}, `{"_step":-1e300}`, `"_step":1,`},
		"rows that are not JSON": {[]string{`{"_step":`, `{"_step":`}, `{}`, `"_step":2,`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.clock.t = ended.Add(time.Hour)
			j := job()
			j.Lines, j.Summary = c.lines, c.summary
			b.backend.Put(j)
			if _, err := b.Send(context.Background(), event(), Target{JobRunID: "job1"}); err != nil {
				t.Fatal(err)
			}
			stored := b.backend.Run("ent0", "p", "job1")
			if got := stored.Lines[len(c.lines)]; !strings.Contains(got, c.want) || len(stored.Overwritten) > 0 {
				t.Errorf("got %s, want %s; overwritten: %q", got, c.want, stored.Overwritten)
			}
		})
	}
}

// Without a log, a run counts as complete when nothing of it has changed for a while.
func TestSettlesWithoutLog(t *testing.T) {
	for name, change := range map[string]func(*wandbtest.Run){
		"a row arrives":          func(r *wandbtest.Run) { r.Lines = append(r.Lines, r.Lines[2]) },
		"the newest row arrives": func(r *wandbtest.Run) { r.Lines[2] = `{"_step":20}` },
		"its state arrives":      func(r *wandbtest.Run) { r.State = "failed" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.backend.Put(job())
			b.Sleep = func(ctx context.Context, d time.Duration) error {
				if len(b.clock.waits()) == 2 {
					b.backend.Change("ent0", "p", "job1", change)
				}
				return b.clock.sleep(ctx, d)
			}
			if _, err := b.Send(context.Background(), event(), Target{JobRunID: "job1"}); err != nil {
				t.Fatal(err)
			}
			want(t, "waits", len(b.clock.waits()), 7)
		})
	}
}

// A row that the job logged never reached the server: its position must stay free.
func TestRowLost(t *testing.T) {
	b := newBench(t)
	j := job()
	j.Lines = []string{j.Lines[0], j.Lines[2]}
	b.backend.Put(j)
	got, err := b.Send(context.Background(), event(), Target{JobRunID: "job1", JobLog: jobLog()})
	if err != nil || !strings.HasPrefix(got.OwnRunReason, "W&B does not show all rows") {
		t.Errorf("got %+v, %v", got, err)
	}
	want(t, "rows", len(b.backend.Run("ent0", "p", "job1").Lines), 2)
}

// Rows that arrive just before ours keep their positions and steps.
func TestRowsInBetween(t *testing.T) {
	b := newBench(t)
	b.clock.t = ended.Add(time.Hour)
	b.backend.Put(job())
	b.backend.Lag("ent0", "p", "job1", 1, 1, "")
	b.backend.Change("ent0", "p", "job1", func(r *wandbtest.Run) {
		r.Lines = append(r.Lines, `{"_step":50,"loss":0}`)
		r.Summary = `{}`
	})
	if _, err := b.Send(context.Background(), event(), Target{JobRunID: "job1"}); err != nil {
		t.Fatal(err)
	}
	stored := b.backend.Run("ent0", "p", "job1")
	want(t, "rows", len(stored.History()), 6)
	want(t, "overwritten", fmt.Sprint(stored.Overwritten), "[]")
	if !strings.Contains(stored.Lines[4], `"_step":51,`) {
		t.Errorf("got %s", stored.Lines[4])
	}
}
