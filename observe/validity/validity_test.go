package validity

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// clean returns an Input about which nothing is doubtful: a run of 20 s whose engine was up
// before it, on one of two GPUs.
func clean() Input {
	sampling := func() *schema.Sampling {
		return &schema.Sampling{Samples: 80, PeriodSeconds: schema.F(0.25), MaxGapSeconds: schema.F(0.4)}
	}
	gpu := func(used bool) schema.GPU {
		return schema.GPU{
			UsedByJob: &used, MemoryAPI: schema.Ptr("v2"), BaselineBytes: schema.Ptr(int64(4 << 20)),
			ForeignProcesses: []schema.ForeignProcess{}, ThrottledFraction: schema.F(0), ThrottleReasons: []string{}, Sampling: sampling(),
		}
	}
	return Input{
		Event: &schema.GenerationObservability{
			SchemaVersion:  schema.Version,
			Run:            schema.Run{ExitCode: schema.Ptr(0), DurationSeconds: 20},
			FlagMismatches: []string{},
			Host:           &schema.Host{Sampling: sampling()},
			GPUs:           []schema.GPU{gpu(true), gpu(false)},
			Engine: &schema.Engine{
				Window:  &schema.Window{Base: "scraped"},
				Scrapes: &schema.Scrapes{PeriodSeconds: schema.F(0.25), MaxGapSeconds: schema.F(0.6)},
				Tokens:  &schema.Tokens{PromptBySource: map[string]int64{"local_compute": 1000}},
			},
		},
		Throttling: []Throttling{{Readings: 80}, {Readings: 80}},
		CPU:        &CPU{Count: 2, Elapsed: 20 * time.Second, Busy: 21 * time.Second, Own: 20 * time.Second, Uncertain: time.Second},
		OOM:        &OOM{},
	}
}

// A case of one rule: with the change, the notes have the codes and severities of want.
type ruleCase struct {
	name   string
	change func(*Input)
	want   string // CODE:SEVERITY, separated by blanks
	// evidence is that of the first note as JSON; "" if it does not matter.
	evidence string
}

var ruleCases = []ruleCase{
	{"clean", func(*Input) {}, "", ""},
	{"nothing is known", func(in *Input) { *in = Input{Event: &schema.GenerationObservability{}} }, "", ""},

	{"exit code", func(in *Input) { in.Event.Run.ExitCode = schema.Ptr(3) }, "nonzero_exit:warning", `{"field":"run.exit_code","value":3,"threshold":0}`},
	{"killed", func(in *Input) { in.Event.Run.ExitCode, in.Event.Run.Signal = nil, schema.Ptr("SIGKILL") }, "nonzero_exit:warning", `{"field":"run.signal","value":"SIGKILL","threshold":null}`},
	{"not started", func(in *Input) { in.Event.Run.ExitCode, in.Event.Run.StartError = nil, schema.Ptr("not found") }, "", ""},
	{"still running", func(in *Input) { in.Event.Run.ExitCode, in.Event.Partial = nil, true }, "", ""},

	{"interrupted", func(in *Input) { in.Event.Run.Interrupted = true }, "interrupted:warning", `{"field":"run.interrupted","value":true,"threshold":false}`},

	{"out of memory", func(in *Input) { in.OOM.Kills = 2 }, "oom_killed:error", `{"field":"host","value":2,"threshold":0}`},
	{"out of memory elsewhere", func(in *Input) { in.OOM = &OOM{Kills: 1, Shared: true} }, "", ""},
	{"out of memory, shared cgroup, the command failed", func(in *Input) {
		in.OOM, in.Event.Run.ExitCode = &OOM{Kills: 1, Shared: true}, schema.Ptr(137)
	}, "nonzero_exit:warning oom_killed:error", ""},
	{"out of memory, shared cgroup, an engine died", func(in *Input) { in.OOM, in.Died = &OOM{Kills: 1, Shared: true}, true }, "oom_killed:error", ""},
	{"out of memory by the kernel's log", func(in *Input) { in.OOM = &OOM{Logged: []string{"42 (python3)"}} }, "oom_killed:error", `{"field":"host","value":1,"threshold":0}`},
	{"the counter cannot be read", func(in *Input) { in.OOM, in.Died = nil, true }, "", ""},

	{"profiler in the command line", func(in *Input) { in.Profiler = "nsys" }, "profiled:warning", `{"field":"run.command","value":"nsys","threshold":null}`},
	{"profiler through the API", func(in *Input) { in.Engines.Profiled = []string{"http://127.0.0.1:8000/metrics"} }, "profiled:warning", ""},

	{"flag mismatch", func(in *Input) { in.Event.FlagMismatches = []string{"max_num_seqs: intended=8 actual=16"} }, "flag_did_not_engage:warning", `{"field":"flag_mismatches","value":1,"threshold":0}`},
	{"flags not compared", func(in *Input) { in.Event.FlagMismatches = nil }, "", ""},

	{"shared engine", func(in *Input) {
		*in = withClient()
		in.Event.Engine.Requests.Finished["stop"] += 100
	}, "engine_shared:warning", `{"field":"engine.requests.finished","value":1100,"threshold":1000}`},
	{"no statistics", func(in *Input) { in.Engines.WithoutStats = []string{"http://127.0.0.1:8000/metrics"} }, "stats_disabled:warning", ""},

	{"warm cache", func(in *Input) { in.Engines.WarmCache = &WarmCache{Hits: 10, Prompt: 1000} }, "warm_prefix_cache:warning", `{"field":"engine.tokens.prompt_by_source","value":0.01,"threshold":0.01}`},
	{"warm cache, without its source", func(in *Input) {
		in.Engines.WarmCache, in.Event.Engine.Tokens.PromptBySource = &WarmCache{Hits: 500, Prompt: 1000}, nil
	}, "warm_prefix_cache:warning", `{"field":"engine.prefix_cache.local","value":0.5,"threshold":0.01}`},
	{"few hits", func(in *Input) { in.Engines.WarmCache = &WarmCache{Hits: 9, Prompt: 1000} }, "", ""},
	{"no prompts", func(in *Input) { in.Engines.WarmCache = &WarmCache{} }, "", ""},

	{"engine came up", func(in *Input) {
		in.Engines.CameUp, in.Event.Engine.Window.Base = []string{"http://127.0.0.1:8000/metrics"}, "zero"
	}, "engine_warmed_up_inside:info", `{"field":"engine.window.base","value":"zero","threshold":null}`},

	{"foreign process", func(in *Input) {
		in.Event.GPUs[0].ForeignProcesses = []schema.ForeignProcess{{PID: 7, PeakBytes: schema.Ptr(int64(4 << 20))}, {PID: 8, Name: schema.Ptr("python"), PeakBytes: schema.Ptr(int64(64 << 20))}}
	}, "foreign_processes:warning", `{"field":"gpus.0.foreign_processes","value":67108864,"threshold":67108864}`},
	{"small foreign processes", func(in *Input) {
		for pid := range 100 {
			in.Event.GPUs[0].ForeignProcesses = append(in.Event.GPUs[0].ForeignProcesses, schema.ForeignProcess{PID: pid, PeakBytes: schema.Ptr(int64(64<<20 - 1))})
		}
	}, "", ""},
	{"foreign process with unknown memory", func(in *Input) { in.Event.GPUs[0].ForeignProcesses = []schema.ForeignProcess{{PID: 8}} }, "", ""},
	{"foreign process on another GPU", func(in *Input) {
		in.Event.GPUs[1].ForeignProcesses = []schema.ForeignProcess{{PID: 8, PeakBytes: schema.Ptr(int64(1 << 30))}}
	}, "", ""},
	{"foreign process on a GPU that may be ours", func(in *Input) {
		in.Event.GPUs[0].UsedByJob = nil
		in.Event.GPUs[0].ForeignProcesses = []schema.ForeignProcess{{PID: 8, PeakBytes: schema.Ptr(int64(1 << 30))}}
	}, "", ""},

	{"memory in use before", func(in *Input) { in.Event.GPUs[0].BaselineBytes = schema.Ptr(int64(512<<20 + 1)) }, "dirty_vram_baseline:warning", `{"field":"gpus.0.baseline_bytes","value":536870913,"threshold":536870912}`},
	{"little memory in use before", func(in *Input) { in.Event.GPUs[0].BaselineBytes = schema.Ptr(int64(512 << 20)) }, "", ""},
	{"no baseline", func(in *Input) { in.Event.GPUs[0].BaselineBytes = nil }, "", ""},
	{"memory in use before, by v1", func(in *Input) {
		in.Event.GPUs[0].BaselineBytes, in.Event.GPUs[0].MemoryAPI = schema.Ptr(int64(1<<30)), schema.Ptr("v1")
	}, "", ""},
	{"memory in use before on another GPU", func(in *Input) { in.Event.GPUs[1].BaselineBytes = schema.Ptr(int64(1 << 30)) }, "", ""},

	{"heat", func(in *Input) { in.Throttling[0] = Throttling{Readings: 80, Hardware: 1, PowerCap: 79} }, "throttled:warning", `{"field":"gpus.0.throttled_fraction","value":0.0125,"threshold":0.01}`},
	{"power cap", func(in *Input) { in.Throttling[0].PowerCap = 40 }, "throttled:info", `{"field":"gpus.0.throttled_fraction","value":0.5,"threshold":0.01}`},
	{"little heat", func(in *Input) { in.Throttling[0] = Throttling{Readings: 100, Hardware: 1} }, "", ""},
	{"heat of another GPU", func(in *Input) { in.Throttling[1].Hardware = 80 }, "", ""},
	{"too few readings of the clocks", func(in *Input) {
		in.Throttling[0], in.Event.GPUs[0].ThrottledFraction = Throttling{Readings: 2, Hardware: 2}, nil
	}, "", ""},

	{"another process burns a core", func(in *Input) { in.CPU.Busy = 41 * time.Second }, "busy_host:warning", `{"field":"host","value":0.5,"threshold":0.1}`},
	{"the command burns a core", func(in *Input) { in.CPU.Busy, in.CPU.Own = 41*time.Second, 40*time.Second }, "", ""},
	{"others at the limit", func(in *Input) { in.CPU.Busy = 25 * time.Second }, "", ""},
	{"others unknown", func(in *Input) { in.CPU.Busy, in.CPU.Own, in.CPU.Uncertain = 0, 0, 0 }, "", ""},
	{"a short run", func(in *Input) {
		*in.CPU = CPU{Count: 2, Elapsed: 999 * time.Millisecond, Busy: 2 * time.Second, Steal: time.Second}
	}, "", ""},
	{"steal", func(in *Input) { in.CPU.Steal = 500 * time.Millisecond }, "busy_host:warning", `{"field":"host","value":0.0125,"threshold":0.01}`},
	{"little steal", func(in *Input) { in.CPU.Steal = 400 * time.Millisecond }, "", ""},

	{"clock set forward", func(in *Input) { in.ClockJump = time.Hour }, "clock_jump:info", `{"field":"run.ended_at","value":3600.0,"threshold":1.01}`},
	{"clock set back", func(in *Input) { in.ClockJump = -time.Hour }, "clock_jump:info", ""},
	{"clock adjusted", func(in *Input) { in.ClockJump = -time.Second }, "", ""},
	{"clock adjusted for a day", func(in *Input) { in.ClockJump, in.Event.Run.DurationSeconds = 43*time.Second, 86400 }, "", ""},

	{"a gap of the GPU", func(in *Input) { in.Event.GPUs[1].Sampling.MaxGapSeconds = schema.F(6) }, "sparse_samples:info", `{"field":"gpus.1.sampling.max_gap_seconds","value":6.0,"threshold":5.0}`},
	{"a gap of the host", func(in *Input) { in.Event.Host.Sampling.MaxGapSeconds = schema.F(6) }, "sparse_samples:info", `{"field":"host.sampling.max_gap_seconds","value":6.0,"threshold":5.0}`},
	{"a gap of the engine", func(in *Input) { in.Event.Engine.Scrapes.MaxGapSeconds = schema.F(6) }, "sparse_samples:info", `{"field":"engine.scrapes.max_gap_seconds","value":6.0,"threshold":5.0}`},
	{"a gap of ten periods", func(in *Input) {
		in.Event.Host.Sampling.PeriodSeconds, in.Event.Host.Sampling.MaxGapSeconds = schema.F(0.6), schema.F(6)
	}, "", ""},
	{"a gap within the budget", func(in *Input) { in.Event.Host.Sampling.MaxGapSeconds = schema.F(4.9) }, "", ""},
	{"a restart of the engine", func(in *Input) {
		in.Event.Engine.Scrapes.MaxGapSeconds, in.Event.Engine.Window.Resets = schema.F(60), 1
	}, "", ""},
	{"one sample", func(in *Input) {
		in.Event.Host.Sampling = &schema.Sampling{Samples: 1}
		in.Event.Engine.Scrapes = nil
	}, "", ""},
}

func TestCheck(t *testing.T) {
	fired := map[schema.Code]bool{}
	for _, c := range ruleCases {
		t.Run(c.name, func(t *testing.T) {
			in := clean()
			c.change(&in)
			var notes schema.Notes
			Check(in, &notes)
			var got []string
			for _, v := range notes.Validity {
				got = append(got, string(v.Code)+":"+string(v.Severity))
				fired[v.Code] = true
			}
			if strings.Join(got, " ") != c.want || len(notes.Unavailable) > 0 {
				t.Errorf("%v %v, want %q", notes.Validity, notes.Unavailable, c.want)
			}
			if c.evidence != "" && len(notes.Validity) > 0 {
				if text := testkit.JSON(notes.Validity[0].Evidence); text != c.evidence {
					t.Errorf("evidence %s, want %s", text, c.evidence)
				}
			}
			// The evidence is about fields that the event has.
			in.Event.Validity = notes.Validity
			for _, problem := range validateEvidence(t, in.Event) {
				t.Error(problem)
			}
		})
	}
	for _, r := range rules {
		if !fired[r.code] {
			t.Errorf("no case has %s", r.code)
		}
	}
}

// validateEvidence returns what `vobs validate` reports about the evidence of the notes.
func validateEvidence(t *testing.T, e *schema.GenerationObservability) (problems []string) {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range schema.Validate(text, schema.Options{}) {
		if strings.Contains(p.Path, "evidence") {
			problems = append(problems, p.Path+": "+p.Message)
		}
	}
	return problems
}

// Each rule notes its own code only.
func TestRulesOwnCodes(t *testing.T) {
	var codes []schema.Code
	for _, r := range rules {
		if slices.Contains(codes, r.code) {
			t.Errorf("%s has two rules", r.code)
		}
		codes = append(codes, r.code)
		for _, c := range ruleCases {
			in := clean()
			c.change(&in)
			var notes schema.Notes
			r.check(in, &notes)
			for _, v := range notes.Validity {
				if v.Code != r.code || v.Message == "" {
					t.Errorf("%s: the rule of %s notes %s: %q", c.name, r.code, v.Code, v.Message)
				}
			}
		}
	}
}

func TestList(t *testing.T) {
	for n, want := range map[int]string{1: "a", 5: "a, a, a, a, a", 7: "a, a, a, a, a and 2 more"} {
		if got := list(slices.Repeat([]string{"a"}, n)); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
