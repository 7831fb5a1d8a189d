package check

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

// The bounds of a percentile decide a limit, or they do not.
func TestJudgePercentile(t *testing.T) {
	low, high := schema.F(0.25), schema.F(0.5)
	for _, c := range []struct {
		name      string
		low, high *schema.Float
		limit     string
		want      Verdict
	}{
		{"inside", low, high, "<ttft=300ms", Undecided},
		{"at the upper bound", low, high, "<ttft=500ms", Passed},
		{"above the upper bound", low, high, "<ttft=501ms", Passed},
		{"below the lower bound", low, high, "<ttft=249ms", Failed},
		// The bucket (0.25, 0.5] does not include 0.25.
		{"at the lower bound", low, high, "<ttft=250ms", Failed},
		{"no upper bound, above the lower", low, nil, "<ttft=1h", Undecided},
		{"no upper bound, below the lower", low, nil, "<ttft=200ms", Failed},
		{"no upper bound, at the lower", low, nil, "<ttft=250ms", Failed},
		{"the first bucket", schema.F(0), high, "<ttft=300ms", Undecided},
		{"the first bucket, 0", schema.F(0), high, "<ttft=0", Undecided},
		{"all are 0", schema.F(0), schema.F(0), "<ttft=0", Passed},
		{"exact, equal", low, low, "<ttft=250ms", Passed},
		{"minimum inside", low, high, ">ttft=300ms", Undecided},
		{"minimum at the lower bound", low, high, ">ttft=250ms", Passed},
		{"minimum below the lower bound", low, high, ">ttft=200ms", Passed},
		{"minimum above the upper bound", low, high, ">ttft=501ms", Failed},
		{"minimum at the upper bound", low, high, ">ttft=500ms", Undecided},
		{"minimum, no upper bound", low, nil, ">ttft=1h", Undecided},
	} {
		text := example(t, func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.TimeToFirstToken.P95Bounds = &schema.Bounds{c.low, c.high}
			e.Engine.LatencySeconds.TimeToFirstToken.P95Est = nil
		})
		r := run(t, Options{Limits: limits(t, c.limit)}, text)
		got := r.Events[0].Checks[0]
		if got.Verdict != c.want || got.Fails != (c.want != Passed) || (r.Verdict == Passed) != (c.want == Passed) {
			t.Errorf("%s: %+v, all %s, want %s", c.name, got, r.Verdict, c.want)
		}
		r = run(t, Options{Limits: limits(t, c.limit), AllowUndecided: true}, text)
		if pass := c.want == Passed || c.want == Undecided; (r.Verdict == Passed) != pass {
			t.Errorf("%s: undecided is allowed: %s", c.name, r.Verdict)
		}
	}
}

// A figure that is known exactly is never undecided.
func TestJudgeFigure(t *testing.T) {
	for limit, want := range map[string]Verdict{
		"<peak_vram=70.875GiB": Passed, "<peak_vram=71GiB": Passed, "<peak_vram=70.874GiB": Failed,
		">peak_vram=70.875GiB": Passed, ">peak_vram=71GiB": Failed, ">peak_vram=70GiB": Passed,
		"<ttft.mean=4.61s": Passed, "<ttft.mean=4.60s": Failed, "<ttft.p95_est=9.8s": Passed,
		"<engine.requests.finished.abort=0": Passed, "<engine.http.4xx=0": Failed, "<run.exit_code=0": Passed,
		"<queue_time=1s": Missing, "<engine.prefix_cache.external.hit_rate=1": Missing, "<gpus.1.peak_bytes=1GiB": Missing,
	} {
		r := run(t, Options{Limits: limits(t, limit)}, example(t, nil))
		if got := r.Events[0].Checks; len(got) != 1 || got[0].Verdict != want {
			t.Errorf("%s: %+v, want %s", limit, got, want)
		}
		r = run(t, Options{Limits: limits(t, limit), AllowMissing: true}, example(t, nil))
		if (r.Verdict == Failed) != (want == Failed) {
			t.Errorf("%s: missing is allowed: %s", limit, r.Verdict)
		}
	}
}

// A value that a figure cannot have decides nothing.
func TestImpossible(t *testing.T) {
	bounds := func(low, high *schema.Float) func(e *schema.GenerationObservability) {
		return func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.TimeToFirstToken.P95Bounds = &schema.Bounds{low, high}
		}
	}
	for _, c := range []struct {
		name   string
		change func(e *schema.GenerationObservability)
		limit  string
		reason string // empty: the value is possible
	}{
		{"a negative time", func(e *schema.GenerationObservability) { e.Run.DurationSeconds = -5 }, "<duration=1s", "the event has an impossible value, -5 s: it cannot be negative"},
		{"a negative size", func(e *schema.GenerationObservability) { e.PeakVRAMGB = schema.F(-1) }, "<peak_vram=1GiB", "the event has an impossible value, -1 GiB: it cannot be negative"},
		{"a fraction above 1", func(e *schema.GenerationObservability) { e.PrefixCacheHitRate = schema.F(1.5) }, ">prefix_cache_hit_rate=50%", "the event has an impossible value, 150 %: a fraction is from 0 to 1"},
		{"a negative fraction", func(e *schema.GenerationObservability) { e.PrefixCacheHitRate = schema.F(-0.5) }, "<prefix_cache_hit_rate=50%", "the event has an impossible value, -50 %: a fraction is from 0 to 1"},
		{"bounds in the wrong order", bounds(schema.F(10), schema.F(7.5)), "<ttft=20s", "the event has impossible bounds of the percentile: 10 s is above 7.5 s"},
		{"a negative bound", bounds(schema.F(-1), schema.F(7.5)), "<ttft=20s", "the event has an impossible value, -1 s: it cannot be negative"},
		{"no lower bound", bounds(nil, schema.F(7.5)), "<ttft=20s", ""},
		{"no upper bound", bounds(schema.F(7.5), nil), ">ttft=1s", ""},
		{"equal bounds", bounds(schema.F(7.5), schema.F(7.5)), "<ttft=20s", ""},
		{"an instant before the start", func(e *schema.GenerationObservability) { e.GPUs[0].PeakAtSeconds = schema.F(-0.5) }, "<gpus.0.peak_at_seconds=1s", ""},
	} {
		r := run(t, Options{Limits: limits(t, c.limit)}, example(t, c.change))
		got := r.Events[0].Checks[0]
		want := Passed
		if c.reason != "" {
			want = Missing
		}
		if got.Verdict != want || got.Reason != c.reason || got.Fails != (want == Missing) || want == Missing && (got.Value != nil || got.Low != nil || got.High != nil) {
			t.Errorf("%s: %+v\nwant %s: %s", c.name, got, want, c.reason)
		}
	}
}

// A * stands for every device, and all of them must pass.
func TestEveryDevice(t *testing.T) {
	two := func(change func(g *schema.GPU)) string {
		return example(t, func(e *schema.GenerationObservability) {
			second := e.GPUs[0]
			second.Index = 1
			change(&second)
			e.GPUs = append(e.GPUs, second)
		})
	}
	o := Options{Limits: limits(t, "<gpu_memory=72GiB")}
	for _, c := range []struct {
		name, event, want string
		passed            bool
	}{
		{"both pass", two(func(*schema.GPU) {}), "gpus.0.peak_bytes passed, gpus.1.peak_bytes passed", true},
		{"one fails", two(func(g *schema.GPU) { g.PeakBytes = schema.Ptr(int64(73 << 30)) }), "gpus.0.peak_bytes passed, gpus.1.peak_bytes failed", false},
		{"one is unknown", two(func(g *schema.GPU) { g.PeakBytes = nil }), "gpus.0.peak_bytes passed, gpus.1.peak_bytes missing", false},
		{"none is visible", example(t, func(e *schema.GenerationObservability) { e.GPUs = []schema.GPU{} }), "gpu_memory missing", false},
		{"no NVML", example(t, func(e *schema.GenerationObservability) {
			e.GPUs = nil
			e.Unavailable = append(e.Unavailable, schema.Unavailable{Field: "gpus", Reason: "no NVML library"})
		}), "gpu_memory missing", false},
	} {
		r := run(t, o, c.event)
		if got := verdicts(r); got != c.want || (r.Verdict == Passed) != c.passed {
			t.Errorf("%s: %s, %s, want %s", c.name, r.Verdict, got, c.want)
		}
		if c.name == "no NVML" && r.Events[0].Checks[0].Reason != "no NVML library" {
			t.Errorf("%+v", r.Events[0].Checks)
		}
	}
	r := run(t, Options{Limits: limits(t, "<engine.kv_connectors.*.transfers.p90=10ms")}, example(t, nil))
	if got := verdicts(r); got != "engine.kv_connectors.0.transfers.p90 failed" {
		t.Error(got)
	}
}

// Under speculation an SLO's target between tokens is compared with the time per output token.
func TestSpeculation(t *testing.T) {
	speculation := func(s *schema.Speculative, method *string) string {
		return example(t, func(e *schema.GenerationObservability) {
			e.Engine.Speculative = s
			e.EngineRuntimeConfig.SpeculativeMethod = method
		})
	}
	for _, c := range []struct {
		name, event string
		perToken    bool
	}{
		{"drafts", speculation(&schema.Speculative{DraftTokens: schema.Ptr(int64(5))}, nil), true},
		{"unknown drafts", speculation(&schema.Speculative{}, nil), true},
		{"no drafts", speculation(&schema.Speculative{DraftTokens: schema.Ptr(int64(0))}, schema.Ptr("ngram")), false},
		{"configured", speculation(nil, schema.Ptr("ngram")), true},
		{"off", speculation(nil, nil), false},
		{"no engine", example(t, func(e *schema.GenerationObservability) { e.Engine = nil }), false},
	} {
		r := run(t, Options{Limits: limits(t, "itl=60ms")}, c.event)
		got := r.Events[0].Checks[0]
		want := "itl.p95"
		if c.perToken {
			want = "tpot.p95"
		}
		if got.Name != want || strings.Contains(got.Reason, "per output token") != c.perToken {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	// A limit on the latency itself stays.
	r := run(t, Options{Limits: limits(t, "<itl=60ms")}, speculation(&schema.Speculative{}, nil))
	if got := verdicts(r); got != "itl.p95 passed" {
		t.Error(got)
	}
}

// The engine of a vllm-omni pipeline sees one stage of a request: an SLO's target for whole
// requests is compared with the pipeline's latency.
func TestPipeline(t *testing.T) {
	pipeline := func(d *schema.Distribution) string {
		return example(t, func(e *schema.GenerationObservability) {
			e.Omni = &schema.Omni{Models: []string{}, Stages: []schema.OmniStage{}, Pipeline: &schema.OmniPipeline{E2ERequestLatencySeconds: d}}
		})
	}
	slow := &schema.Distribution{Count: 1, Sum: 70, Mean: schema.F(70), P95Bounds: &schema.Bounds{schema.F(60), schema.F(80)}}
	for _, c := range []struct{ name, event, limit, want string }{
		{"a pipeline", pipeline(slow), "e2e=30s", "omni.pipeline.e2e_request_latency_seconds.p95 failed"},
		{"a pipeline without latencies", pipeline(nil), "e2e=30s", "e2e.p95 passed"},
		{"no pipeline", example(t, nil), "e2e=30s", "e2e.p95 passed"},
		{"a limit on the engine's", pipeline(slow), "<e2e=30s", "e2e.p95 passed"},
	} {
		r := run(t, Options{Limits: limits(t, c.limit)}, c.event)
		if got := verdicts(r); got != c.want || strings.Contains(r.Events[0].Checks[0].Reason, "whole requests") != (r.Verdict == Failed) {
			t.Errorf("%s: %s: %+v", c.name, got, r.Events[0].Checks)
		}
	}
}

// Figures that an event does not have, with the reason.
func TestMissing(t *testing.T) {
	for _, c := range []struct{ name, event, limit, want string }{
		{"unavailable", example(t, nil), "<queue_time=1s", "the engine does not export vllm:request_queue_time_seconds"},
		{"a group above", example(t, func(e *schema.GenerationObservability) {
			e.Engine = nil
			e.Unavailable = append(e.Unavailable, schema.Unavailable{Field: "engine", Reason: "no engine was found"})
		}), "<ttft=1s", "no engine was found"},
		{"no bounds", strings.ReplaceAll(example(t, nil), `"p95_bounds":[7.5,10.0],`, ""), "<ttft=1s", "the event has no bounds of its percentiles: an older vobs wrote it"},
		{"the core", core, "<duration=1s", "the event has the keys of the core only"},
		{"a null of the core", core, "<spec_accept_rate=1", "the event does not have it, and gives no reason"},
		{"an empty list", example(t, nil), "<engine.roles.*.prompt_tokens=1", "the event has an empty list there"},
	} {
		r := run(t, Options{Limits: limits(t, c.limit)}, c.event)
		got := r.Events[0].Checks
		if len(got) != 1 || got[0].Verdict != Missing || got[0].Reason != c.want || r.Verdict != Failed {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	if r := run(t, Options{Limits: limits(t, "<peak_vram=2GiB", ">prefix_cache_hit_rate=25%")}, core); r.Verdict != Passed || r.Events[0].RunID != nil {
		t.Errorf("%+v", r)
	}
}

// Doubts are noted, and with strict validity they fail.
func TestValidity(t *testing.T) {
	clean := func(e *schema.GenerationObservability) { e.Validity = []schema.Validity{} }
	for _, c := range []struct {
		name   string
		change func(e *schema.GenerationObservability)
		want   string
	}{
		{"none", func(*schema.GenerationObservability) {}, ""},
		{"a warning", func(e *schema.GenerationObservability) {
			e.Validity = append(e.Validity, schema.Validity{Code: schema.CodeThrottled, Severity: schema.Warning, Message: "m"})
		}, "warning throttled m"},
		{"an info", func(e *schema.GenerationObservability) {
			e.Validity = append(e.Validity, schema.Validity{Code: schema.CodeThrottled, Severity: schema.Info, Message: "m"})
		}, ""},
		{"an error", func(e *schema.GenerationObservability) {
			e.Validity = append(e.Validity, schema.Validity{Code: schema.CodeEngineDied, Severity: schema.Error, Message: "m"})
		}, "error engine_died m"},
		{"exit code", func(e *schema.GenerationObservability) { e.Run.ExitCode = schema.Ptr(3) }, "warning nonzero_exit the command failed with exit code 3"},
		{"exit code with its note", func(e *schema.GenerationObservability) {
			e.Run.ExitCode = schema.Ptr(3)
			e.Validity = append(e.Validity, schema.Validity{Code: schema.CodeNonzeroExit, Severity: schema.Warning, Message: "m"})
		}, "warning nonzero_exit m"},
		{"a signal", func(e *schema.GenerationObservability) { e.Run.ExitCode, e.Run.Signal = nil, schema.Ptr("SIGKILL") }, "warning nonzero_exit the command was killed by SIGKILL"},
		{"not started", func(e *schema.GenerationObservability) {
			e.Run.ExitCode, e.Run.StartError = nil, schema.Ptr("not found")
		}, "warning nonzero_exit the command could not be started: not found"},
		{"partial", func(e *schema.GenerationObservability) { e.Partial, e.Run.ExitCode = true, nil }, "warning partial the event is preliminary: it was written while the command was still running"},
	} {
		text := example(t, func(e *schema.GenerationObservability) { clean(e); c.change(e) })
		for _, strict := range []bool{false, true} {
			r := run(t, Options{Limits: limits(t, "<peak_vram=80GiB"), StrictValidity: strict}, text)
			var got []string
			for _, n := range r.Events[0].Notes {
				got = append(got, string(n.Severity)+" "+string(n.Code)+" "+n.Message)
				if n.Fails != strict {
					t.Errorf("%s: %+v", c.name, n)
				}
			}
			if strings.Join(got, ", ") != c.want || (r.Verdict == Failed) != (strict && c.want != "") {
				t.Errorf("%s, strict %v: %q, %s", c.name, strict, got, r.Verdict)
			}
		}
	}
	// The core alone has no validity: there is nothing to judge it by.
	if r := run(t, Options{Limits: limits(t, "<peak_vram=80GiB")}, core); r.Verdict != Passed || len(r.Events[0].Notes) != 0 {
		t.Errorf("the core: %+v", r)
	}
	r := run(t, Options{Limits: limits(t, "<peak_vram=80GiB"), StrictValidity: true}, core)
	if notes := r.Events[0].Notes; r.Verdict != Failed || len(notes) != 1 || notes[0].Code != CodeNoValidity || !notes[0].Fails || len(r.Failures()) != 1 {
		t.Errorf("the core, strict: %+v", r)
	}
}

// Each event of each file is evaluated; one that fails makes all fail.
func TestSeveralEvents(t *testing.T) {
	bad := example(t, func(e *schema.GenerationObservability) {
		e.PeakVRAMGB, e.Run.ID = schema.F(79), "019aa8f2-0000-7b6a-9d0e-3f6f1d2a9c11"
	})
	r := run(t, Options{Limits: limits(t, "<peak_vram=72GiB")}, example(t, nil)+bad, core)
	if got := verdicts(r); got != "peak_vram passed, peak_vram failed, peak_vram passed" || r.Verdict != Failed {
		t.Errorf("%s, %s", r.Verdict, got)
	}
	var labels []string
	for _, e := range r.Events {
		labels = append(labels, r.label(e)+": "+string(e.Verdict))
	}
	want := "a, event 1, run 019aa8f2-6c1e-7b6a-9d0e-3f6f1d2a9c11: passed; a, event 2, run 019aa8f2-0000-7b6a-9d0e-3f6f1d2a9c11: failed; b: passed"
	if got := strings.Join(labels, "; "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// Files that cannot be read, or hold something else, are errors.
func TestUnreadable(t *testing.T) {
	open := func(name string) (io.ReadCloser, error) {
		if name == "gone" {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return io.NopCloser(strings.NewReader(core + "\n{\"peak_vram_gb\": 1")), nil
	}
	if _, err := Run(Options{}, []string{"gone"}, open); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Run(Options{}, []string{"cut"}, open); err == nil || !strings.HasPrefix(err.Error(), "reading cut: line 2") {
		t.Error(err)
	}
}

// The cure has the limits as bounds, beside vLLM's own bounds and those that the event shows.
func TestCure(t *testing.T) {
	text := example(t, func(e *schema.GenerationObservability) {
		e.Engine.Speculative = nil
		d := e.Engine.LatencySeconds
		d.E2ERequestLatency.Buckets = append(d.E2ERequestLatency.Buckets, schema.Bucket{nil, schema.Ptr(1001.0)}, schema.Bucket{schema.Ptr(33.0), schema.Ptr(1002.0)})
	})
	for _, c := range []struct {
		name   string
		limits []string
		want   string
	}{
		{"none", []string{"<ttft=10s"}, ""},
		{"failed", []string{"<ttft=1s"}, ""},
		{"undecided", []string{"<e2e.p99=25s"}, `{"request_latency":[0.3,0.5,0.8,1,1.5,2,2.5,5,10,15,20,25,30,33,40,50,60,120,240,480,960,1920,7680]}`},
		{"one family", []string{"<itl=50ms", "<tpot.p99=70ms"}, `{"inter_token_latency":[0.01,0.02,0.025,0.04,0.05,0.06,0.07,0.075,0.08,0.1,0.15,0.2,0.3,0.4,0.5,0.75,1,2.5,5,7.5,10,20,40,80]}`},
		{"two families", []string{"<itl=50ms", "<ttft=8s"}, `{"inter_token_latency":[0.01,0.02,0.025,0.04,0.05,0.06,0.075,0.08,0.1,0.15,0.2,0.3,0.4,0.5,0.75,1,2.5,5,7.5,10,20,40,80],` +
			`"time_to_first_token":[0.001,0.005,0.01,0.02,0.04,0.06,0.08,0.1,0.25,0.5,0.75,1,2.5,5,7.5,8,10,20,40,80,160,640,2560]}`},
		{"a minimum", []string{">ttft=8s"}, `{"time_to_first_token":[0.001,0.005,0.01,0.02,0.04,0.06,0.08,0.1,0.25,0.5,0.75,1,2.5,5,7.5,8,10,20,40,80,160,640,2560]}`},
		{"a minimum at the upper bound", []string{">ttft=10s"}, ""},
		{"tokens", []string{"<engine.tokens.prompt_per_request=3000"}, `{"request_tokens":[1,2,5,10,20,50,100,200,500,1000,2000,3000,5000,10000,20000,50000,100000,200000,500000,1000000]}`},
		{"tokens per step", []string{"<engine.tokens.per_iteration.p50=150"}, `{"iteration_tokens":[1,8,16,32,64,128,150,200,256,500,512,1000,1024,2048,4096,8192,10000,16384]}`},
		{"fixed buckets", []string{"<engine.kv_offload.load.size_bytes=99MB"}, ""},
	} {
		r := run(t, Options{Limits: limits(t, c.limits...), AllowUndecided: true}, text)
		got := ""
		if r.Cure != nil {
			got = r.Cure.Value
			if r.Cure.Option != "--custom-histogram-buckets" || r.Cure.Since != "0.32" {
				t.Errorf("%s: %+v", c.name, r.Cure)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

// Every family of buckets belongs to distributions of the event.
func TestBucketFamilies(t *testing.T) {
	families := map[string]int{}
	for _, f := range schema.Fields() {
		path, isDistribution := strings.CutSuffix(f.Path, ".p95_est")
		if !isDistribution {
			continue
		}
		if family, ok := bucketFamily(path); ok {
			families[family.Key]++
		}
	}
	for key, want := range map[string]int{"request_latency": 5, "time_to_first_token": 1, "inter_token_latency": 2, "iteration_tokens": 1, "request_num_preemptions": 1, "request_tokens": 2, "kv_cache_residency": 3} {
		if families[key] != want {
			t.Errorf("%s has %d distributions, want %d", key, families[key], want)
		}
	}
}
