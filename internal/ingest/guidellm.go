package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vobs/vobs/schema"
)

// guideLLM is GuideLLM's report (src/guidellm/benchmark/schemas/report.py at ee7a7745), version 2
// of its schema.
const guideLLM = "guidellm"

// guideReport is a report with one benchmark for each rate of its profile.
type guideReport struct {
	Metadata struct {
		Version int `json:"version"`
	} `json:"metadata"`
	Config struct {
		Spec struct {
			Backend struct {
				Kind  any `json:"kind"`
				Model any `json:"model"`
			} `json:"backend"`
		} `json:"spec"`
	} `json:"config"`
	Benchmarks []guideBenchmark `json:"benchmarks"`
}

// guideBenchmark is schemas/benchmark.py's GenerativeBenchmark.
type guideBenchmark struct {
	Config struct {
		Strategy map[string]any `json:"strategy"`
	} `json:"config"`
	Scheduler struct {
		// Mean time from when a request was due until it was sent, in seconds; -1 if unknown.
		Lateness number `json:"request_targeted_start_delay_avg"`
	} `json:"scheduler_metrics"`
	Metrics struct {
		Totals struct {
			Successful number `json:"successful"`
			Errored    number `json:"errored"`
			Incomplete number `json:"incomplete"`
			Total      number `json:"total"`
		} `json:"request_totals"`
		RequestsPerSecond guideStatus `json:"requests_per_second"`
		RequestLatency    guideStatus `json:"request_latency"` // seconds
		PromptTokens      guideStatus `json:"prompt_token_count"`
		OutputTokens      guideStatus `json:"output_token_count"`
		TTFT              guideStatus `json:"time_to_first_token_ms"`
		ITL               guideStatus `json:"inter_token_latency_ms"`
		PromptPerSecond   guideStatus `json:"prompt_tokens_per_second"`
		OutputPerSecond   guideStatus `json:"output_tokens_per_second"`
	} `json:"metrics"`
	Duration number `json:"duration"`
	Warmup   number `json:"warmup_duration"`
	Cooldown number `json:"cooldown_duration"`
}

// guideStatus is a StatusDistributionSummary; requests that failed have a distribution of their own.
type guideStatus struct {
	Successful *struct {
		Mean        number `json:"mean"`
		Max         number `json:"max"`
		Count       number `json:"count"`
		Sum         number `json:"total_sum"`
		Percentiles struct {
			P50 number `json:"p50"`
			P90 number `json:"p90"`
			P95 number `json:"p95"`
			P99 number `json:"p99"`
		} `json:"percentiles"`
	} `json:"successful"`
}

func isGuideLLM(o object) bool {
	var metadata map[string]json.RawMessage
	return o.has("metadata", "benchmarks") && json.Unmarshal(o.keys["metadata"], &metadata) == nil && metadata["guidellm_version"] != nil
}

func readGuideLLM(objects []object, _ time.Time) ([]*result, error) {
	var report guideReport
	if err := json.Unmarshal(objects[len(objects)-1].raw, &report); err != nil {
		return nil, err
	}
	if v := report.Metadata.Version; v != 2 {
		return nil, fmt.Errorf("version %d of its schema: only version 2 is known", v)
	}
	if len(report.Benchmarks) == 0 {
		return nil, errors.New("it has no benchmarks")
	}
	if len(report.Benchmarks) > maxResults {
		return nil, fmt.Errorf("more than %d benchmarks", maxResults)
	}
	var out []*result
	for i := range report.Benchmarks {
		r := report.Benchmarks[i].result()
		backend := report.Config.Spec.Backend
		for name, value := range map[string]any{"backend": backend.Kind, "model": backend.Model} {
			if v, ok := scalar(value); ok {
				r.client.Settings[name] = v
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func (b *guideBenchmark) result() *result {
	r := newResult(guideLLM, "the report does not have it")
	c, m := r.client, &b.Metrics
	for name, value := range b.Config.Strategy {
		if v, ok := scalar(value); ok {
			c.Settings["strategy."+name] = v
		}
	}
	// Incomplete requests are those that GuideLLM stopped at the end of the benchmark.
	c.Requests.Started, c.Requests.Completed, c.Requests.Cancelled = count(m.Totals.Total), count(m.Totals.Successful), count(m.Totals.Incomplete)
	if failed := count(m.Totals.Errored); failed != nil {
		c.Requests.Failed = map[string]int64{}
		addFailures(c.Requests.Failed, unknownKind, *failed)
	}
	// The server's usage counts where there is one; otherwise a chunk counts as a token
	// (schemas/request_stats.py output_tokens).
	c.Tokens.Prompt, c.Tokens.Generation, c.Tokens.From = m.PromptTokens.sum(), m.OutputTokens.sum(), schema.Ptr(fromTool)
	c.DurationSeconds = float(b.Duration)
	c.Throughput = &schema.ClientThroughput{
		RequestsPerSecond:         m.RequestsPerSecond.mean(),
		PromptTokensPerSecond:     m.PromptPerSecond.mean(),
		GenerationTokensPerSecond: m.OutputPerSecond.mean(),
		Over:                      schema.Ptr("all"),
	}
	if positive(b.Warmup) || positive(b.Cooldown) {
		c.Throughput.Over = schema.Ptr("steady") // what lies in warm-up and cool-down is left out
	}
	if c.Requests.Completed == nil || *c.Requests.Completed == 0 {
		c.LatencySeconds = nil
		r.missing("latency_seconds", "no request was completed")
		return r
	}
	b.latencies(r)
	return r
}

// latencies fills in the latencies. TTFT and the request latency begin when a worker sends the
// request, not when it was due: request_targeted_start_delay_avg is the mean of the difference.
//
// GuideLLM's inter_token_latency_ms is (last token - first token) / (tokens - 1) of a request,
// which vLLM calls the time per output token. Its time_per_output_token_ms includes the first
// token, and is left out. Both weigh a request by its tokens.
func (b *guideBenchmark) latencies(r *result) {
	l, m := r.client.LatencySeconds, &b.Metrics
	l.TimeToFirstToken = m.TTFT.distribution(1e-3)
	l.TimePerOutputToken = m.ITL.distribution(1e-3)
	if l.TimePerOutputToken != nil {
		l.TimePerOutputToken.Count = nil
		r.missing("latency_seconds.time_per_output_token.count", "GuideLLM counts tokens here, not requests: it weighs each request by its tokens")
	}
	l.E2ERequestLatency = m.RequestLatency.distribution(1)
	if late := float(b.Scheduler.Lateness); late != nil {
		l.SendLateness = &schema.ClientDistribution{Mean: late}
		r.missing("latency_seconds.send_lateness", "GuideLLM gives only the mean")
	}
	r.missing("latency_seconds.send_lateness", "the report does not have it")
	r.missing("latency_seconds.inter_token_latency", "GuideLLM gives only the mean of each request, which is in time_per_output_token")
	for _, name := range []string{"time_to_first_token", "time_per_output_token"} {
		if _, known := r.why["latency_seconds."+name]; !known && l.TimeToFirstToken == nil {
			r.missing("latency_seconds."+name, "GuideLLM measured none: the endpoint does not stream")
		}
	}
	for _, name := range []string{"time_to_first_token", "time_per_output_token", "e2e_request_latency"} {
		r.missing("latency_seconds."+name+".p99_interval", "GuideLLM does not give one")
	}
}

// distribution returns the distribution over successful requests, times factor; nil if there
// are no observations.
func (s guideStatus) distribution(factor float64) *schema.ClientDistribution {
	d := s.Successful
	if d == nil || !positive(d.Count) || !positive(d.Sum) {
		return nil
	}
	p := d.Percentiles
	return &schema.ClientDistribution{
		Count: count(d.Count), Mean: scaled(d.Mean, factor), Max: scaled(d.Max, factor),
		P50: scaled(p.P50, factor), P90: scaled(p.P90, factor), P95: scaled(p.P95, factor), P99: scaled(p.P99, factor),
	}
}

func (s guideStatus) mean() *schema.Float {
	if s.Successful == nil {
		return nil
	}
	return float(s.Successful.Mean)
}

func (s guideStatus) sum() *int64 {
	if s.Successful == nil {
		return nil
	}
	return count(s.Successful.Sum)
}

func positive(x number) bool { return x != nil && *x > 0 }
