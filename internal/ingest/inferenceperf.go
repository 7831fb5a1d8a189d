package ingest

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/vobs/vobs/schema"
)

// inferencePerf is inference-perf's stage_N_lifecycle_metrics.json or
// summary_lifecycle_metrics.json (inference_perf/reportgen/base.py summarize_requests at
// 7de5ef2e, 0.7; versions of 2025 have less).
const inferencePerf = "inference-perf"

// perfReport is base.py's ResponsesSummary. Times are in seconds.
type perfReport struct {
	Duration number `json:"benchmark_time_seconds"` // since 2026
	Load     struct {
		Count         number       `json:"count"`
		Delay         *perfSummary `json:"schedule_delay"`
		RequestedRate number       `json:"requested_rate"`
		AchievedRate  number       `json:"achieved_rate"`
		Concurrency   number       `json:"concurrency"`
	} `json:"load_summary"`
	Successes struct {
		Count   number `json:"count"`
		Latency struct {
			Request *perfSummary `json:"request_latency"`
			TTFT    *perfSummary `json:"time_to_first_token"`
			TPOT    *perfSummary `json:"time_per_output_token"`
			ITL     *perfSummary `json:"inter_token_latency"`
		} `json:"latency"`
		Throughput struct {
			Input    number `json:"input_tokens_per_sec"`
			Output   number `json:"output_tokens_per_sec"`
			Requests number `json:"requests_per_sec"`
		} `json:"throughput"`
		// Totals of the server's usage, or of the tokenizer where there is none.
		PromptTokens *perfSummary `json:"prompt_tokens"`
		OutputTokens *perfSummary `json:"output_tokens"`
		// Before those: tokens of each request by the tokenizer.
		PromptLen *perfSummary `json:"prompt_len"`
		OutputLen *perfSummary `json:"output_len"`
		Goodput   struct {
			Requests number `json:"request_goodput"`
		} `json:"goodput_metrics"`
	} `json:"successes"`
	Failures struct {
		Count   number `json:"count"`
		ByLabel map[string]struct {
			Count number `json:"count"`
		} `json:"by_label"`
	} `json:"failures"`
}

// perfSummary is what summarize returns: percentiles as NumPy computes them.
type perfSummary struct {
	Total  number `json:"total"`
	Mean   number `json:"mean"`
	Min    number `json:"min"`
	Median number `json:"median"`
	P90    number `json:"p90"`
	P95    number `json:"p95"`
	P99    number `json:"p99"`
	Max    number `json:"max"`
}

func isInferencePerf(o object) bool { return o.has("load_summary", "successes", "failures") }

func readInferencePerf(raw json.RawMessage) (*result, error) {
	var report perfReport
	if err := json.Unmarshal(raw, &report); err != nil {
		return nil, err
	}
	r := newResult(inferencePerf, "the report does not have it")
	c, s := r.client, &report.Successes
	for name, x := range map[string]number{
		"requested_rate": report.Load.RequestedRate, "achieved_rate": report.Load.AchievedRate, "concurrency": report.Load.Concurrency,
	} {
		if f := float(x); f != nil {
			c.Settings[name] = float64(*f)
		}
	}
	c.Requests.Started, c.Requests.Completed = count(report.Load.Count), count(s.Count)
	if failed := count(report.Failures.Count); failed != nil {
		c.Requests.Failed = map[string]int64{}
		known := int64(0)
		for _, label := range slices.Sorted(maps.Keys(report.Failures.ByLabel)) {
			if n := count(report.Failures.ByLabel[label].Count); n != nil {
				addFailures(c.Requests.Failed, label, *n)
				known += *n
			}
		}
		addFailures(c.Requests.Failed, unknownKind, *failed-known)
	}
	r.missing("requests.cancelled", "inference-perf counts cancelled requests as failures")
	report.tokens(r)
	c.DurationSeconds = float(report.Duration)
	r.missing("duration_seconds", "not in reports of this version of inference-perf")
	c.Throughput = &schema.ClientThroughput{
		RequestsPerSecond:         float(s.Throughput.Requests),
		PromptTokensPerSecond:     float(s.Throughput.Input),
		GenerationTokensPerSecond: float(s.Throughput.Output),
		Over:                      schema.Ptr("all"),
	}
	if c.Goodput = float(s.Goodput.Requests); c.Goodput != nil {
		r.missing("slo", "the report does not have the constraints of goodput, which are in config.yaml")
	}
	report.latencies(r)
	return r, nil
}

func (p *perfReport) tokens(r *result) {
	tokens, s := r.client.Tokens, &p.Successes
	if s.PromptTokens != nil && s.OutputTokens != nil {
		tokens.Prompt, tokens.Generation, tokens.From = count(s.PromptTokens.Total), count(s.OutputTokens.Total), schema.Ptr(fromTool)
		return
	}
	n := s.Count
	if n == nil {
		return
	}
	tokens.From = schema.Ptr(fromTokenizer)
	for _, t := range []struct {
		to   **int64
		from *perfSummary
	}{{&tokens.Prompt, s.PromptLen}, {&tokens.Generation, s.OutputLen}} {
		switch {
		case t.from != nil && t.from.Mean != nil:
			*t.to = nearest(*t.from.Mean * *n)
		case *n == 0:
			*t.to = schema.Ptr(int64(0))
		}
	}
}

// latencies fills in the latencies. They begin when the request is sent (start_time), and
// schedule_delay is the time from when it was due until then. The inter-token latency gives
// all tokens of a chunk the chunk's time, so that those between them are 0.
func (p *perfReport) latencies(r *result) {
	l, latency := r.client.LatencySeconds, &p.Successes.Latency
	completed := count(p.Successes.Count)
	if completed == nil || *completed == 0 {
		const why = "no request was completed"
		r.missing("latency_seconds.time_to_first_token", why)
		r.missing("latency_seconds.inter_token_latency", why)
		r.missing("latency_seconds.time_per_output_token", why)
		r.missing("latency_seconds.e2e_request_latency", why)
	}
	l.TimeToFirstToken, l.InterTokenLatency = latency.TTFT.distribution(), latency.ITL.distribution()
	l.TimePerOutputToken = latency.TPOT.distribution()
	if l.E2ERequestLatency = latency.Request.distribution(); l.E2ERequestLatency != nil {
		l.E2ERequestLatency.Count = completed
	}
	// A request may be sent a little early: it is late by 0 s then.
	if d := p.Load.Delay; d != nil {
		early := d.Min == nil || *d.Min < 0
		for _, x := range []*number{&d.Median, &d.P90, &d.P95, &d.P99, &d.Max} {
			if *x != nil {
				*x = schema.Ptr(max(0, **x))
			}
		}
		if early {
			d.Mean = nil
			r.missing("latency_seconds.send_lateness.mean", "some requests were sent early, which the mean of inference-perf includes")
		}
		if l.SendLateness = d.distribution(); l.SendLateness != nil {
			l.SendLateness.Count = count(p.Load.Count)
		}
	}
	for _, name := range []string{"time_to_first_token", "inter_token_latency", "time_per_output_token"} {
		r.missing("latency_seconds."+name, "inference-perf measured none: the endpoint does not stream, or no answer has two tokens")
	}
	for _, name := range []string{"time_to_first_token", "inter_token_latency", "time_per_output_token", "e2e_request_latency", "send_lateness"} {
		path := "latency_seconds." + name
		r.missing(path+".count", "inference-perf does not count these observations")
		for _, p := range []int{50, 90, 95, 99} {
			r.missing(path+".p"+strconv.Itoa(p), "not among the percentiles of inference-perf's configuration")
		}
		r.missing(path+".p99_interval", "inference-perf does not give one")
	}
}

// distribution returns a summary without its count; nil if there is none.
func (s *perfSummary) distribution() *schema.ClientDistribution {
	if s == nil {
		return nil
	}
	return notEmpty(&schema.ClientDistribution{
		Mean: float(s.Mean), P50: float(s.Median), P90: float(s.P90), P95: float(s.P95), P99: float(s.P99), Max: float(s.Max),
	})
}
