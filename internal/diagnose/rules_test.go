package diagnose

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

const kib, mib = 1 << 10, 1 << 20

// histogram returns a distribution of values with the given buckets: pairs of a bound and the
// number of observations up to it.
func histogram(sum float64, buckets ...[2]float64) *schema.Distribution {
	n := int64(buckets[len(buckets)-1][1])
	d := &schema.Distribution{Count: n, Sum: schema.Float(sum), Mean: schema.F(sum / float64(n))}
	before := 0.0
	for _, b := range buckets {
		d.Buckets = append(d.Buckets, schema.Bucket{schema.Ptr(b[0]), schema.Ptr(b[1])})
		for _, q := range []struct {
			share  float64
			bounds **schema.Bounds
			est    **schema.Float
		}{{0.5, &d.P50Bounds, &d.P50Est}, {0.95, &d.P95Bounds, &d.P95Est}, {0.99, &d.P99Bounds, &d.P99Est}} {
			if *q.bounds == nil && b[1] >= q.share*float64(n) {
				*q.bounds = &schema.Bounds{schema.F(before), schema.F(b[0])}
				*q.est = schema.F((before + b[0]) / 2)
			}
		}
		before = b[0]
	}
	return d
}

// curve returns a curve of a name whose readings are the same within each slot.
func curve(name string, values ...float64) schema.Curve {
	c := schema.Curve{Name: name}
	for _, x := range values {
		c.Max, c.Mean = append(c.Max, schema.Round(x)), append(c.Mean, schema.Round(x))
	}
	return c
}

// repeat returns n times x.
func repeat(n int, x float64) []float64 { return slices.Repeat([]float64{x}, n) }

// busyEvent returns an event of a loaded engine in which nothing binds but the load, over 120 s
// in 120 slots.
func busyEvent() *schema.GenerationObservability {
	e := &schema.GenerationObservability{
		Run:  schema.Run{DurationSeconds: 120},
		Host: &schema.Host{PressureSomeSeconds: &schema.Pressure{CPU: schema.F(1)}},
		Engine: &schema.Engine{
			Window: &schema.Window{DurationSeconds: 120, ActiveSecondsEst: schema.F(120)},
			HTTP:   map[string]int64{"2xx": 1000},
			Requests: &schema.Requests{
				Finished: map[string]int64{"stop": 700, "length": 300}, Preemptions: schema.Ptr(int64(0)), UnaccountedMin: schema.Ptr(int64(0)),
				Running:      &schema.RequestGauge{Gauge: schema.Gauge{Mean: schema.F(40), Peak: schema.F(60)}},
				Waiting:      &schema.RequestGauge{Gauge: schema.Gauge{Mean: schema.F(0), Peak: schema.F(1)}},
				RunningLimit: schema.Ptr(int64(128)),
			},
			Tokens: &schema.Tokens{
				Prompt: schema.Ptr(int64(500_000)), Generation: schema.Ptr(int64(200_000)), PromptBySource: map[string]int64{"local_compute": 500_000},
				PromptPerRequest: histogram(500_000, [2]float64{500, 600}, [2]float64{1000, 1000}), GenerationPerRequest: histogram(200_000, [2]float64{200, 600}, [2]float64{500, 1000}),
				PerIteration: histogram(700_000, [2]float64{64, 3000}, [2]float64{128, 5900}, [2]float64{2048, 6000}), PerIterationLimit: schema.Ptr(int64(8192)),
			},
			LatencySeconds: &schema.Latency{
				TimeToFirstToken: histogram(60, [2]float64{0.06, 500}, [2]float64{0.1, 1000}), RequestQueueTime: histogram(1, [2]float64{0.3, 1000}), RequestPrefillTime: histogram(50, [2]float64{0.3, 1000}),
				E2ERequestLatency: histogram(4800, [2]float64{5, 500}, [2]float64{10, 1000}), InterTokenLatency: histogram(4000, [2]float64{0.02, 150_000}, [2]float64{0.025, 199_000}, [2]float64{0.05, 199_500}),
			},
			KVCache:     &schema.KVCache{Usage: &schema.KVUsage{Gauge: schema.Gauge{Mean: schema.F(0.3), Peak: schema.F(0.5)}}, NumGPUBlocks: schema.Ptr(int64(4000)), BlockSize: schema.Ptr(int64(16)), SizeTokens: schema.Ptr(int64(64_000))},
			PrefixCache: &schema.PrefixCache{Local: &schema.CacheHits{Queries: 500_000, Hits: 0, HitRate: schema.F(0)}},
			Instances:   []schema.Instance{{RequestsFinished: schema.Ptr(int64(1000)), PromptTokens: schema.Ptr(int64(500_000)), GenerationTokens: schema.Ptr(int64(200_000))}},
		},
		Series: &schema.Series{SlotSeconds: 1, Curves: []schema.Curve{
			curve(curveKVUsage, repeat(120, 0.3)...), curve(curveRunning, repeat(120, 40)...), curve(curveWaiting, repeat(120, 0)...),
			curve(curveGenerationRate, repeat(120, 1700)...), curve(curvePromptRate, repeat(120, 4200)...),
		}},
	}
	e.EngineRuntimeConfig.EnablePrefixCaching = schema.Ptr(true)
	return e
}

// set replaces a curve of an event.
func set(e *schema.GenerationObservability, name string, values ...float64) {
	s := e.Series
	s.Curves = append(slices.DeleteFunc(s.Curves, func(c schema.Curve) bool { return c.Name == name }), curve(name, values...))
}

// queue makes requests wait.
func queue(e *schema.GenerationObservability) {
	e.Engine.Requests.Waiting.Mean, e.Engine.Requests.Waiting.Peak = schema.F(50), schema.F(80)
	e.Engine.LatencySeconds.RequestQueueTime = histogram(3000, [2]float64{5, 1000})
	e.Engine.LatencySeconds.TimeToFirstToken = histogram(3060, [2]float64{5, 1000})
	e.Engine.LatencySeconds.E2ERequestLatency = histogram(7800, [2]float64{10, 1000})
	set(e, curveWaiting, repeat(120, 50)...)
}

// atCap runs as many requests as the engine may.
func atCap(e *schema.GenerationObservability, n int64) {
	e.Engine.Requests.RunningLimit = &n
	e.Engine.Requests.Running.Mean, e.Engine.Requests.Running.Peak = schema.F(float64(n)), schema.F(float64(n))
	queue(e)
}

func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		edit    func(e *schema.GenerationObservability)
		options Options
		binding schema.BindingCode
		want    string // codes of findings, with their severity
	}{
		"client":      {func(*schema.GenerationObservability) {}, Options{}, schema.BindingClient, "client_limited info"},
		"client full": {func(e *schema.GenerationObservability) { e.Engine.Requests.Running.Peak = schema.F(128) }, Options{}, schema.BindingClient, "client_limited info"},
		"cap":         {func(e *schema.GenerationObservability) { atCap(e, 40) }, Options{}, schema.BindingConcurrencyCap, "concurrency_cap warning"},
		"cap or compute": {func(e *schema.GenerationObservability) {
			atCap(e, 40)
			e.Engine.Tokens.PerIteration = histogram(3_000_000, [2]float64{512, 6000})
		}, Options{}, schema.BindingCapOrCompute, "concurrency_cap info"},
		"compute": {func(e *schema.GenerationObservability) {
			atCap(e, 40)
			set(e, curveRunning, append(repeat(60, 20), repeat(60, 40)...)...)
			set(e, curveWaiting, append(repeat(60, 0), repeat(60, 100)...)...)
			set(e, curveGenerationRate, append(repeat(60, 1690), repeat(60, 1700)...)...)
		}, Options{}, schema.BindingCompute, ""},
		"cap, by the series": {func(e *schema.GenerationObservability) {
			atCap(e, 40)
			set(e, curveRunning, append(repeat(60, 20), repeat(60, 40)...)...)
			set(e, curveWaiting, append(repeat(60, 0), repeat(60, 100)...)...)
			set(e, curveGenerationRate, append(repeat(60, 900), repeat(60, 1700)...)...)
			set(e, curvePromptRate, append(repeat(60, 2200), repeat(60, 4200)...)...)
		}, Options{}, schema.BindingConcurrencyCap, "concurrency_cap warning"},
		// Polls between the end of one request and the admission of another see one fewer: with
		// a cap of 2 that looks like half the load, at the same throughput.
		"cap of two": {func(e *schema.GenerationObservability) {
			atCap(e, 2)
			set(e, curveRunning, append(repeat(30, 1), repeat(90, 2)...)...)
		}, Options{}, schema.BindingConcurrencyCap, "concurrency_cap warning"},
		"KV cache": {func(e *schema.GenerationObservability) {
			queue(e)
			e.Engine.Requests.Preemptions, e.Engine.KVCache.Usage.Peak = schema.Ptr(int64(60)), schema.F(0.99)
		}, Options{}, schema.BindingKVCache, "kv_cache_thrashing warning"},
		"few preemptions": {func(e *schema.GenerationObservability) { e.Engine.Requests.Preemptions = schema.Ptr(int64(40)) }, Options{}, schema.BindingClient, "client_limited info"},
		"full KV cache": {func(e *schema.GenerationObservability) {
			queue(e)
			e.Engine.KVCache.Usage.Peak = schema.F(0.99)
		}, Options{}, schema.BindingKVCache, ""},
		"token budget": {func(e *schema.GenerationObservability) {
			queue(e)
			e.Engine.Tokens.PerIterationLimit = schema.Ptr(int64(256))
			e.Engine.Tokens.PerIteration = histogram(1_400_000, [2]float64{128, 100}, [2]float64{256, 6000})
		}, Options{}, schema.BindingTokenBudget, "token_budget_bound warning"},
		"unknown": {func(e *schema.GenerationObservability) { queue(e) }, Options{}, schema.BindingUnknown, ""},
		"interference": {func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.InterTokenLatency = histogram(4000, [2]float64{0.02, 150_000}, [2]float64{0.1, 195_000}, [2]float64{0.5, 200_000})
			e.Engine.Tokens.PromptPerRequest = histogram(5_000_000, [2]float64{5000, 1000})
			e.Engine.Tokens.PerIteration = histogram(700_000, [2]float64{64, 5000}, [2]float64{128, 5800}, [2]float64{8192, 6000})
		}, Options{}, schema.BindingClient, "prefill_decode_interference warning, client_limited info"},
		"stalled": {func(e *schema.GenerationObservability) {
			queue(e)
			flat := func(x float64) []float64 { return slices.Concat(repeat(40, x), repeat(40, 0), repeat(40, x)) }
			set(e, curveGenerationRate, flat(1700)...)
			set(e, curvePromptRate, flat(4200)...)
		}, Options{}, schema.BindingStalled, "admission_stalled critical"},
		"queue grows": {func(e *schema.GenerationObservability) {
			queue(e)
			var ramp []float64
			for i := range 120 {
				ramp = append(ramp, float64(i)+[]float64{0, 2, 1, 3}[i%4])
			}
			set(e, curveWaiting, ramp...)
		}, Options{}, schema.BindingUnknown, "queue_saturation warning"},
		"refused": {func(e *schema.GenerationObservability) {
			e.Engine.Requests.Rejected = map[string]int64{"max_num_queued_reqs": 3}
		}, Options{}, schema.BindingClient, "queue_saturation warning, client_limited info"},
		"front-end": {func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.TimeToFirstToken = histogram(2000, [2]float64{5, 1000})
		}, Options{}, schema.BindingFrontend, "frontend_bound warning"},
		"in flight at the end": {func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.TimeToFirstToken = histogram(2000, [2]float64{5, 1100})
		}, Options{}, schema.BindingClient, "client_limited info"},
		"busy front-end": {func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.TimeToFirstToken = histogram(2000, [2]float64{5, 1000})
			e.Engine.Endpoints = []schema.Endpoint{{CPUSeconds: schema.F(10)}, {CPUSeconds: schema.F(115)}}
		}, Options{}, schema.BindingFrontend, "frontend_bound warning"},
		"idle front-end": {func(e *schema.GenerationObservability) {
			e.Engine.LatencySeconds.TimeToFirstToken = histogram(2000, [2]float64{5, 1000})
			e.Engine.Endpoints = []schema.Endpoint{{CPUSeconds: schema.F(12)}}
		}, Options{}, schema.BindingFrontend, "frontend_bound warning"},
		"prefix": {func(e *schema.GenerationObservability) {}, Options{SharedPrefix: schema.Ptr(0.6)}, schema.BindingClient, "prefix_cache_ineffective warning, client_limited info"},
		"prefix of the load": {func(e *schema.GenerationObservability) {
			e.Client = &schema.Client{Tool: "vobs load", Settings: map[string]any{"shared-prefix": 0.6}}
		}, Options{}, schema.BindingClient, "prefix_cache_ineffective warning, client_limited info"},
		"prefix off": {func(e *schema.GenerationObservability) {
			e.EngineRuntimeConfig.EnablePrefixCaching, e.Engine.PrefixCache.Local = schema.Ptr(false), nil
		}, Options{SharedPrefix: schema.Ptr(0.6)}, schema.BindingClient, "prefix_cache_ineffective warning, client_limited info"},
		"prefix found":   {func(e *schema.GenerationObservability) { e.Engine.PrefixCache.Local.HitRate = schema.F(0.5) }, Options{SharedPrefix: schema.Ptr(0.6)}, schema.BindingClient, "client_limited info"},
		"nothing shared": {func(e *schema.GenerationObservability) {}, Options{SharedPrefix: schema.Ptr(0.0)}, schema.BindingClient, "client_limited info"},
		"KV not released": {func(e *schema.GenerationObservability) {
			set(e, curveRunning, append(repeat(40, 40), repeat(80, 0)...)...)
			set(e, curveKVUsage, append(repeat(40, 0.3), repeat(80, 0.1)...)...)
		}, Options{}, schema.BindingClient, "kv_not_released warning, client_limited info"},
		"KV released": {func(e *schema.GenerationObservability) {
			set(e, curveRunning, append(repeat(40, 40), repeat(80, 0)...)...)
			set(e, curveKVUsage, append(repeat(40, 0.3), repeat(80, 0.00025)...)...)
		}, Options{}, schema.BindingClient, "client_limited info"},
		"leak": {func(e *schema.GenerationObservability) {
			e.Engine.Window.DurationSeconds = 1200
			var rss []float64
			for i := range 120 {
				rss = append(rss, float64(4<<30+i*8*mib+[]int{0, 300, 100}[i%3]*kib))
			}
			set(e, curveEngineRSS, rss...)
			e.Series.SlotSeconds = 10
		}, Options{}, schema.BindingClient, "host_memory_leak warning, client_limited info"},
		"leak, by the page": {func(e *schema.GenerationObservability) {
			e.Engine.Window.DurationSeconds = 1200
			var rss []float64
			for i := range 120 {
				rss = append(rss, float64(1<<30+i*i*mib))
			}
			set(e, curveEngineRSS, repeat(120, 1<<30)...)
			set(e, curveProcessRSS, rss...)
			e.Series.SlotSeconds = 10
		}, Options{}, schema.BindingClient, "host_memory_leak warning, client_limited info"},
		"no leak": {func(e *schema.GenerationObservability) {
			e.Engine.Window.DurationSeconds = 1200
			set(e, curveEngineRSS, append(repeat(10, 1<<30), repeat(110, 4<<30)...)...)
			e.Series.SlotSeconds = 10
		}, Options{}, schema.BindingClient, "client_limited info"},
		"KV transfers": {func(e *schema.GenerationObservability) {
			e.Engine.KVConnectors = []schema.KVConnector{{Name: "nixl", Failures: schema.Ptr(int64(3))}}
		}, Options{}, schema.BindingClient, "kv_transfer_failures warning, client_limited info"},
		"many failed KV transfers": {func(e *schema.GenerationObservability) {
			e.Engine.KVConnectors = []schema.KVConnector{{Name: "nixl", Failures: schema.Ptr(int64(300))}}
		}, Options{}, schema.BindingClient, "kv_transfer_failures critical, client_limited info"},
		"offload": {func(e *schema.GenerationObservability) {
			queue(e)
			e.Engine.KVOffload = &schema.KVOffload{}
			e.Engine.Requests.WaitingByReason = map[string]schema.Gauge{"capacity": {Mean: schema.F(10)}, "deferred": {Mean: schema.F(40)}}
		}, Options{}, schema.BindingOffload, "offload_bound warning"},
		"KV transfer": {func(e *schema.GenerationObservability) {
			queue(e)
			e.Engine.KVConnectors = []schema.KVConnector{{Name: "nixl"}}
			e.Engine.Requests.WaitingByReason = map[string]schema.Gauge{"capacity": {Mean: schema.F(10)}, "deferred": {Mean: schema.F(40)}}
		}, Options{}, schema.BindingKVTransfer, ""},
		"LoRA": {func(e *schema.GenerationObservability) {
			queue(e)
			e.Engine.Requests.WaitingByReason = map[string]schema.Gauge{"capacity": {Mean: schema.F(10)}, "deferred": {Mean: schema.F(40)}}
		}, Options{}, schema.BindingUnknown, ""},
		"speculation": {func(e *schema.GenerationObservability) {
			e.Engine.Speculative = &schema.Speculative{Drafts: schema.Ptr(int64(1000)), AcceptedPerPosition: []int64{600, 300, 40, 10}}
		}, Options{}, schema.BindingClient, "speculative_waste info, client_limited info"},
		"useless speculation": {func(e *schema.GenerationObservability) {
			e.Engine.Speculative = &schema.Speculative{Drafts: schema.Ptr(int64(1000)), AcceptedPerPosition: []int64{60, 3, 0}}
		}, Options{}, schema.BindingClient, "speculative_waste warning, client_limited info"},
		"good speculation": {func(e *schema.GenerationObservability) {
			e.Engine.Speculative = &schema.Speculative{Drafts: schema.Ptr(int64(1000)), AcceptedPerPosition: []int64{800, 600, 400}}
		}, Options{}, schema.BindingClient, "client_limited info"},
		"imbalance": {func(e *schema.GenerationObservability) {
			e.Engine.Instances = append(e.Engine.Instances, schema.Instance{RequestsFinished: schema.Ptr(int64(100)), PromptTokens: schema.Ptr(int64(50_000)), GenerationTokens: schema.Ptr(int64(20_000))})
		}, Options{}, schema.BindingClient, "replica_imbalance warning, client_limited info"},
		"errors":      {func(e *schema.GenerationObservability) { e.Engine.Requests.Finished["error"] = 2 }, Options{}, schema.BindingClient, "engine_errors warning, client_limited info"},
		"many errors": {func(e *schema.GenerationObservability) { e.Engine.HTTP["5xx"] = 50 }, Options{}, schema.BindingClient, "engine_errors critical, client_limited info"},
		"died":        {func(e *schema.GenerationObservability) { e.Validity = []schema.Validity{{Code: schema.CodeEngineDied}} }, Options{}, schema.BindingClient, "engine_errors critical, client_limited info"},
		"restart":     {func(e *schema.GenerationObservability) { e.Engine.Window.Resets = 1 }, Options{}, schema.BindingClient, "engine_restarts critical, client_limited info"},
		"aborts":      {func(e *schema.GenerationObservability) { e.Engine.Requests.UnaccountedMin = schema.Ptr(int64(30)) }, Options{}, schema.BindingClient, "aborted_requests info, client_limited info"},
		"many aborts": {func(e *schema.GenerationObservability) { e.Engine.Requests.Finished["abort"] = 300 }, Options{}, schema.BindingClient, "aborted_requests warning, client_limited info"},
		"CPU":         {func(e *schema.GenerationObservability) { e.Host.PressureSomeSeconds.CPU = schema.F(60) }, Options{}, schema.BindingClient, "client_limited info, cpu_bound_host warning"},
		"throttled": {func(e *schema.GenerationObservability) {
			e.GPUs = []schema.GPU{{}}
			e.Validity = []schema.Validity{{Code: schema.CodeThrottled, Severity: schema.Warning, Message: "hot"}}
		}, Options{}, schema.BindingClient, "client_limited info, throttled_gpu warning"},
		"power cap": {func(e *schema.GenerationObservability) {
			e.GPUs = []schema.GPU{{}}
			e.Validity = []schema.Validity{{Code: schema.CodeThrottled, Severity: schema.Info}}
		}, Options{}, schema.BindingClient, "client_limited info"},
		"underfed": {func(e *schema.GenerationObservability) {
			atCap(e, 40)
			low := &schema.MeanMax{Mean: 0.1, Max: 0.2}
			e.GPUs = []schema.GPU{{UsedByJob: schema.Ptr(true), SMActive: low, DRAMActive: low, TensorActive: low}}
		}, Options{}, schema.BindingConcurrencyCap, "concurrency_cap warning, gpu_underfed warning"},
	} {
		e := busyEvent()
		c.edit(e)
		d := Diagnose(e, c.options)
		if d.BindingResource.Code != c.binding {
			t.Errorf("%s: %s, want %s: %s", name, d.BindingResource.Code, c.binding, testkit.JSON(d.BindingResource))
		}
		var got []string
		for _, f := range d.Findings {
			got = append(got, string(f.Code)+" "+string(f.Severity))
			for _, v := range f.Evidence {
				if len(holding([]schema.DiagnosisEvidence{v})) == 0 {
					t.Errorf("%s: false evidence: %s", name, testkit.JSON(v))
				}
			}
			if f.Message == "" || len(f.Evidence) == 0 || f.Confidence <= 0 || f.Confidence > 1 {
				t.Errorf("%s: an incomplete finding: %s", name, testkit.JSON(f))
			}
		}
		want := strings.Split(c.want, ", ")
		if c.want == "" {
			want = nil
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if c.binding != schema.BindingUnknown && len(d.BindingResource.Evidence) == 0 || c.binding == schema.BindingUnknown && len(d.BindingResource.WouldSettle) == 0 {
			t.Errorf("%s: the verdict rests on nothing: %s", name, testkit.JSON(d.BindingResource))
		}
	}
}

// A rule that lacks its inputs is listed as not evaluated, never as healthy: an engine group
// without figures has no findings, and every rule but those that do not apply is listed.
func TestNotEvaluated(t *testing.T) {
	d := Diagnose(&schema.GenerationObservability{Engine: &schema.Engine{}}, Options{})
	if len(d.Findings) > 0 || d.BindingResource.Code != schema.BindingUnknown {
		t.Errorf("findings without figures: %s", testkit.JSON(d))
	}
	notEvaluated := map[schema.FindingCode]string{}
	for _, n := range d.NotEvaluated {
		notEvaluated[n.Code] = n.Reason
	}
	// Nothing was configured that these are about.
	notConfigured := []schema.FindingCode{schema.FindingOffloadBound, schema.FindingKVTransferFailures, schema.FindingSpeculativeWaste, schema.FindingReplicaImbalance}
	for _, r := range defaultRules() {
		if _, ok := notEvaluated[r.code]; ok == slices.Contains(notConfigured, r.code) {
			t.Errorf("%s: not evaluated is %v", r.code, ok)
		}
	}
	for code, reason := range notEvaluated {
		if reason == "" {
			t.Errorf("%s has no reason", code)
		}
	}
	if Diagnose(&schema.GenerationObservability{}, Options{}) != nil {
		t.Error("a diagnosis without an engine")
	}
}

// A limit that the figures exceed, or that is impossible, is not the engine's.
func TestContradictedLimits(t *testing.T) {
	for name, c := range map[string]struct {
		edit    func(e *schema.GenerationObservability)
		options Options
		code    schema.FindingCode
		want    string
	}{
		"max_num_seqs":           {func(e *schema.GenerationObservability) { e.Engine.Requests.RunningLimit = nil }, Options{MaxNumSeqs: 8}, schema.FindingConcurrencyCap, "cannot be 8"},
		"max_num_batched_tokens": {func(e *schema.GenerationObservability) { e.Engine.Tokens.PerIterationLimit = nil }, Options{MaxNumBatchedTokens: 50}, schema.FindingTokenBudgetBound, "cannot be 50"},
		"0":                      {func(e *schema.GenerationObservability) { e.Engine.Tokens.PerIterationLimit = schema.Ptr(int64(0)) }, Options{}, schema.FindingTokenBudgetBound, "impossible"},
		"negative":               {func(e *schema.GenerationObservability) { e.Engine.Requests.RunningLimit = schema.Ptr(int64(-8)) }, Options{}, schema.FindingConcurrencyCap, "impossible"},
	} {
		e := busyEvent()
		queue(e)
		c.edit(e)
		d := Diagnose(e, c.options)
		i := slices.IndexFunc(d.NotEvaluated, func(n schema.NotEvaluated) bool { return n.Code == c.code })
		if i < 0 || !strings.Contains(d.NotEvaluated[i].Reason, c.want) {
			t.Errorf("%s: %s", name, testkit.JSON(d.NotEvaluated))
		}
	}
	e := busyEvent()
	e.Engine.Requests.RunningLimit = nil
	queue(e)
	if d := Diagnose(e, Options{MaxNumSeqs: 60}); d.BindingResource.Code != schema.BindingConcurrencyCap {
		t.Errorf("a limit that fits: %s", testkit.JSON(d.BindingResource))
	}
}

// The diagnosis in the example event is the one of its figures.
func TestExample(t *testing.T) {
	text, err := os.ReadFile("../../testdata/events/example.json")
	if err != nil {
		t.Fatal(err)
	}
	var e schema.GenerationObservability
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	var again schema.Diagnosis // whole numbers of any type lose their fraction
	if err := json.Unmarshal([]byte(testkit.JSON(Diagnose(&e, Options{}))), &again); err != nil {
		t.Fatal(err)
	}
	if got, want := testkit.JSON(again), testkit.JSON(e.Diagnosis); got != want {
		t.Errorf("the example has %s, want %s", want, got)
	}
}
