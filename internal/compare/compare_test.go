package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/schema"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// event returns the event of a run that was the nth of a sequence.
func event(n int, tokensPerSecond, ttft, peak float64) *schema.GenerationObservability {
	e := &schema.GenerationObservability{
		Core: schema.Core{PeakVRAMGB: schema.F(peak)},
		Run: schema.Run{
			ID: fmt.Sprint(n), Command: []string{"bench"}, Labels: map[string]string{}, Hostname: "h",
			StartedAt: noon.Add(time.Duration(n) * time.Minute).Format(time.RFC3339Nano), DurationSeconds: 10,
		},
		GPUs: []schema.GPU{{Name: "NVIDIA H100", DriverVersion: schema.Ptr("550"), UsedByJob: schema.Ptr(true)}},
		Engine: &schema.Engine{
			Models: []string{"m"}, Endpoints: []schema.Endpoint{{URL: "http://a", Version: schema.Ptr("0.32.0")}},
			Throughput: &schema.Throughput{GenerationTokensPerSecond: schema.F(tokensPerSecond)},
			Tokens:     &schema.Tokens{PromptPerRequest: &schema.Distribution{Mean: schema.F(320)}, GenerationPerRequest: &schema.Distribution{Mean: schema.F(96)}},
			LatencySeconds: &schema.Latency{TimeToFirstToken: &schema.Distribution{
				Count: 100, Mean: schema.F(ttft), Buckets: buckets(0.1, 20, 0.25, 50, 0.5, 80, 1, 100),
			}},
			Config: &schema.EngineConfig{Values: map[string]any{"max_num_seqs": int64(64), "num_gpu_blocks": int64(1000 + n)}},
		},
	}
	return e
}

func buckets(pairs ...float64) (out []schema.Bucket) {
	for p := range slices.Chunk(pairs, 2) {
		out = append(out, schema.Bucket{&p[0], &p[1]})
	}
	return out
}

// sides returns n events a side in ABBA order, with noise of a coefficient of variation. The
// throughput of the new side is factor times that of the base.
func sides(seed uint64, n int, cv, factor float64) (base, new []*schema.GenerationObservability) {
	random := rand.New(rand.NewPCG(seed, 0))
	noise := func() float64 { return math.Exp(cv * random.NormFloat64()) }
	for i := range 2 * n {
		if isNew := i%4 == 1 || i%4 == 2; isNew {
			new = append(new, event(i, 1000*factor*noise(), 0.03/factor*noise(), 10))
		} else {
			base = append(base, event(i, 1000*noise(), 0.03*noise(), 10))
		}
	}
	return base, new
}

func runsOf(metrics []Metric, events []*schema.GenerationObservability) []*Run {
	r := Reader{Metrics: metrics}
	var out []*Run
	for i, e := range events {
		out = append(out, r.Run(e, fmt.Sprint("e", i)))
	}
	return out
}

func compareEvents(t *testing.T, base, new []*schema.GenerationObservability, names ...string) *Result {
	t.Helper()
	metrics, err := Select(names)
	if err != nil {
		t.Fatal(err)
	}
	return Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics})
}

func (r *Result) metric(t *testing.T, name string) Comparison {
	t.Helper()
	i := slices.IndexFunc(r.Metrics, func(c Comparison) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no metric %s", name)
	}
	return r.Metrics[i]
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name   string
		n      int
		cv     float64
		factor float64
		want   Verdict
	}{
		{"slower", 10, 0.01, 0.9, Regression},
		{"faster", 10, 0.01, 1.1, Improvement},
		{"the same, little noise", 10, 0.003, 1, Equivalent},
		{"the same, much noise", 4, 0.2, 1, Inconclusive},
		{"slower, but too few runs", 3, 0.001, 0.8, Inconclusive},
		{"slower within the tolerance", 12, 0.002, 0.985, Equivalent},
	} {
		base, new := sides(7, c.n, c.cv, c.factor)
		r := compareEvents(t, base, new)
		if r.Verdict != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, r.Verdict, r.Reasons, c.want)
		}
		if !r.Order.Interleaved {
			t.Errorf("%s: not interleaved: %+v", c.name, r.Order)
		}
	}
}

// Swapping the sides mirrors the verdicts, and the order of the files does not matter.
func TestMirrored(t *testing.T) {
	mirror := map[Verdict]Verdict{Regression: Improvement, Improvement: Regression}
	for seed := range uint64(40) {
		factor := []float64{0.9, 0.97, 1, 1.03, 1.1}[seed%5]
		base, new := sides(seed, 8, 0.02, factor)
		r := compareEvents(t, base, new)
		mirrored := compareEvents(t, new, base)
		random := rand.New(rand.NewPCG(seed, 1))
		random.Shuffle(len(base), func(i, j int) { base[i], base[j] = base[j], base[i] })
		random.Shuffle(len(new), func(i, j int) { new[i], new[j] = new[j], new[i] })
		shuffled := compareEvents(t, base, new)
		for i, c := range r.Metrics {
			want := c.Verdict
			if m, ok := mirror[want]; ok {
				want = m
			}
			// The tolerance is a share of the base's median, which differs by side.
			if got := mirrored.Metrics[i]; got.Verdict != want && got.Verdict != Inconclusive && want != Inconclusive {
				t.Errorf("seed %d: %s is %s, and %s mirrored", seed, c.Name, c.Verdict, got.Verdict)
			}
			if c.P != nil && *c.P != *mirrored.Metrics[i].P {
				t.Errorf("seed %d: p of %s is %v, and %v mirrored", seed, c.Name, *c.P, *mirrored.Metrics[i].P)
			}
			if got := shuffled.Metrics[i]; got.Verdict != c.Verdict || fmt.Sprint(got.Base.N, text2(got.Change), text2(got.P)) != fmt.Sprint(c.Base.N, text2(c.Change), text2(c.P)) {
				t.Errorf("seed %d: %s depends on the order of the files: %+v, %+v", seed, c.Name, c, got)
			}
		}
	}
}

func text2(x *float64) string {
	if x == nil {
		return "nil"
	}
	return fmt.Sprintf("%.12g", *x)
}

// Runs in two blocks share whatever drifted between them.
func TestBlocks(t *testing.T) {
	var base, new []*schema.GenerationObservability
	for i := range 10 {
		base = append(base, event(i, 1000+float64(i), 0.03, 10))
		new = append(new, event(100+i, 700+float64(i), 0.03, 10))
	}
	r := compareEvents(t, base, new)
	if r.Verdict != Inconclusive || !strings.Contains(strings.Join(r.Reasons, " "), "vobs ab") {
		t.Errorf("%s %s", r.Verdict, r.Reasons)
	}
	if c := r.metric(t, "generation_tokens_per_second"); c.Verdict != Inconclusive || *c.Change > -0.2 {
		t.Errorf("%+v", c)
	}
}

// One run on each side decides what hardly varies.
func TestOneRunEach(t *testing.T) {
	for peak, want := range map[float64]Verdict{12: Regression, 10.05: Inconclusive, 8: Inconclusive} {
		r := compareEvents(t, []*schema.GenerationObservability{event(0, 1000, 0.03, 10)}, []*schema.GenerationObservability{event(1, 500, 0.03, peak)})
		if r.Verdict != want {
			t.Errorf("a peak of %v GiB for 10: %s %s, want %s", peak, r.Verdict, r.Reasons, want)
		}
	}
	r := compareEvents(t, []*schema.GenerationObservability{event(0, 1000, 0.03, 10)}, []*schema.GenerationObservability{event(1, 500, 0.03, 8)}, "peak_vram")
	if r.Verdict != Improvement {
		t.Errorf("the peak alone: %s %s", r.Verdict, r.Reasons)
	}
}

func TestPairs(t *testing.T) {
	// Each pair has its own level, as a machine that drifts has.
	var base, new []*schema.GenerationObservability
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 10 {
		level := math.Exp(0.2 * random.NormFloat64())
		a, b := event(4*i, 1000*level, 0.03, 10), event(4*i+1, 940*level*math.Exp(0.005*random.NormFloat64()), 0.03, 10)
		if i%2 == 1 { // ABBA
			a.Run.StartedAt, b.Run.StartedAt = b.Run.StartedAt, a.Run.StartedAt
		}
		for _, e := range []*schema.GenerationObservability{a, b} {
			e.Run.Labels[LabelPair] = fmt.Sprint(i)
		}
		base, new = append(base, a), append(new, b)
	}
	r := compareEvents(t, base, new, "generation_tokens_per_second")
	if !r.Paired || r.Verdict != Regression {
		t.Errorf("paired: %v, %s %s", r.Paired, r.Verdict, r.Reasons)
	}
	new[3].Run.Labels[LabelPair] = "99"
	if r := compareEvents(t, base, new, "generation_tokens_per_second"); r.Paired || r.Verdict != Inconclusive {
		t.Errorf("a pair is incomplete: paired: %v, %s %s", r.Paired, r.Verdict, r.Reasons)
	}
}

func TestComparability(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*schema.GenerationObservability)
		field    string
		severity Severity // "" for no difference
	}{
		{"nothing", func(*schema.GenerationObservability) {}, "", ""},
		{"another GPU", func(e *schema.GenerationObservability) { e.GPUs[0].Name = "NVIDIA A10G" }, "gpus", Matters},
		{"more GPUs", func(e *schema.GenerationObservability) { e.GPUs = append(e.GPUs, e.GPUs[0]) }, "gpus", Matters},
		{"a GPU that the command did not use", func(e *schema.GenerationObservability) {
			e.GPUs = append(e.GPUs, schema.GPU{Name: "NVIDIA T4", UsedByJob: schema.Ptr(false)})
		}, "", ""},
		{"the driver", func(e *schema.GenerationObservability) { e.GPUs[0].DriverVersion = schema.Ptr("560") }, "gpus.driver_version", Matters},
		{"vLLM's version", func(e *schema.GenerationObservability) { e.Engine.Endpoints[0].Version = schema.Ptr("0.33.0") }, "engine.version", Matters},
		{"the version unknown", func(e *schema.GenerationObservability) { e.Engine.Endpoints[0].Version = nil }, "engine.version", Noted},
		{"the model", func(e *schema.GenerationObservability) { e.Engine.Models = []string{"n"} }, "engine.models", Matters},
		{"the host", func(e *schema.GenerationObservability) { e.Run.Hostname = "other" }, "host.hostname", Noted},
		{"a setting", func(e *schema.GenerationObservability) { e.Engine.Config.Values["max_num_seqs"] = int64(2) }, "engine.config.values.max_num_seqs", Matters},
		{"a setting in the command line", func(e *schema.GenerationObservability) {
			e.Engine.Config.Values["max_num_seqs"] = int64(2)
			e.FlagsChecked = []string{"max_num_seqs"}
		}, "engine.config.values.max_num_seqs", Treatment},
		{"longer prompts", func(e *schema.GenerationObservability) { e.Engine.Tokens.PromptPerRequest.Mean = schema.F(400) }, "engine.tokens.prompt_per_request.mean", Matters},
		{"a warm cache", func(e *schema.GenerationObservability) {
			e.Validity = []schema.Validity{{Code: schema.CodeWarmPrefixCache}}
		}, "validity.warm_prefix_cache", Matters},
		{"a busy host", func(e *schema.GenerationObservability) { e.Validity = []schema.Validity{{Code: schema.CodeBusyHost}} }, "validity.busy_host", Noted},
		{"profiled", func(e *schema.GenerationObservability) { e.Validity = []schema.Validity{{Code: schema.CodeProfiled}} }, "validity.profiled", Matters},
		{"a partial event", func(e *schema.GenerationObservability) { e.Partial = true }, "validity.partial", Matters},
		{"the command", func(e *schema.GenerationObservability) { e.Run.Command = []string{"other"} }, "run.command", Treatment},
	} {
		base, new := sides(7, 10, 0.003, 1)
		for _, e := range new {
			c.change(e)
		}
		r := compareEvents(t, base, new)
		i := slices.IndexFunc(r.Comparability, func(d Difference) bool { return d.Field == c.field })
		switch {
		case c.severity == "":
			if slices.ContainsFunc(r.Comparability, func(d Difference) bool { return d.Field != "engine.config.values.num_gpu_blocks" }) {
				t.Errorf("%s: %+v", c.name, r.Comparability)
			}
		case i < 0 || r.Comparability[i].Severity != c.severity:
			t.Errorf("%s: %+v, want %s of %s", c.name, r.Comparability, c.severity, c.field)
		case (r.Verdict == Incomparable) != (c.severity == Matters):
			t.Errorf("%s: %s", c.name, r.Verdict)
		}
		if c.severity != Matters {
			continue
		}
		metrics := Defaults()
		r = Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, Ignore: []string{c.field}})
		if r.Verdict == Incomparable {
			t.Errorf("%s is not ignored: %s", c.name, r.Reasons)
		}
	}
}

// In vobs ab, the settings of different servers are what is compared.
func TestServersAsTreatment(t *testing.T) {
	base, new := sides(7, 10, 0.003, 1)
	for _, e := range new {
		e.Engine.Endpoints[0].URL = "http://b"
		e.Engine.Config.Values["max_num_seqs"] = int64(2)
	}
	metrics := Defaults()
	for treatment, want := range map[bool]Verdict{true: Equivalent, false: Incomparable} {
		r := Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, Treatment: treatment})
		if r.Verdict != want {
			t.Errorf("treatment %v: %s %s", treatment, r.Verdict, r.Reasons)
		}
	}
}

func TestShares(t *testing.T) {
	for limit, want := range map[string]float64{"ttft<=100ms": 0.2, "ttft<=500ms": 0.8, "ttft<=1s": 1, "ttft<=2s": 1} {
		m, err := parseMetric(limit)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := m.shareOf(event(0, 1, 1, 1)); !ok || s.low != want || s.high != want {
			t.Errorf("%s: %+v, want %v", limit, s, want)
		}
	}
	base, new := sides(7, 10, 0.01, 1)
	for _, e := range new {
		e.Engine.LatencySeconds.TimeToFirstToken.Buckets = buckets(0.1, 20, 0.5, 80, 1, 100) // none from 0.1 to 0.25
	}
	r := compareEvents(t, base, new, "ttft<=250ms")
	if c := r.metric(t, "ttft<=250ms"); *c.Base.Median != 0.5 || *c.New.Median != 0.2 || r.Verdict != Regression {
		t.Errorf("%s %+v", r.Verdict, c)
	}
	r = compareEvents(t, base, new, "ttft<=300ms")
	if c := r.metric(t, "ttft<=300ms"); c.Verdict != Missing || r.Verdict != Inconclusive || !strings.Contains(c.Reason, "within a bucket") {
		t.Errorf("%s %+v", r.Verdict, c)
	}
}

func TestSelect(t *testing.T) {
	metrics, err := Select([]string{"peak_vram", "engine.requests.preemptions", "ttft<=500ms", "gpus.0.energy_joules"})
	if err != nil {
		t.Fatal(err)
	}
	var gated []string
	for _, m := range metrics {
		if m.Gated {
			gated = append(gated, m.Name)
		}
	}
	if want := []string{"peak_vram", "preemptions", "ttft<=500ms", "gpus.0.energy_joules"}; !slices.Equal(gated, want) {
		t.Errorf("gated: %q, want %q", gated, want)
	}
	for name, want := range map[string]string{
		"speed":                      "no figure is called speed",
		"ttft<=fast":                 "not a time",
		"ttft<=-1s":                  "not a time",
		"speed<=1s":                  "not a latency",
		"run.exit_code":              "does not measure",
		"engine.kv_cache.block_size": "does not measure",
		"engine.latency_seconds.time_to_first_token.p95_est": "interpolated within a bucket",
		"gpus.*.peak_bytes": "several values",
		"gpu_memory":        "as gpus.0.peak_bytes",
		"ttft":              "compare its mean, ttft.mean",
	} {
		if _, err := Select([]string{name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := Select([]string{"peak_vram", "peak_vram_gb"}); err == nil {
		t.Error("a metric may be named twice")
	}
}

// Rates of runs whose active time is not resolved are over the window; then all are.
func TestRatesOverWindow(t *testing.T) {
	base, new := sides(7, 10, 0.003, 1)
	for i, e := range slices.Concat(base, new) {
		e.Engine.Throughput.Over = schema.Ptr("active")
		e.Engine.Tokens.Generation = schema.Ptr[int64](5000)
		e.Engine.Window = &schema.Window{DurationSeconds: schema.Float(10 + float64(i)/1000)}
	}
	if c := compareEvents(t, base, new).metric(t, "generation_tokens_per_second"); *c.Base.Median < 900 {
		t.Errorf("%+v", c)
	}
	new[2].Engine.Throughput.Over = schema.Ptr("window")
	r := compareEvents(t, base, new)
	if c := r.metric(t, "generation_tokens_per_second"); *c.Base.Median > 501 || *c.New.Median > 501 {
		t.Errorf("%+v", c)
	}
	if !slices.ContainsFunc(r.Comparability, func(d Difference) bool { return d.Field == "engine.throughput.over" && d.New == "active | window" }) {
		t.Errorf("%+v", r.Comparability)
	}
}

// Every metric with a short name has a direction but the KV cache's peak, and a unit.
func TestDefaults(t *testing.T) {
	for _, m := range Defaults() {
		if m.Unit == "" || m.Better == "" {
			t.Errorf("%+v", m)
		}
	}
}

// A metric that some runs lack is compared by the others; one that a side lacks is missing.
func TestMissing(t *testing.T) {
	base, new := sides(7, 10, 0.003, 1)
	for _, e := range new {
		e.PeakVRAMGB = nil
		e.Unavailable = []schema.Unavailable{{Field: "peak_vram_gb", Reason: "NVML is not there"}}
	}
	r := compareEvents(t, base, new)
	if r.Verdict != Inconclusive || !strings.Contains(strings.Join(r.Reasons, " "), "peak_vram: null in the new runs: NVML is not there") {
		t.Errorf("%s %s", r.Verdict, r.Reasons)
	}
	for _, e := range base {
		e.PeakVRAMGB = nil
	}
	if r := compareEvents(t, base, new); r.Verdict != Equivalent {
		t.Errorf("no run has a GPU: %s %s", r.Verdict, r.Reasons)
	}
	if r := compareEvents(t, base, new, "peak_vram"); r.Verdict != Inconclusive {
		t.Errorf("the user wants the peak: %s %s", r.Verdict, r.Reasons)
	}
	base[0].Engine, new[1].Engine = nil, nil
	if c := compareEvents(t, base, new).metric(t, "generation_tokens_per_second"); c.Base.N != 9 || c.New.N != 9 || c.Verdict != Equivalent {
		t.Errorf("%+v", c)
	}
}

// Counts may be 0: the change has no ratio then.
func TestZeros(t *testing.T) {
	base, new := sides(7, 10, 0.003, 1)
	for i := range base {
		base[i].Engine.Requests = &schema.Requests{Preemptions: schema.Ptr[int64](0)}
		new[i].Engine.Requests = &schema.Requests{Preemptions: schema.Ptr(int64(20 + i))}
	}
	r := compareEvents(t, base, new, "preemptions")
	if c := r.metric(t, "preemptions"); c.Verdict != Regression || c.Change != nil || r.Verdict != Regression {
		t.Errorf("%s %+v", r.Verdict, c)
	}
}

// long reports whether simulations run whole.
func long() bool { return os.Getenv("VOBS_TEST_LONG") != "" }

// simulate returns how many of n comparisons have each verdict.
func simulate(n int, sides func(random *rand.Rand) (base, new []*schema.GenerationObservability)) map[Verdict]int {
	metrics := slices.DeleteFunc(Defaults(), func(m Metric) bool { return !m.Gated })
	count := map[Verdict]int{}
	for seed := range n {
		base, new := sides(rand.New(rand.NewPCG(uint64(seed), 4)))
		count[Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics}).Verdict]++
	}
	return count
}

// sequence returns runs in the given order, whose sessions of four runs share a factor.
func sequence(random *rand.Rand, order string, cv, drift, factor float64) (base, new []*schema.GenerationObservability) {
	session := 1.0
	for i, side := range order {
		if i%4 == 0 {
			session = math.Exp(drift * random.NormFloat64())
		}
		noise := func() float64 { return session * math.Exp(cv*random.NormFloat64()) }
		if side == 'A' {
			base = append(base, event(i, 1000*noise(), 0.03*noise(), 10))
		} else {
			new = append(new, event(i, 1000*factor*noise(), 0.03/factor*noise(), 10))
		}
	}
	return base, new
}

// Equal sides are called different at most as often as alpha allows, with drift between
// sessions as large as the noise within them, and regressions are found.
func TestErrorRates(t *testing.T) {
	n := 300
	if long() {
		n = 10_000
	}
	for _, c := range []struct {
		name          string
		order         string
		drift, factor float64
		high          float64 // of the share of regressions and improvements
		low           float64 // of the share of regressions
	}{
		{"A/A", strings.Repeat("ABBA", 5), 0, 1, defaultRate(n), 0},
		{"A/A with drift", strings.Repeat("ABBA", 5), 0.03, 1, defaultRate(n), 0},
		{"A/A in blocks", strings.Repeat("A", 8) + strings.Repeat("B", 8), 0.03, 1, 0, 0},
		{"slower, in blocks", strings.Repeat("A", 8) + strings.Repeat("B", 8), 0, 0.8, 0, 0},
		{"7 % slower", strings.Repeat("ABBA", 6), 0, 0.93, 1, 0.9},
	} {
		count := simulate(n, func(random *rand.Rand) (base, new []*schema.GenerationObservability) {
			return sequence(random, c.order, 0.03, c.drift, c.factor)
		})
		called := float64(count[Regression]+count[Improvement]) / float64(n)
		regressions := float64(count[Regression]) / float64(n)
		t.Logf("%s: %v", c.name, count)
		if called > c.high {
			t.Errorf("%s: %.2f %% are called different, want at most %.2f %%", c.name, 100*called, 100*c.high)
		}
		if regressions < c.low {
			t.Errorf("%s: %.0f %% are found, want at least %.0f %%", c.name, 100*regressions, 100*c.low)
		}
	}
}

// The power to find a change of 5 % in two gated metrics, if equal runs vary by 3 %, rises with
// the number of pairs.
func TestPower(t *testing.T) {
	if !long() {
		t.Skip("SKIPPED: a simulation of minutes: set VOBS_TEST_LONG=1 (make check-long)")
	}
	last := 0.0
	for _, c := range []struct {
		pairs int
		low   float64 // of the share of regressions
	}{{7, 0.05}, {10, 0.5}, {15, 0.8}, {20, 0.9}, {30, 0.95}} {
		const n = 2000
		count := simulate(n, func(random *rand.Rand) (base, new []*schema.GenerationObservability) {
			base, new = sequence(random, strings.Repeat("ABBA", c.pairs)[:2*c.pairs], 0.03, 0, 0.95)
			for i := range base {
				base[i].Run.Labels[LabelPair], new[i].Run.Labels[LabelPair] = fmt.Sprint(i), fmt.Sprint(i)
			}
			return base, new
		})
		found := float64(count[Regression]) / n
		t.Logf("%d pairs: %.0f %% are found, %v", c.pairs, 100*found, count)
		if found < max(c.low, last-0.01) {
			t.Errorf("%d pairs: %.0f %% are found, want at least %.0f %%", c.pairs, 100*found, 100*max(c.low, last-0.01))
		}
		last = found
	}
}

// As many pairs as DetectableChange was asked for find the change in about 4 of 5 cases.
func TestDetectableChange(t *testing.T) {
	metrics, _ := Select([]string{"generation_tokens_per_second"})
	metrics = slices.DeleteFunc(metrics, func(m Metric) bool { return !m.Gated })
	n := 400
	if long() {
		n = 4000
	}
	for _, pairs := range []int{6, 7, 10, 20} {
		for _, variation := range []float64{0.01, 0.03, 0.1} {
			change := DetectableChange(pairs, variation, DefaultAlpha, metrics)
			found := 0
			for seed := range n {
				base, new := sequence(rand.New(rand.NewPCG(uint64(seed), 8)), strings.Repeat("ABBA", pairs)[:2*pairs], variation, 0, 1-change)
				for i := range base {
					base[i].Run.Labels[LabelPair], new[i].Run.Labels[LabelPair] = fmt.Sprint(i), fmt.Sprint(i)
				}
				if Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics}).Verdict == Regression {
					found++
				}
			}
			share := float64(found) / float64(n)
			t.Logf("%d pairs, %.0f %%: %.1f %% is found in %.0f %%", pairs, 100*variation, 100*change, 100*share)
			if share < 0.7 || share > 0.95 {
				t.Errorf("%d pairs, runs that vary by %.0f %%: a change of %.1f %% is found in %.0f %% of cases, want about 80 %%", pairs, 100*variation, 100*change, 100*share)
			}
		}
	}
}

// Runs that differ in what users may not have noticed.
func TestOutcomesAndMixtures(t *testing.T) {
	find := func(r *Result, field string) Severity {
		for _, d := range r.Comparability {
			if d.Field == field {
				return d.Severity
			}
		}
		return ""
	}
	finished := func(counts map[string]int64) func(*schema.GenerationObservability) {
		return func(e *schema.GenerationObservability) { e.Engine.Requests = &schema.Requests{Finished: counts} }
	}
	for _, c := range []struct {
		name      string
		base, new func(*schema.GenerationObservability)
		field     string
		severity  Severity
	}{
		{"aborted requests", finished(map[string]int64{"length": 100}), finished(map[string]int64{"abort": 50, "error": 60}), "engine.requests.failed", Matters},
		{"failed responses", finished(map[string]int64{"length": 100}), func(e *schema.GenerationObservability) { e.Engine.HTTP = map[string]int64{"2xx": 50, "5xx": 50} }, "", ""},
		{"fewer requests", finished(map[string]int64{"length": 100}), finished(map[string]int64{"length": 50}), "engine.requests.finished", Noted},
		{"a label", func(e *schema.GenerationObservability) { e.Run.Labels["case"] = "chat" }, func(e *schema.GenerationObservability) { e.Run.Labels["case"] = "code" }, "run.labels.case", Noted},
		{"processes left behind", func(e *schema.GenerationObservability) { e.Run.Leftovers = []schema.Leftover{{PID: 1}} }, func(*schema.GenerationObservability) {}, "run.leftovers", Noted},
	} {
		base, new := sides(7, 10, 0.003, 1)
		for i := range base {
			c.base(base[i])
			c.new(new[i])
		}
		if got := find(compareEvents(t, base, new), c.field); got != c.severity {
			t.Errorf("%s: %q, want %q", c.name, got, c.severity)
		}
	}
	// Two sessions of vobs ab with the sides swapped.
	base, new := sides(7, 10, 0.003, 1)
	for i := range base {
		commands := []string{"x", "y"}
		base[i].Run.Command, new[i].Run.Command = []string{commands[i%2]}, []string{commands[1-i%2]}
	}
	metrics := Defaults()
	r := Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, Treatment: true})
	if r.Verdict != Incomparable || find(r, "run.command") != Matters {
		t.Errorf("%s %+v", r.Verdict, r.Comparability)
	}
}

// A peak that only some runs reach counts, and within 64 MiB it does not.
func TestPeaks(t *testing.T) {
	for _, c := range []struct {
		base, high float64
		want       Verdict
	}{{20, 40, Regression}, {1, 1.012, Equivalent}, {4, 4.05, Equivalent}, {4, 4.1, Regression}, {20, 20.1, Equivalent}} {
		var base, new []*schema.GenerationObservability
		for i := range 8 {
			peak := c.base
			if i < 3 {
				peak = c.high
			}
			base, new = append(base, event(2*i, 1000, 0.03, c.base)), append(new, event(2*i+1, 1000, 0.03, peak))
		}
		m := compareEvents(t, base, new, "peak_vram").metric(t, "peak_vram")
		if m.Verdict != c.want || m.ChangeLow != nil {
			t.Errorf("%v to %v GiB: %+v, want %s", c.base, c.high, m, c.want)
		}
	}
}

// A run counts once.
func TestReadTwice(t *testing.T) {
	r := Reader{Metrics: Defaults()}
	e := event(1, 1000, 0.03, 10)
	if _, err := r.Read(e, "a.json"); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(e, "b.json"); err == nil || !strings.Contains(err.Error(), "b.json: run 1 was read from a.json already") {
		t.Error(err)
	}
}

func TestDiffering(t *testing.T) {
	for _, c := range [][4]string{
		{"bench --port 1", "bench --port 2", "bench --port 1", "bench --port 2"},
		{"v a b c --port 1 x y z", "v a b c --port 2 x y z", "v … 1 …", "v … 2 …"},
		{"v a b c d", "v a b c d e", "v …", "v … e"},
		{"v", "w", "v", "w"},
		{"", "v a b c", "", "v a b c"},
		{"v a b c d", "w a b c d", "v …", "w …"},
	} {
		if a, b := differing(c[0], c[1]); a != c[2] || b != c[3] {
			t.Errorf("%q, %q: %q, %q; want %q, %q", c[0], c[1], a, b, c[2], c[3])
		}
	}
}

func TestCheckIgnore(t *testing.T) {
	if err := CheckIgnore([]string{"engine.models", "validity.busy_host", "engine.config", "engine.config.values.seed", "run.leftovers"}); err != nil {
		t.Error(err)
	}
	if err := CheckIgnore([]string{"engine.modelz"}); err == nil || !strings.Contains(err.Error(), "engine.models") {
		t.Error(err)
	}
}

// A history of other conditions tells nothing.
func TestForeignHistory(t *testing.T) {
	base, new := sides(7, 10, 0.003, 1)
	var history []*schema.GenerationObservability
	for i := range 40 {
		e := event(-100_000+1000*i, 1000, 0.03, 10)
		e.Engine.Models = []string{"other"}
		history = append(history, e)
	}
	metrics := Defaults()
	r := Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, History: runsOf(metrics, history)})
	if r.HistoryLeftOut != 40 || r.Metrics[0].History != nil {
		t.Errorf("%d runs left out, %+v", r.HistoryLeftOut, r.Metrics[0].History)
	}
}

// defaultRate returns alpha and three standard errors of n simulations.
func defaultRate(n int) float64 {
	return DefaultAlpha + 3*math.Sqrt(DefaultAlpha*(1-DefaultAlpha)/float64(n))
}

// A shift between two blocks that is larger than sessions differ by chance can be decided.
func TestHistory(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	var history []*schema.GenerationObservability
	for session := range 12 {
		level := math.Exp(0.02 * random.NormFloat64())
		if session >= 8 {
			level *= 1.5 // someone made the engine faster
		}
		for i := range 3 {
			history = append(history, event(-100_000+1000*session+i, 1000*level*math.Exp(0.01*random.NormFloat64()), 0.03, 10))
		}
	}
	blocks := func(factor float64) (base, new []*schema.GenerationObservability) {
		for i := range 8 {
			base = append(base, event(i, 1000*math.Exp(0.01*random.NormFloat64()), 0.03, 10))
			new = append(new, event(100+i, 1000*factor*math.Exp(0.01*random.NormFloat64()), 0.03, 10))
		}
		return base, new
	}
	run := func(factor float64, history []*schema.GenerationObservability) Comparison {
		base, new := blocks(factor)
		metrics, _ := Select([]string{"generation_tokens_per_second"})
		r := Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, History: runsOf(metrics, history)})
		return r.metric(t, "generation_tokens_per_second")
	}
	stable := history[:24]
	for factor, want := range map[float64]Verdict{0.8: Regression, 0.97: Inconclusive, 1.2: Improvement} {
		c := run(factor, stable)
		if c.Verdict != want || c.History.Sessions != 8 || c.History.Runs != 24 || len(c.History.ChangePoints) != 0 {
			t.Errorf("%v: %s %s %+v", factor, c.Verdict, c.Reason, c.History)
		}
		if inside := factor == 0.97; *c.History.Inside != inside || *c.History.Low > 1000 || *c.History.High < 1000 {
			t.Errorf("%v: %v within %v to %v", factor, *c.History.Inside, *c.History.Low, *c.History.High)
		}
	}
	if c := run(0.8, history[:21]); c.Verdict != Inconclusive || c.History.Low != nil || !strings.Contains(c.Reason, "7 sessions") {
		t.Errorf("%s %s %+v", c.Verdict, c.Reason, c.History)
	}
	if c := run(0.8, history); len(c.History.ChangePoints) != 1 || c.History.ChangePoints[0] != history[24].Run.StartedAt {
		t.Errorf("the changes are at %v, want %s", c.History.ChangePoints, history[24].Run.StartedAt)
	}
}

func TestSessions(t *testing.T) {
	var events []*schema.GenerationObservability
	for _, minute := range []int{0, 20, 60, 80, 300} {
		events = append(events, event(minute, 1, 1, 1))
	}
	other := event(10, 1, 1, 1)
	other.Run.Hostname = "other"
	labelled := event(70, 1, 1, 1)
	labelled.Run.Labels[LabelSession] = "s"
	far := event(9000, 1, 1, 1)
	far.Run.Labels[LabelSession] = "s"
	var sizes []int
	for _, s := range sessionsOf(runsOf(nil, append(events, other, labelled, far))) {
		sizes = append(sizes, len(s))
	}
	if want := []int{2, 1, 2, 2, 1}; !slices.Equal(sizes, want) {
		t.Errorf("%v, want %v", sizes, want)
	}
}
