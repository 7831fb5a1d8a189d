package ingest

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/vobs/vobs/schema"
)

// benchServe is `vllm bench serve`, and `vllm bench sweep serve`, which runs it and writes a list
// of its results (vllm/benchmarks/sweep/serve.py run_comb: summary.json). The facts below are
// those of vllm/benchmarks/serve.py at 009e6d4a.
const benchServe = "vllm bench serve"

// benchResult is what main_async of serve.py writes. --append-result puts one object on each
// line. The figures of each request, in seconds, are in it with --save-detailed; latencies and
// queue_times always are since both exist.
type benchResult struct {
	Date             string   `json:"date"` // when it ended, in local time: %Y%m%d-%H%M%S
	Duration         number   `json:"duration"`
	Completed        number   `json:"completed"`
	Failed           number   `json:"failed"` // not in the results of pooling and of old versions
	TotalInput       number   `json:"total_input_tokens"`
	TotalOutput      number   `json:"total_output_tokens"`
	TotalSequences   number   `json:"total_input_sequences"` // of pooling only
	RequestRate      any      `json:"request_rate"`          // a number or "inf"
	RequestPerSecond number   `json:"request_throughput"`
	Goodput          number   `json:"request_goodput"` // null without --goodput
	OutputPerSecond  number   `json:"output_throughput"`
	OutputLens       []number `json:"output_lens"` // 0 for requests that failed
	TTFTs            []number `json:"ttfts"`
	ITLs             []list   `json:"itls"`
	Latencies        []number `json:"latencies"`
	QueueTimes       []number `json:"queue_times"`
	Errors           []string `json:"errors"` // "" for requests that succeeded
}

// list is a list of numbers without nulls, which takes half the memory.
type list []float64

// benchSettings are the settings that a result has of its own. --metadata adds any others:
// these are left out, because they may be private.
var benchSettings = []string{
	"backend", "label", "model_id", "tokenizer_id", "num_prompts", "request_rate", "burstiness",
	"max_concurrency", "ramp_up_strategy", "ramp_up_start_rps", "ramp_up_end_rps",
}

func isBenchServe(o object) bool {
	return o.has("backend", "model_id", "tokenizer_id", "duration", "completed", "total_input_tokens", "request_throughput")
}

func readBenchServe(objects []object, since time.Time) ([]*result, error) {
	var out []*result
	for i, o := range objects {
		if !isBenchServe(o) {
			return nil, fmt.Errorf("result %d of %d is none of %s", i+1, len(objects), benchServe)
		}
		var b benchResult
		if err := json.Unmarshal(o.raw, &b); err != nil {
			return nil, err
		}
		// The last one is of this run: the file has changed since its start. Earlier ones of
		// an appended file need not be.
		if i < len(objects)-1 {
			ended, err := time.ParseInLocation("20060102-150405", b.Date, since.Location())
			if err == nil && ended.Before(since.Truncate(time.Second)) {
				continue
			}
		}
		out = append(out, b.result(o))
	}
	return out, nil
}

func (b *benchResult) result(o object) *result {
	r := newResult(benchServe, "the result does not have it")
	c := r.client
	for _, name := range benchSettings {
		var value any
		if json.Unmarshal(o.keys[name], &value) == nil {
			if v, ok := scalar(value); ok {
				c.Settings[name] = v
			}
		}
	}
	c.Requests.Completed = count(b.Completed)
	c.Requests.Cancelled = schema.Ptr(int64(0)) // it never cancels a request
	if failed := count(b.Failed); failed != nil {
		c.Requests.Failed = map[string]int64{}
		addFailures(c.Requests.Failed, unknownKind, *failed)
		if c.Requests.Completed != nil {
			c.Requests.Started = schema.Ptr(*c.Requests.Completed + *failed)
		}
	}
	r.missing("requests.started", "this version of vllm bench serve does not count failed requests")
	r.missing("requests.failed", "this version of vllm bench serve does not count failed requests")

	// Prompts are counted by the client's tokenizer, output by the server's usage, or by the
	// tokenizer if there is none (calculate_metrics).
	c.Tokens.Prompt, c.Tokens.From = count(b.TotalInput), schema.Ptr(fromTool)
	if b.TotalSequences == nil {
		c.Tokens.Generation = count(b.TotalOutput)
	}
	c.DurationSeconds = float(b.Duration)
	c.Throughput = &schema.ClientThroughput{
		RequestsPerSecond:         float(b.RequestPerSecond),
		PromptTokensPerSecond:     per(c.Tokens.Prompt, b.Duration),
		GenerationTokensPerSecond: float(b.OutputPerSecond),
		Over:                      schema.Ptr("all"),
	}
	if b.TotalSequences != nil {
		r.missing("tokens.generation", "a pooling task generates no tokens")
		r.missing("throughput.generation_tokens_per_second", "a pooling task generates no tokens")
	}
	c.Goodput = float(b.Goodput)
	if c.Goodput != nil {
		r.missing("slo", "the result does not have the targets of --goodput")
	}
	if c.Requests.Completed == nil || *c.Requests.Completed == 0 {
		c.LatencySeconds = nil
		r.missing("latency_seconds", "no request was completed")
		return r
	}
	b.latencies(r, o)
	return r
}

// latencies fills in the latencies. They are in milliseconds, but those of each request, which
// are in seconds. All of them begin when the request was sent, which is inside the semaphore of
// --max-concurrency: the time in which a request waited for its turn is not in them
// (vllm-project/vllm#54101). With a finite rate, client_queue_time is that wait, and
// e2el_including_client_queue has it.
func (b *benchResult) latencies(r *result, o object) {
	l := r.client.LatencySeconds
	openLoop := false
	if rate, ok := b.RequestRate.(float64); ok && !math.IsInf(rate, 0) {
		openLoop = true
	}
	ok := b.succeeded()
	l.TimeToFirstToken = streamed(b.exactly(b.TTFTs, ok), summary(o, "ttft"))
	l.InterTokenLatency = streamed(b.exactITLs(ok), summary(o, "itl"))
	l.TimePerOutputToken = streamed(b.exactTPOTs(ok), summary(o, "tpot"))
	l.E2ERequestLatency = notEmpty(b.exactly(b.Latencies, ok))
	if l.E2ERequestLatency == nil {
		l.E2ERequestLatency = notEmpty(summary(o, "e2el"))
	}
	if openLoop {
		l.SendLateness = notEmpty(b.exactly(b.QueueTimes, ok))
		if l.SendLateness == nil {
			l.SendLateness = notEmpty(summary(o, "client_queue_time"))
		}
		if d := b.exactly(b.sums(), ok); d != nil {
			l.E2ERequestLatency = d
		} else if d := summary(o, "e2el_including_client_queue"); !isEmpty(d) {
			l.E2ERequestLatency = d
		}
	}
	for _, name := range []string{"time_to_first_token", "inter_token_latency", "time_per_output_token"} {
		path := "latency_seconds." + name
		r.missing(path, "vllm bench serve measured none: the endpoint does not stream, or no answer has two tokens")
		b.explain(r, path)
	}
	r.missing("latency_seconds.e2e_request_latency", "not in the result: --percentile-metrics without e2el")
	b.explain(r, "latency_seconds.e2e_request_latency")
	if openLoop {
		r.missing("latency_seconds.send_lateness", "not in the result: a version of vllm bench serve without client_queue_time")
	} else {
		r.missing("latency_seconds.send_lateness", "requests have no intended time without --request-rate")
	}
	b.explain(r, "latency_seconds.send_lateness")
}

// explain adds the reasons for nulls in the distribution at path.
func (b *benchResult) explain(r *result, path string) {
	for _, name := range []string{"p50", "p90", "p95", "p99"} {
		r.missing(path+"."+name, "not in the result: vllm bench serve writes the percentiles of --metric-percentiles, or all with --save-detailed")
	}
	for _, name := range []string{"count", "max"} {
		r.missing(path+"."+name, "in the result only with --save-detailed")
	}
	r.missing(path+".mean", "not in the result")
	r.missing(path+".p99_interval", "vllm bench serve does not give one")
}

// succeeded returns for each request whether it succeeded; nil if that is unknown.
func (b *benchResult) succeeded() []bool {
	n := max(len(b.Latencies), len(b.TTFTs))
	ok, succeeded := make([]bool, n), 0
	for i := range ok {
		if len(b.Errors) == n {
			ok[i] = b.Errors[i] == ""
		} else {
			ok[i] = b.Failed != nil && *b.Failed == 0
		}
		if ok[i] {
			succeeded++
		}
	}
	if b.Completed == nil || float64(succeeded) != *b.Completed {
		return nil
	}
	return ok
}

// exactly returns the distribution of a figure of each request over those that succeeded; nil
// if it is not in the result.
func (b *benchResult) exactly(each []number, ok []bool) *schema.ClientDistribution {
	if ok == nil || len(each) != len(ok) {
		return nil
	}
	var observations []float64
	for i, x := range each {
		if !ok[i] {
			continue
		}
		if x == nil {
			return nil
		}
		observations = append(observations, *x)
	}
	return distribution(observations)
}

func (b *benchResult) exactITLs(ok []bool) *schema.ClientDistribution {
	if ok == nil || len(b.ITLs) != len(ok) {
		return nil
	}
	var observations []float64
	for i, itls := range b.ITLs {
		if ok[i] {
			observations = append(observations, itls...)
		}
	}
	return distribution(observations)
}

// exactTPOTs returns the time per output token after the first, as calculate_metrics defines it.
func (b *benchResult) exactTPOTs(ok []bool) *schema.ClientDistribution {
	if ok == nil || len(b.OutputLens) != len(ok) || len(b.TTFTs) != len(ok) || len(b.Latencies) != len(ok) {
		return nil
	}
	var observations []float64
	for i, n := range b.OutputLens {
		if !ok[i] || n == nil || *n <= 1 {
			continue
		}
		if b.TTFTs[i] == nil || b.Latencies[i] == nil {
			return nil
		}
		observations = append(observations, (*b.Latencies[i]-*b.TTFTs[i])/(*n-1))
	}
	return distribution(observations)
}

// sums returns each request's latency from when it was due: the wait for its turn included.
func (b *benchResult) sums() []number {
	if len(b.QueueTimes) != len(b.Latencies) {
		return nil
	}
	out := make([]number, len(b.Latencies))
	for i, x := range b.Latencies {
		if wait := b.QueueTimes[i]; x != nil && wait != nil {
			out[i] = schema.Ptr(*x + *wait)
		}
	}
	return out
}

// streamed returns exact, or the summary without it. A figure that no request had is 0
// throughout in both (np.mean(values or 0)): then it returns nil.
func streamed(exact, summary *schema.ClientDistribution) *schema.ClientDistribution {
	d := exact
	if isEmpty(d) {
		d = summary
	}
	if isEmpty(d) {
		return nil
	}
	for _, x := range []*schema.Float{d.Mean, d.P50, d.P99, d.Max} {
		if v, ok := x.Value(); ok && v != 0 {
			return d
		}
	}
	return nil
}

// summary returns the summary that process_one_metric writes of a metric, in milliseconds:
// mean_NAME_ms, median_NAME_ms and pP_NAME_ms for each percentile of --metric-percentiles.
func summary(o object, name string) *schema.ClientDistribution {
	ms := func(what string) *schema.Float {
		var x number
		if json.Unmarshal(o.keys[what+"_"+name+"_ms"], &x) != nil {
			return nil
		}
		return scaled(x, 1e-3)
	}
	percentile := func(p int) *schema.Float { return ms("p" + strconv.Itoa(p)) }
	return &schema.ClientDistribution{
		Mean: ms("mean"), P50: ms("median"), P90: percentile(90), P95: percentile(95), P99: percentile(99),
	}
}
