package ingest

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/vobs/vobs/schema"
)

// aiPerf is AIPerf's profile_export_aiperf.json (aiperf/common/models/export_models.py
// JsonExportData, AIPerf 0.13.0, version 1.4 of its schema). Warm-up requests are not in it.
const aiPerf = "aiperf"

// aiMetrics are the metrics of a result by their tags (aiperf/metrics/types). A scalar has only
// avg.
type aiMetrics map[string]struct {
	Unit  string `json:"unit"`
	Avg   number `json:"avg"`
	P50   number `json:"p50"`
	P90   number `json:"p90"`
	P95   number `json:"p95"`
	P99   number `json:"p99"`
	Max   number `json:"max"`
	Count number `json:"count"` // of the observations, since version 1.1
}

// cancelledCode is the code of requests that AIPerf cancels on purpose
// (--request-cancellation-rate), which it counts as errors.
const cancelledCode = 499

func isAIPerf(o object) bool {
	return o.has("aiperf_version") || o.has("input_config", "was_cancelled", "error_summary", "request_latency")
}

func readAIPerf(raw json.RawMessage) (*result, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return nil, err
	}
	metrics := aiMetrics{}
	for name := range aiWanted {
		if err := unmarshalInto(metrics, name, keys[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	r := newResult(aiPerf, "the result does not have it")
	c := r.client
	for _, name := range []string{"aiperf_version", "was_cancelled", "is_complete"} {
		var value any
		if json.Unmarshal(keys[name], &value) == nil {
			if v, ok := scalar(value); ok {
				c.Settings[name] = v
			}
		}
	}
	if err := aiRequests(r, metrics, keys["error_summary"]); err != nil {
		return nil, err
	}
	aiTokens(r, metrics)
	c.DurationSeconds = metrics.seconds("benchmark_duration")
	c.Throughput = &schema.ClientThroughput{
		RequestsPerSecond:         float(metrics["request_throughput"].Avg),
		PromptTokensPerSecond:     float(metrics["input_token_throughput"].Avg),
		GenerationTokensPerSecond: float(metrics["output_token_throughput"].Avg),
		Over:                      schema.Ptr("all"),
	}
	if c.Goodput = float(metrics["goodput"].Avg); c.Goodput != nil {
		r.missing("slo", "the targets of --goodput are not read from input_config")
	}
	if c.Requests.Completed == nil || *c.Requests.Completed == 0 {
		c.LatencySeconds = nil
		r.missing("latency_seconds", "no request was completed")
		return r, nil
	}
	aiLatencies(r, metrics)
	return r, nil
}

// aiWanted are the metrics that are read.
var aiWanted = map[string]bool{
	"request_count": true, "error_request_count": true, "benchmark_duration": true,
	"total_isl": true, "total_osl": true, "request_latency": true,
	"usage_prompt_tokens": true, "usage_completion_tokens": true,
	"total_usage_prompt_tokens": true, "total_usage_completion_tokens": true,
	"request_throughput": true, "input_token_throughput": true, "output_token_throughput": true, "goodput": true,
	"time_to_first_token": true, "inter_token_latency": true, "inter_chunk_latency": true,
	"replay_sched_lag_p50": true, "replay_sched_lag_p90": true, "replay_sched_lag_p99": true,
}

func unmarshalInto(metrics aiMetrics, name string, raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	metric := metrics[name]
	if err := json.Unmarshal(raw, &metric); err != nil {
		return err
	}
	metrics[name] = metric
	return nil
}

// aiRequests fills in the requests. request_count is of valid answers, error_request_count of
// the others.
func aiRequests(r *result, metrics aiMetrics, errorSummary json.RawMessage) error {
	requests := r.client.Requests
	requests.Completed = count(metrics["request_count"].Avg)
	failures := count(metrics["error_request_count"].Avg)
	var kinds []struct {
		Details struct {
			Code *int   `json:"code"`
			Type string `json:"type"`
		} `json:"error_details"`
		Count number `json:"count"`
	}
	if len(errorSummary) > 0 {
		if err := json.Unmarshal(errorSummary, &kinds); err != nil {
			return fmt.Errorf("error_summary: %w", err)
		}
	}
	requests.Failed, requests.Cancelled = map[string]int64{}, schema.Ptr(int64(0))
	known := int64(0)
	for _, k := range kinds {
		n := count(k.Count)
		if n == nil {
			continue
		}
		known += *n
		switch kind, code := k.Details.Type, k.Details.Code; {
		case code != nil && *code == cancelledCode:
			*requests.Cancelled += *n
		case kind == "" && code != nil:
			addFailures(requests.Failed, strconv.Itoa(*code), *n)
		default:
			addFailures(requests.Failed, kind, *n)
		}
	}
	// Both metrics are absent if they would be 0.
	if failures != nil {
		addFailures(requests.Failed, unknownKind, *failures-known)
	}
	if requests.Completed == nil && known > 0 {
		requests.Completed = schema.Ptr(int64(0))
	}
	if requests.Completed != nil {
		requests.Started = schema.Ptr(*requests.Completed + *requests.Cancelled + total(requests.Failed))
	}
	return nil
}

// aiTokens fills in the tokens: those of the server's usage if every request had one, otherwise
// those of AIPerf's count (its tokenizer's, or with --use-server-token-count the server's).
func aiTokens(r *result, metrics aiMetrics) {
	tokens, completed := r.client.Tokens, r.client.Requests.Completed
	inAll := func(name string) bool {
		n := count(metrics[name].Count)
		return n != nil && completed != nil && *n == *completed
	}
	if inAll("usage_prompt_tokens") && inAll("usage_completion_tokens") {
		prompt, generation := count(metrics["total_usage_prompt_tokens"].Avg), count(metrics["total_usage_completion_tokens"].Avg)
		if prompt != nil && generation != nil {
			tokens.Prompt, tokens.Generation, tokens.From = prompt, generation, schema.Ptr(fromUsage)
			return
		}
	}
	tokens.Prompt, tokens.Generation, tokens.From = count(metrics["total_isl"].Avg), count(metrics["total_osl"].Avg), schema.Ptr(fromTool)
}

// aiLatencies fills in the latencies. TTFT and the request latency begin when a worker sends
// the request (ttft_metric.py: request.start_perf_ns), not when it was due.
//
// AIPerf's inter_token_latency is (request latency - TTFT) / (tokens - 1) of a request, which
// vLLM calls the time per output token; its inter_chunk_latency is the time between two chunks.
func aiLatencies(r *result, metrics aiMetrics) {
	l := r.client.LatencySeconds
	for _, d := range []struct {
		to         **schema.ClientDistribution
		name, from string
	}{
		{&l.TimeToFirstToken, "time_to_first_token", "time_to_first_token"},
		{&l.InterTokenLatency, "inter_token_latency", "inter_chunk_latency"},
		{&l.TimePerOutputToken, "time_per_output_token", "inter_token_latency"},
		{&l.E2ERequestLatency, "e2e_request_latency", "request_latency"},
	} {
		path := "latency_seconds." + d.name
		*d.to = notEmpty(metrics.distribution(d.from))
		if m, given := metrics[d.from]; given && *d.to == nil {
			r.missing(path, "its unit %q is unknown, or it has no figures", m.Unit)
		}
		r.missing(path, "the result has no %s: AIPerf measures it only with --streaming", d.from)
		if d.from == "inter_chunk_latency" && *d.to != nil {
			// One observation of AIPerf is the list of a request's latencies.
			(*d.to).Count = nil
			r.missing(path+".count", "AIPerf counts requests here, not chunks")
		}
		r.missing(path+".count", "not in results of this version of AIPerf")
		r.missing(path+".p99_interval", "AIPerf does not give one")
	}
	// How late requests of a replayed schedule were sent (replay_sched_lag_metrics.py).
	late := &schema.ClientDistribution{
		P50: metrics.seconds("replay_sched_lag_p50"), P90: metrics.seconds("replay_sched_lag_p90"), P99: metrics.seconds("replay_sched_lag_p99"),
	}
	if l.SendLateness = notEmpty(late); l.SendLateness != nil {
		r.missing("latency_seconds.send_lateness", "AIPerf gives only the 50th, 90th and 99th percentile")
	}
	r.missing("latency_seconds.send_lateness", "AIPerf measures it only for a replayed schedule (--fixed-schedule)")
}

// perSecond is how many of AIPerf's units are in a second (metric_enums.py MetricTimeUnit).
var perSecond = map[string]float64{"ns": 1e9, "us": 1e6, "ms": 1e3, "sec": 1, "s": 1}

// seconds returns the value of a scalar metric of time; nil if it is absent or in another unit.
func (m aiMetrics) seconds(name string) *schema.Float {
	metric := m[name]
	if units := perSecond[metric.Unit]; units > 0 {
		return scaled(metric.Avg, 1/units)
	}
	return nil
}

// distribution returns the distribution of a metric of time; nil if it is absent or in another
// unit.
func (m aiMetrics) distribution(name string) *schema.ClientDistribution {
	metric := m[name]
	units := perSecond[metric.Unit]
	if units == 0 {
		return nil
	}
	in := func(x number) *schema.Float { return scaled(x, 1/units) }
	return &schema.ClientDistribution{
		Count: count(metric.Count), Mean: in(metric.Avg), Max: in(metric.Max),
		P50: in(metric.P50), P90: in(metric.P90), P95: in(metric.P95), P99: in(metric.P99),
	}
}
