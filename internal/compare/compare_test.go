package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
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
