package diagnose

import (
	"math"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// fixOf returns the fix of a finding by its flag.
func fixOf(d *schema.Diagnosis, code schema.FindingCode, flag string) *schema.Fix {
	for _, f := range d.Findings {
		if f.Code != code {
			continue
		}
		for i := range f.Fixes {
			if f.Fixes[i].Flag == flag {
				return &f.Fixes[i]
			}
		}
	}
	return nil
}

// The numbers of fixes come from the engine's own figures.
func TestComputedFixes(t *testing.T) {
	thrashing := func(e *schema.GenerationObservability) {
		queue(e)
		e.Engine.Requests.Preemptions = schema.Ptr(int64(100))
	}
	for name, c := range map[string]struct {
		edit func(e *schema.GenerationObservability)
		code schema.FindingCode
		flag string
		want any // nil: no such fix
		why  string
	}{
		// Requests of 500 + 200 tokens, without spread: 44 blocks each, and 3999 can be used.
		"equal lengths": {func(e *schema.GenerationObservability) {
			thrashing(e)
			e.Engine.Tokens.PromptPerRequest, e.Engine.Tokens.GenerationPerRequest = &schema.Distribution{Count: 1000, Mean: schema.F(500)}, &schema.Distribution{Count: 1000, Mean: schema.F(200)}
		}, schema.FindingKVCacheThrashing, "--max-num-seqs", int64(90), "64000 tokens"},
		"two engines": {func(e *schema.GenerationObservability) {
			thrashing(e)
			e.Engine.Tokens.PromptPerRequest, e.Engine.Tokens.GenerationPerRequest = &schema.Distribution{Count: 1000, Mean: schema.F(500)}, &schema.Distribution{Count: 1000, Mean: schema.F(200)}
			e.Engine.Instances = append(e.Engine.Instances, e.Engine.Instances[0])
			e.Engine.Requests.RunningLimit = schema.Ptr(int64(256))
		}, schema.FindingKVCacheThrashing, "--max-num-seqs", int64(90), "64000 tokens"},
		// A real engine with blocks of 128 tokens, of which it has 24. With 6 requests of 4 blocks
		// each, some are preempted.
		"large blocks": {func(e *schema.GenerationObservability) {
			thrashing(e)
			e.Engine.Tokens.PromptPerRequest, e.Engine.Tokens.GenerationPerRequest = &schema.Distribution{Count: 1000, Mean: schema.F(99)}, &schema.Distribution{Count: 1000, Mean: schema.F(346)}
			k := e.Engine.KVCache
			k.NumGPUBlocks, k.BlockSize, k.SizeTokens = schema.Ptr(int64(24)), schema.Ptr(int64(128)), schema.Ptr(int64(3072))
		}, schema.FindingKVCacheThrashing, "--max-num-seqs", int64(5), "3072 tokens"},
		"fits already": {func(e *schema.GenerationObservability) {
			thrashing(e)
			e.Engine.Requests.RunningLimit, e.Engine.Requests.Running.Peak = schema.Ptr(int64(20)), schema.F(20)
		}, schema.FindingKVCacheThrashing, "--max-num-seqs", nil, ""},
		"FP8 already": {func(e *schema.GenerationObservability) {
			thrashing(e)
			e.EngineRuntimeConfig.KVCacheDtype = schema.Ptr("fp8_e4m3")
		}, schema.FindingKVCacheThrashing, "--kv-cache-dtype", nil, ""},
		"busy front-end": {func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.TimeToFirstToken = histogram(2000, [2]float64{5, 1000})
			e.Engine.Endpoints = []schema.Endpoint{{CPUSeconds: schema.F(115)}}
		}, schema.FindingFrontendBound, "--api-server-count", 2, "process of its own"},
		"idle front-end": {func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.TimeToFirstToken = histogram(2000, [2]float64{5, 1000})
			e.Engine.Endpoints = []schema.Endpoint{{CPUSeconds: schema.F(12)}}
		}, schema.FindingFrontendBound, "--api-server-count", nil, ""},
		// 40 requests at a KV peak of 0.5 leave room for 72, and a step of 117 tokens for 87.
		"cap, by the KV cache": {func(e *schema.GenerationObservability) { atCap(e, 40) }, schema.FindingConcurrencyCap, "--max-num-seqs", int64(72), "50 % full"},
		"cap, by the step": {func(e *schema.GenerationObservability) {
			atCap(e, 40)
			e.Engine.KVCache.Usage.Peak = schema.F(0.1)
		}, schema.FindingConcurrencyCap, "--max-num-seqs", int64(87), "117 tokens"},
		"cap, by the load": {func(e *schema.GenerationObservability) {
			atCap(e, 40)
			e.Engine.KVCache.Usage.Peak = schema.F(0.1)
			e.Engine.Requests.Waiting.Peak = schema.F(10)
		}, schema.FindingConcurrencyCap, "--max-num-seqs", int64(50), "10 more requests waited"},
		"cap, no room": {func(e *schema.GenerationObservability) {
			atCap(e, 40)
			e.Engine.KVCache.Usage.Peak = schema.F(0.87)
		}, schema.FindingConcurrencyCap, "--max-num-seqs", nil, ""},
		"small token budget": {func(e *schema.GenerationObservability) {
			queue(e)
			e.Engine.Tokens.PerIterationLimit = schema.Ptr(int64(256))
			e.Engine.Tokens.PerIteration = histogram(1_400_000, [2]float64{128, 100}, [2]float64{256, 6000})
		}, schema.FindingTokenBudgetBound, "--max-num-batched-tokens", int64(2048), ""},
		"large token budget": {func(e *schema.GenerationObservability) {
			queue(e)
			e.Engine.Tokens.PerIterationLimit = schema.Ptr(int64(8192))
			e.Engine.Tokens.PerIteration = histogram(48_000_000, [2]float64{8192, 6000})
		}, schema.FindingTokenBudgetBound, "--max-num-batched-tokens", nil, ""},
		"speculation": {func(e *schema.GenerationObservability) {
			e.Engine.Speculative = &schema.Speculative{Drafts: schema.Ptr(int64(1000)), AcceptedPerPosition: []int64{60, 3, 0}}
		}, schema.FindingSpeculativeWaste, "--speculative-config", nil, "leave it out"},
	} {
		e := busyEvent()
		c.edit(e)
		d := Diagnose(e, Options{})
		fix := fixOf(d, c.code, c.flag)
		if (fix == nil) != (c.want == nil && c.why == "") {
			t.Errorf("%s: %s", name, testkit.JSON(d.Findings))
			continue
		}
		if fix != nil && (fix.Value != c.want || !strings.Contains(fix.Reason, c.why) || fix.Effect == "") {
			t.Errorf("%s: %s, want %v because of %q", name, testkit.JSON(fix), c.want, c.why)
		}
	}
}

// With a spread of lengths fewer requests fit.
func TestSpreadOfLengths(t *testing.T) {
	e := busyEvent()
	f := newFigures(e, Options{})
	n, how := f.fittingRequests()
	mean, deviation := f.requestTokens()
	// n requests have mean*n tokens, and exceed that by two deviations of their sum at most. The
	// last of a request's blocks of 16 is half empty, and one block is never used.
	sum := func(n float64) float64 { return n*(mean.x+7.5) + 2*deviation*math.Sqrt(n) }
	if deviation <= 0 || sum(float64(n)) > 64_000-16 || sum(float64(n+1)) <= 64_000-16 || !strings.Contains(how, "standard deviation") {
		t.Errorf("%d requests of %v ± %v: %s", n, mean.x, deviation, how)
	}
}

func TestStandardDeviation(t *testing.T) {
	// Evenly from 0 to 100: 100/sqrt(12).
	evenly := histogram(50_000, [2]float64{1, 10}, [2]float64{2, 20}, [2]float64{5, 50}, [2]float64{10, 100}, [2]float64{20, 200}, [2]float64{50, 500}, [2]float64{100, 1000})
	if got := standardDeviation(evenly); got < 28.8 || got > 28.9 {
		t.Errorf("%v, want 28.87", got)
	}
	// All in the bucket from 200 to 500, and the event has no other. With these means they lie
	// evenly from 200 to 340, or from 400 to 500.
	for mean, want := range map[float64]float64{270: 140 / math.Sqrt(12), 450: 100 / math.Sqrt(12)} {
		if got := standardDeviation(histogram(1000*mean, [2]float64{500, 1000})); math.Abs(got-want) > 0.01 {
			t.Errorf("with a mean of %v: %v, want %v", mean, got, want)
		}
	}
	if got := standardDeviation(&schema.Distribution{Count: 5, Mean: schema.F(3)}); got != 0 {
		t.Errorf("without buckets %v", got)
	}
}

func TestBoundBelow(t *testing.T) {
	for bound, want := range map[float64]float64{1: 0, 2: 1, 5: 2, 10: 5, 200: 100, 500: 200, 100_000: 50_000, 300: 0} {
		if got := boundBelow(bound); got != want {
			t.Errorf("below %v: %v, want %v", bound, got, want)
		}
	}
}

// The document's preset has its thresholds to the letter.
func TestDocument(t *testing.T) {
	codes := func(edit func(e *schema.GenerationObservability)) string {
		e := busyEvent()
		e.GPUs = []schema.GPU{{UsedByJob: schema.Ptr(true), Utilization: &schema.MeanMax{Mean: 0.9}}}
		e.Engine.PrefixCache.Local.HitRate = schema.F(0.5)
		edit(e)
		d := Diagnose(e, Options{Preset: Document})
		var out []string
		for _, f := range d.Findings {
			out = append(out, string(f.Code))
		}
		if d.BindingResource.Code != schema.BindingUnknown {
			t.Errorf("the document has no verdict: %s", d.BindingResource.Code)
		}
		return strings.Join(out, " ")
	}
	slow := func(e *schema.GenerationObservability, seconds float64) {
		e.Engine.LatencySeconds.TimeToFirstToken = &schema.Distribution{Count: 1000, P95Est: schema.F(seconds)}
	}
	for name, c := range map[string]struct {
		edit func(e *schema.GenerationObservability)
		want string
	}{
		"nothing": {func(*schema.GenerationObservability) {}, ""},
		"thrashing": {func(e *schema.GenerationObservability) {
			slow(e, 3.1)
			e.Engine.KVCache.Usage.Peak, e.Engine.Requests.Preemptions = schema.F(0.96), schema.Ptr(int64(1201))
		}, "kv_cache_thrashing"},
		"10 evictions per second": {func(e *schema.GenerationObservability) {
			slow(e, 3.1)
			e.Engine.KVCache.Usage.Peak, e.Engine.Requests.Preemptions = schema.F(0.96), schema.Ptr(int64(1200))
		}, ""},
		"starvation": {func(e *schema.GenerationObservability) {
			slow(e, 5.1)
			e.Engine.Requests.Waiting.Mean = schema.F(21)
		}, "prefill_starvation"},
		"a queue of 20": {func(e *schema.GenerationObservability) {
			slow(e, 5.1)
			e.Engine.Requests.Waiting.Mean = schema.F(20)
		}, ""},
		"beyond the highest bucket": {func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.TimeToFirstToken = &schema.Distribution{Count: 1000, Above: schema.F(7680)}
			e.Engine.Requests.Waiting.Mean = schema.F(21)
		}, "prefill_starvation"},
		"underutilization": {func(e *schema.GenerationObservability) {
			e.GPUs[0].Utilization.Mean, e.Engine.Requests.Running.Mean = 0.49, schema.F(7.9)
		}, "gpu_underutilization"},
		"misses": {func(e *schema.GenerationObservability) { e.Engine.PrefixCache.Local.HitRate = schema.F(0.09) }, "prefix_cache_misses"},
		"off": {func(e *schema.GenerationObservability) {
			e.EngineRuntimeConfig.EnablePrefixCaching = schema.Ptr(false)
			e.Engine.PrefixCache.Local.HitRate = schema.F(0)
		}, ""},
	} {
		if got := codes(c.edit); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	e := busyEvent()
	slow(e, 4)
	e.Engine.KVCache.Usage.Peak, e.Engine.Requests.Preemptions = schema.F(0.96), schema.Ptr(int64(2000))
	// int(4000 * 0.85 / (700 / 16))
	if fix := fixOf(Diagnose(e, Options{Preset: Document}), schema.FindingKVCacheThrashing, "--max-num-seqs"); fix == nil || fix.Value != int64(77) {
		t.Errorf("the document's max_num_seqs: %s", testkit.JSON(fix))
	}
}

func TestParsePreset(t *testing.T) {
	for name, want := range map[string]Preset{"": Default, "default": Default, "document": Document} {
		if got, err := ParsePreset(name); err != nil || got != want {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	if _, err := ParsePreset("Document"); err == nil || !strings.Contains(err.Error(), "use default or document") {
		t.Errorf("Document: %v", err)
	}
}
