package diagnose

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/quantity"
	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// fieldNames are names for people of expressions that evidence is often about. Any other field is
// shown by its path.
var fieldNames = map[string]string{
	stalledField: "seconds in which requests waited and no token counter moved",
	"engine.requests.preemptions / engine.requests.finished":                                         "preemptions per finished request",
	"engine.requests.running.peak / engine.requests.running_limit":                                   "peak of running requests / max_num_seqs",
	"engine.requests.running.peak":                                                                   "peak of running requests",
	"engine.requests.running.mean":                                                                   "mean of running requests",
	"engine.requests.running_limit":                                                                  "max_num_seqs",
	"engine.requests.waiting.peak":                                                                   "peak of waiting requests",
	"engine.requests.waiting.mean":                                                                   "mean of waiting requests",
	"engine.kv_cache.usage.peak":                                                                     "peak of KV cache usage",
	"engine.kv_cache.usage.mean":                                                                     "mean of KV cache usage",
	"engine.prefix_cache.local.hit_rate":                                                             "prefix cache hit rate",
	"engine.tokens.per_iteration.mean":                                                               "tokens per step",
	"engine.tokens.per_iteration.mean / engine.tokens.per_iteration_limit":                           "tokens per step / max_num_batched_tokens",
	"engine.tokens.per_iteration.p50_bounds.0 / engine.tokens.per_iteration_limit":                   "lower bound of the median of tokens per step / max_num_batched_tokens",
	"engine.latency_seconds.request_queue_time.sum / engine.latency_seconds.e2e_request_latency.sum": "share of the requests' time in the queue",
	"engine.tokens.per_iteration.p50_est / engine.tokens.per_iteration_limit":                        "estimated median of tokens per step / max_num_batched_tokens",
	"(engine.latency_seconds.time_to_first_token.sum - engine.latency_seconds.request_queue_time.sum - engine.latency_seconds.request_prefill_time.sum) / engine.latency_seconds.time_to_first_token.sum":   "share of the time to first token outside of queue and prefill",
	"(engine.latency_seconds.time_to_first_token.sum - engine.latency_seconds.request_queue_time.sum - engine.latency_seconds.request_prefill_time.sum) / engine.latency_seconds.time_to_first_token.count": "seconds to the first token outside of queue and prefill",
	"engine.endpoints.*.cpu_seconds / engine.window.active_seconds_est":                                                 "cores used by the API server",
	"engine.endpoints.*.cpu_seconds / engine.window.duration_seconds":                                                   "cores used by the API server",
	"engine.latency_seconds.inter_token_latency.p99_bounds.0 / engine.latency_seconds.inter_token_latency.p50_bounds.1": "99th percentile of the inter-token latency / median, by their bounds",
	"engine.tokens.prompt_per_request.mean":                                                                             "mean of prompt tokens per request",
	"engine.instances.*.requests_running_peak / (engine.requests.running_limit / engines)":                              "peak of running requests in the busiest engine / its max_num_seqs",
	"host.pressure_some_seconds.cpu / run.duration_seconds":                                                             "share of the run in which processes waited for a CPU",
	"engine.tokens.per_iteration_limit":                                                                                 "max_num_batched_tokens",
}

// fieldName returns the name of a field of evidence for people.
func fieldName(field string) string {
	if name := fieldNames[field]; name != "" {
		return name
	}
	return render.Printable(strings.ReplaceAll(field, "engine.", ""))
}

// evidenceTexts returns evidence for people, as "preemptions per finished request 0.064 > 0.05".
func evidenceTexts(evidence []schema.DiagnosisEvidence) (out []string) {
	for _, e := range evidence {
		unit := unitOf(e.Field)
		if e.Operator == "" {
			out = append(out, fieldName(e.Field)+" "+valueText(e.Value, unit, minDigits))
			continue
		}
		value, threshold := valueTexts(e.Value, e.Threshold, unit)
		out = append(out, fmt.Sprintf("%s %s %s %s", fieldName(e.Field), value, render.Printable(e.Operator), threshold))
	}
	return out
}

// unitOf returns the unit in which values of a field are shown; "" for one that the field's name
// tells anyway, such as tokens.
func unitOf(field string) schema.Unit {
	f, ok := schema.FieldAt(field)
	if !ok {
		return ""
	}
	switch f.Unit {
	case schema.UnitBytes, schema.UnitSeconds, schema.UnitMilliseconds, schema.UnitFraction, schema.UnitCelsius, schema.UnitWatts:
		return f.Unit
	}
	return ""
}

const (
	// minDigits is how many significant digits a value has that is not a whole number.
	minDigits = 3
	// maxDigits is how many it has at most if it would look like its threshold otherwise.
	maxDigits = 9
)

// valueTexts returns a value and its threshold. If they differ, they look different.
func valueTexts(value, threshold any, unit schema.Unit) (a, b string) {
	for digits := minDigits; ; digits++ {
		a, b = valueText(value, unit, digits), valueText(threshold, unit, digits)
		if a != b || digits == maxDigits {
			return a, b
		}
	}
}

// valueText returns a value of evidence, or of a flag, for people.
func valueText(value any, unit schema.Unit, digits int) string {
	text, err := json.Marshal(value) // an event that was read has other types than one that was made here
	if err != nil {
		return render.Printable(fmt.Sprint(value))
	}
	var decoded any
	if err := json.Unmarshal(text, &decoded); err != nil {
		return render.Printable(string(text))
	}
	switch x := decoded.(type) {
	case nil:
		return "unknown"
	case string:
		return render.Printable(x)
	case float64:
		return quantity.Format(rounded(x, digits), unit)
	}
	return render.Printable(string(text))
}

// rounded returns a number rounded to some significant digits, but not more coarsely than to a
// whole number.
func rounded(x float64, digits int) float64 {
	if math.Abs(x) >= math.Pow10(digits) {
		return math.Round(x)
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', digits, 64), 64)
	if err != nil {
		return x
	}
	return r
}

// fixText returns a fix for people, as "--max-num-seqs 112: reason; effect".
func fixText(f schema.Fix) string {
	change := render.Printable(f.Flag)
	if change != "" && f.Value != nil {
		change += " " + valueText(f.Value, "", maxDigits)
	}
	text := f.Reason
	switch {
	case text == "":
		text = f.Effect
	case f.Effect != "":
		text += "; " + f.Effect
	}
	switch {
	case change == "":
		return text
	case text == "":
		return change
	}
	return change + ": " + text
}
