package diagnose

import (
	"fmt"
	"math"
	"strings"

	"github.com/vobs/vobs/schema"
)

// figure is one figure of an event, or an expression of several.
type figure struct {
	field string // its path, or the expression
	x     float64
	known bool
	why   string // it is unknown, if there is more to say
}

// is returns the figure as evidence.
func (a figure) is(operator string, threshold any) schema.DiagnosisEvidence {
	v := any(nil)
	if a.known {
		v = schema.Float(significant(a.x))
	}
	if x, ok := threshold.(float64); ok {
		threshold = schema.Float(significant(x))
	}
	return schema.DiagnosisEvidence{Field: a.field, Value: v, Operator: operator, Threshold: threshold}
}

// significant rounds to six significant digits, as evidence needs no more.
func significant(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	scale := math.Pow10(5 - int(math.Floor(math.Log10(math.Abs(x)))))
	if scale == 0 || math.IsInf(scale, 0) {
		return x
	}
	return math.Round(x*scale) / scale
}

// over returns the quotient of two figures; unknown if b is 0.
func (a figure) over(b figure) figure {
	return figure{field: a.field + " / " + b.field, x: a.x / b.x, known: a.known && b.known && b.x > 0}
}

// from returns the figure of a value that may be null.
func from[T ~float64 | ~int64](field string, v *T) figure {
	if v == nil || math.IsNaN(float64(*v)) {
		return figure{field: field}
	}
	return figure{field: field, x: float64(*v), known: true}
}

// sumOf returns the sum of a map of counters; unknown if it is null.
func sumOf(field string, counts map[string]int64) figure {
	f := figure{field: field, known: counts != nil}
	for _, n := range counts {
		f.x += float64(n)
	}
	return f
}

// figures are those of an event that more than one rule needs.
type figures struct {
	event   *schema.GenerationObservability
	engine  *schema.Engine
	options Options
	binding schema.BindingCode // the verdict, for the rules
	series  series

	duration, finished, preemptions    figure
	running, runningPeak, runningLimit figure
	waiting, waitingPeak               figure
	kv, kvPeak                         figure
	promptTokens, generationTokens     figure
	stepLimit                          figure // max_num_batched_tokens
	engines                            float64
}

func newFigures(e *schema.GenerationObservability, o Options) *figures {
	g := e.Engine
	f := &figures{event: e, engine: g, options: o, series: newSeries(e.Series), engines: engineCount(g)}
	f.duration = figure{field: "engine.window.duration_seconds"}
	if g.Window != nil {
		f.duration = from("engine.window.duration_seconds", &g.Window.DurationSeconds)
	}
	q := g.Requests
	if q == nil {
		q = &schema.Requests{}
	}
	f.finished = sumOf("engine.requests.finished", q.Finished)
	f.preemptions = from("engine.requests.preemptions", q.Preemptions)
	f.runningLimit = from("engine.requests.running_limit", q.RunningLimit)
	running, waiting := orEmpty(q.Running), orEmpty(q.Waiting)
	f.running, f.runningPeak = from("engine.requests.running.mean", running.Mean), from("engine.requests.running.peak", running.Peak)
	f.waiting, f.waitingPeak = from("engine.requests.waiting.mean", waiting.Mean), from("engine.requests.waiting.peak", waiting.Peak)
	var usage schema.KVUsage
	if g.KVCache != nil {
		usage = orEmpty(g.KVCache.Usage)
	}
	f.kv, f.kvPeak = from("engine.kv_cache.usage.mean", usage.Mean), from("engine.kv_cache.usage.peak", usage.Peak)
	t := orEmpty(g.Tokens)
	f.promptTokens, f.generationTokens = from("engine.tokens.prompt", t.Prompt), from("engine.tokens.generation", t.Generation)
	f.stepLimit = from("engine.tokens.per_iteration_limit", t.PerIterationLimit)
	if f.options.SharedPrefix == nil {
		f.options.SharedPrefix = sharedByLoad(e.Client)
	}
	if n := o.MaxNumSeqs; n > 0 && !f.runningLimit.known {
		f.runningLimit.x, f.runningLimit.known = float64(n)*f.engines, true
	}
	if n := o.MaxNumBatchedTokens; n > 0 && !f.stepLimit.known {
		f.stepLimit.x, f.stepLimit.known = float64(n), true
	}
	// A limit that the figures exceed is not the engine's.
	f.runningLimit.contradictedBy(f.runningPeak, 1)
	f.stepLimit.contradictedBy(f.tokensPerStep(), contradiction)
	return f
}

// sharedByLoad returns the share of each prompt that vobs load made common to all; nil if the
// event has no such load.
func sharedByLoad(c *schema.Client) *float64 {
	if c == nil || c.Tool != "vobs load" {
		return nil
	}
	share, ok := c.Settings["shared-prefix"].(float64)
	if !ok {
		return nil
	}
	return &share
}

// contradictedBy makes a limit unknown if it is not above 0, or if a figure is more than a number
// of times as high.
func (a *figure) contradictedBy(b figure, times float64) {
	switch {
	case !a.known:
	case a.x <= 0:
		a.known, a.why = false, fmt.Sprintf("%s is %v, which is impossible", plainName(a.field), a.x)
	case b.known && b.x > times*a.x:
		a.known, a.why = false, fmt.Sprintf("%s cannot be %v: %s is %.6g", plainName(a.field), a.x, plainName(b.field), b.x)
	}
}

// contradiction is by how much the mean number of tokens per step may exceed the limit: without
// the engine's histogram it is an estimate.
const contradiction = 1.25

// orEmpty returns what p points to, or the zero value.
func orEmpty[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// engineCount returns the number of engines that the figures of the event are about.
func engineCount(g *schema.Engine) float64 {
	n := 0
	for _, in := range g.Instances {
		if sameStage(in.Stage, g.Stage) && decodes(g, in.Endpoint) {
			n++
		}
	}
	return float64(max(n, 1))
}

func sameStage(a, b *string) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// decodes reports whether the figures of the event include those of an endpoint: with roles they
// are those of the decoding servers.
func decodes(g *schema.Engine, endpoint int) bool {
	for _, r := range g.Roles {
		if r.Endpoint == endpoint {
			return r.Role != "prefill"
		}
	}
	return true
}

// latency returns a distribution of the event by its key in engine.latency_seconds.
func (f *figures) latency(key string) *schema.Distribution {
	l := f.engine.LatencySeconds
	if l == nil {
		return nil
	}
	return map[string]*schema.Distribution{
		"time_to_first_token": l.TimeToFirstToken, "inter_token_latency": l.InterTokenLatency, "e2e_request_latency": l.E2ERequestLatency,
		"request_queue_time": l.RequestQueueTime, "request_prefill_time": l.RequestPrefillTime, "request_decode_time": l.RequestDecodeTime,
	}[key]
}

// latencySum returns the sum of a latency over all requests, in seconds; unknown without
// observations.
func (f *figures) latencySum(key string) figure {
	d := f.latency(key)
	field := "engine.latency_seconds." + key + ".sum"
	if d == nil || d.Count == 0 {
		return figure{field: field}
	}
	return from(field, &d.Sum)
}

// latencyMean returns the mean of a latency in seconds.
func (f *figures) latencyMean(key string) figure {
	field := "engine.latency_seconds." + key + ".mean"
	d := f.latency(key)
	if d == nil {
		return figure{field: field}
	}
	return from(field, d.Mean)
}

// queueShare is the share of the requests' time that they spent in the queue.
func (f *figures) queueShare() figure {
	return f.latencySum("request_queue_time").over(f.latencySum("e2e_request_latency"))
}

// preemptionsPerRequest is the number of preemptions per finished request; unknown with few
// requests and fewer preemptions.
func (f *figures) preemptionsPerRequest() figure {
	share := f.preemptions.over(f.finished)
	share.known = share.known && (f.finished.x >= minRequests || f.preemptions.x >= minPreemptions)
	return share
}

// utilization is the share of the running limit that was in use at the peak.
func (f *figures) utilization() figure { return f.runningPeak.over(f.runningLimit) }

// tokensPerStep returns how many tokens a step of an engine computed on average: from the
// engine's own histogram, otherwise from the rate of tokens and the time between two output
// events, which is one step.
func (f *figures) tokensPerStep() figure {
	if t := f.engine.Tokens; t != nil && t.PerIteration != nil && t.PerIteration.Count > 0 {
		if mean := from("engine.tokens.per_iteration.mean", t.PerIteration.Mean); mean.known {
			return mean
		}
	}
	rate := f.computedTokens().over(f.activeSeconds())
	step := f.latencyMean("inter_token_latency")
	return figure{
		field: fmt.Sprintf("%s * %s / engines", rate.field, step.field),
		x:     rate.x * step.x / f.engines,
		known: rate.known && step.known && step.x > 0,
	}
}

// computedTokens returns the tokens that the engines computed: those of prompts that no cache
// had, and the generated ones.
func (f *figures) computedTokens() figure {
	t := f.engine.Tokens
	if t == nil || !f.promptTokens.known || !f.generationTokens.known {
		return figure{field: "engine.tokens"}
	}
	if n, ok := t.PromptBySource["local_compute"]; ok {
		return figure{field: "(engine.tokens.prompt_by_source.local_compute + engine.tokens.generation)", x: float64(n) + f.generationTokens.x, known: true}
	}
	return figure{field: "(engine.tokens.prompt + engine.tokens.generation)", x: f.promptTokens.x + f.generationTokens.x, known: true}
}

// activeSeconds returns the time in which the engines worked, or the window's length.
func (f *figures) activeSeconds() figure {
	if w := f.engine.Window; w != nil && w.ActiveSecondsEst != nil {
		return from("engine.window.active_seconds_est", w.ActiveSecondsEst)
	}
	return f.duration
}

// requestTokens returns the mean number of tokens in the KV cache at the end of a finished
// request, and its standard deviation, which is 0 if unknown. Prompt tokens that the prefix cache
// found are in blocks that requests share.
func (f *figures) requestTokens() (mean figure, deviation float64) {
	t := f.engine.Tokens
	if t == nil {
		return figure{}, 0
	}
	mean = figure{field: "engine.tokens.prompt_per_request.mean + engine.tokens.generation_per_request.mean"}
	p, g := t.PromptPerRequest, t.GenerationPerRequest
	if p != nil && g != nil && p.Mean != nil && g.Mean != nil {
		own := 1 - f.prefixHitRate().x // 0 if unknown
		mean.x, mean.known = own*float64(*p.Mean)+float64(*g.Mean), true
		return mean, math.Hypot(own*standardDeviation(p), standardDeviation(g))
	}
	total := figure{field: "(engine.tokens.prompt + engine.tokens.generation)", x: f.promptTokens.x + f.generationTokens.x, known: f.promptTokens.known && f.generationTokens.known}
	return total.over(f.finished), 0
}

// prefixHitRate returns the share of the queried prompt tokens that the engines' own prefix cache
// found.
func (f *figures) prefixHitRate() figure {
	rate := figure{field: "engine.prefix_cache.local.hit_rate"}
	if p := f.engine.PrefixCache; p != nil && p.Local != nil {
		return from(rate.field, p.Local.HitRate)
	}
	return rate
}

// standardDeviation estimates that of a number of tokens from its buckets: as if the observations
// were spread evenly over the lower or the upper part of each bucket, the same share of each, so
// that their mean is the exact one. 0 if it is unknown.
func standardDeviation(d *schema.Distribution) float64 {
	if d.Count < 2 || d.Mean == nil {
		return 0
	}
	lows, highs, widths := bucketMoments(d, 0, 0), bucketMoments(d, 1, 1), bucketMoments(d, 0, 1)
	mean, from, to := float64(*d.Mean), 0.0, 1.0
	if half := (highs.mean - lows.mean) / 2; half > 0 {
		switch {
		case mean < widths.mean:
			to = max(0, (mean-lows.mean)/half)
		default:
			from = 1 - max(0, (highs.mean-mean)/half)
		}
	}
	return math.Sqrt(max(0, bucketMoments(d, from, to).variance))
}

// moments are the mean and the variance of a distribution.
type moments struct{ mean, variance float64 }

// bucketMoments returns the moments if the observations of each bucket are spread evenly from one
// share of its width to another.
func bucketMoments(d *schema.Distribution, from, to float64) moments {
	sum, squares, low, before := 0.0, 0.0, 0.0, 0.0
	for _, b := range d.Buckets {
		high, n := low, float64(*b[1])-before
		if b[0] != nil {
			high = float64(*b[0])
			low = max(low, boundBelow(high))
		}
		middle, width := low+(from+to)/2*(high-low), (to-from)*(high-low)
		sum += n * middle
		squares += n * (middle*middle + width*width/12)
		low, before = high, float64(*b[1])
	}
	mean := sum / float64(d.Count)
	return moments{mean, squares/float64(d.Count) - mean*mean}
}

// boundBelow returns the bucket bound below one of vLLM's histograms of tokens, whose bounds are 1,
// 2, 5, 10, 20, 50 and so on (build_1_2_5_buckets in vllm/v1/metrics/buckets.py); 0 for a bound that
// is none of these (custom_histogram_buckets). An event lacks the buckets without observations, so
// that the bound before one in the event may be much lower.
func boundBelow(bound float64) (below float64) {
	for scale := 1.0; ; scale *= 10 {
		for _, digit := range []float64{1, 2, 5} {
			switch x := digit * scale; {
			case x == bound:
				return below
			case x > bound:
				return 0
			default:
				below = x
			}
		}
	}
}

// kvTokens returns how many tokens the KV caches of all engines hold.
func (f *figures) kvTokens() figure {
	k := f.engine.KVCache
	if k == nil {
		return figure{field: "engine.kv_cache.size_tokens"}
	}
	if size := from("engine.kv_cache.size_tokens", k.SizeTokens); size.known {
		size.x *= f.engines
		return size
	}
	blocks, size := from("engine.kv_cache.num_gpu_blocks", k.NumGPUBlocks), from("engine.kv_cache.block_size", k.BlockSize)
	return figure{field: blocks.field + " * " + size.field, x: blocks.x * size.x, known: blocks.known && size.known}
}

// setting returns a setting that the engine reports.
func (f *figures) setting(name string) (any, bool) {
	for _, s := range f.event.EngineRuntimeConfig.Settings() {
		if s.Key == name {
			return s.Value, true
		}
	}
	if c := f.engine.Config; c != nil {
		v, ok := c.Values[name]
		return v, ok
	}
	return nil, false
}

// plainName returns a figure's name for people if it has one, otherwise its path.
func plainName(field string) string {
	if name := fieldNames[field]; name != "" {
		return name
	}
	return field
}

// unknown lists those of the figures that are unknown, as "a and b are unknown"; "" if all are
// known.
func unknown(figures ...figure) string {
	var names []string
	for _, a := range figures {
		switch {
		case a.known:
		case a.why != "":
			return a.why
		default:
			names = append(names, plainName(a.field))
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0] + " is unknown"
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last] + " are unknown"
}
