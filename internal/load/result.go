package load

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/slo"
	"github.com/vobs/vobs/schema"
)

const (
	// lateSeconds and lateShare are what the 99th percentile of send_lateness must exceed for
	// the note client_late: a time, and a share of the median time to first token.
	lateSeconds = 0.002
	lateShare   = 0.05
	// fewRequests is how many completed requests a 99th percentile needs not to be nearly the
	// highest of them.
	fewRequests = 100
	// Throughput is over the steady part of the run if that has so many completed requests,
	// and lasts so many times as long as a request.
	steadyRequests = 10
	steadyLengths  = 2
)

const latencyPath = "client.latency_seconds."

// Reasons for nulls.
const (
	noUsage         = "the server sends no usage"
	nothingObserved = "nothing was observed"
	notObserved     = "the engine was not read: vobs load --observe reads it, or vobs run --ingest"
)

// latency is one of the distributions of a result.
type latency struct {
	key, title string
	d          *schema.ClientDistribution
}

func latencies(c *schema.Client) []latency {
	l := c.LatencySeconds
	return []latency{
		{"time_to_first_token", "time to first token", l.TimeToFirstToken},
		{"inter_token_latency", "inter-token latency", l.InterTokenLatency},
		{"time_per_output_token", "time per output token", l.TimePerOutputToken},
		{"e2e_request_latency", "E2E request latency", l.E2ERequestLatency},
		{"send_lateness", "send lateness", l.SendLateness},
	}
}

// Result is what a run measured.
type Result struct {
	Client *schema.Client
	// Notes are doubts about it.
	Notes schema.Notes
	// Failures has the message of the first failure of each kind.
	Failures map[string]string
	// Interrupted reports whether the run was ended early.
	Interrupted bool
	// Exhausted reports whether the run ended because its dataset did.
	Exhausted bool
}

// collector takes up requests as they end.
type collector struct {
	mu         sync.Mutex
	requests   []*Request
	gaps       *gapHistogram // of completed requests after the warm-up
	warmupGaps timeSum       // of completed requests of the warm-up
	failures   map[string]string
	done       func(*Request)

	running, completed, failed int64
	recent                     int64 // completed since the last status
	recentTTFT                 time.Duration
}

func (c *collector) begin() {
	c.mu.Lock()
	c.running++
	c.mu.Unlock()
}

func (c *collector) end(r *Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	switch {
	case r.completed():
		c.completed++
		c.recent++
		c.recentTTFT += max(0, r.First-r.Intended) // First is 0 without a token
		if r.Warmup {
			c.warmupGaps.add(r.gaps)
		} else {
			c.gaps.add(r.gaps)
		}
	case !r.Cancelled:
		c.failed++
		if _, known := c.failures[r.Failure]; !known {
			if c.failures == nil {
				c.failures = map[string]string{}
			}
			c.failures[r.Failure] = r.Message
		}
	}
	r.gaps = nil
	c.requests = append(c.requests, r)
	if c.done != nil {
		c.done(r)
	}
}

// status returns the counts, and starts the next interval.
func (c *collector) status(interval time.Duration) Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Running: c.running, Completed: c.completed, Failed: c.failed, Rate: float64(c.recent) / interval.Seconds()}
	if c.recent > 0 {
		s.TTFT = c.recentTTFT / time.Duration(c.recent)
	}
	c.recent, c.recentTTFT = 0, 0
	return s
}

// result sums the run up.
func (c *collector) result(o *Options, model string) *Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	result := &Result{Failures: c.failures}
	counted, warmup := newTally(), newTally()
	for _, r := range c.requests {
		if r.Warmup {
			warmup.add(r)
		} else {
			counted.add(r)
		}
	}
	tokens := counted.tokens(o.Endpoint)
	if tokens.Prompt == nil {
		result.Notes.Missing("client.tokens.prompt", noUsage)
		result.Notes.Missing("client.throughput.prompt_tokens_per_second", noUsage)
	}
	distributions := &schema.ClientLatency{
		TimeToFirstToken: exact(counted.ttft), InterTokenLatency: c.gaps.distribution(), TimePerOutputToken: exact(counted.perToken),
		E2ERequestLatency: exact(counted.e2e), SendLateness: exact(counted.late),
	}
	client := &schema.Client{
		Tool: "vobs load", Requests: counted.requests(), Tokens: tokens, LatencySeconds: distributions,
		Warmup: warmup.warmup(o.Endpoint, c.warmupGaps, &result.Notes), Settings: o.Settings,
	}
	client.FillLists()
	client.Settings["model"] = model
	if len(o.SLO) > 0 {
		var targets []string
		for _, target := range o.SLO {
			target.Percentile = slo.DefaultPercentile // each request counts
			targets = append(targets, target.String())
		}
		client.SLO = schema.Ptr(strings.Join(targets, ","))
	}
	if counted.started > 0 {
		client.DurationSeconds = schema.F((counted.last - counted.first).Seconds())
		c.throughput(o, client, tokens.Prompt != nil, counted.first, counted.last)
	}
	result.Client = client
	result.doubts()
	result.missing()
	return result
}

// throughput sets the rates: over the steady part of the run, if it is long enough.
//
// The steady part begins when the load is at its level and the first counted request has been
// answered, and ends when the last one is sent, or when the first one was sent that the end of
// the run cut short. A request counts there with the share of its
// time that lies in it: if requests end in waves, as those of a closed loop do, the number that
// ended would depend on where the part begins.
func (c *collector) throughput(o *Options, client *schema.Client, hasPrompt bool, first, last time.Duration) {
	from, to, cut := time.Duration(math.MaxInt64), time.Duration(0), time.Duration(math.MaxInt64)
	for _, r := range c.requests {
		if r.Warmup {
			continue
		}
		to = max(to, r.Sent)
		switch {
		case r.completed():
			from = min(from, r.End)
		case r.Cancelled && r.plan.cancelAfter < 0: // by the end of the run: how long it would have taken is unknown
			cut = min(cut, r.Intended)
		}
	}
	from, to = max(from, o.Ramp), min(to, cut)
	over := "steady"
	rates := c.count(o, client, from, to, true)
	e2e, _ := client.LatencySeconds.E2ERequestLatency.Mean.Value()
	if rates.requests < steadyRequests || rates.seconds < steadyLengths*e2e {
		over = "all"
		rates = c.count(o, client, first, last, false)
	}
	if rates.seconds <= 0 {
		return
	}
	client.Throughput = &schema.ClientThroughput{
		RequestsPerSecond:         schema.F(rates.requests / rates.seconds),
		GenerationTokensPerSecond: schema.F(rates.generation / rates.seconds),
		Over:                      &over,
	}
	if hasPrompt {
		client.Throughput.PromptTokensPerSecond = schema.F(rates.prompt / rates.seconds)
	}
	if client.SLO != nil {
		client.Goodput = schema.F(rates.good / rates.seconds)
	}
}

// counts are what was completed in a time.
type counts struct {
	seconds                            float64
	requests, good, prompt, generation float64
}

// count counts the completed requests: all that were counted, or if shares is set, the shares
// of all requests that lie between from and to.
func (c *collector) count(o *Options, client *schema.Client, from, to time.Duration, shares bool) counts {
	n := counts{seconds: (to - from).Seconds()}
	tokens := (*Request).tokens
	if *client.Tokens.From == "chunks" {
		tokens = func(r *Request) int64 { return r.Chunks }
	}
	for _, r := range c.requests {
		if !r.completed() || r.Warmup && !shares {
			continue
		}
		share := 1.0
		if whole := r.End - r.Intended; shares && whole > 0 {
			inside := min(r.End, to) - max(r.Intended, from)
			share = max(0, inside.Seconds()) / whole.Seconds()
		}
		n.requests += share
		n.generation += share * float64(tokens(r))
		if r.HasUsage {
			n.prompt += share * float64(r.Prompt)
		} else {
			n.prompt += share * float64(r.plan.prompt)
		}
		if meets(r, o.SLO) {
			n.good += share
		}
	}
	return n
}

// meets reports whether a completed request meets all targets.
func meets(r *Request, targets []slo.Objective) bool {
	for _, target := range targets {
		if r.Latency(target.Metric) > target.Seconds {
			return false
		}
	}
	return true
}

// Latency returns a latency of a request that ended, in seconds: +Inf if it was not completed.
// That for a target of itl is its time per output token.
func (r *Request) Latency(metric slo.Metric) float64 {
	x := r.End - r.Intended
	switch {
	case !r.completed():
		return math.Inf(1)
	case metric == slo.TTFT:
		x = r.First - r.Intended
	case metric == slo.ITL:
		x, _ = r.perToken()
	}
	return x.Seconds()
}

// missing explains what is null.
func (r *Result) missing() {
	for _, l := range latencies(r.Client) {
		if *l.d.Count == 0 {
			r.Notes.Missing(latencyPath+l.key, nothingObserved)
		}
	}
	r.Notes.Missing(latencyPath+"inter_token_latency.p99_interval", "times between the chunks of one stream are not independent of each other")
	r.Notes.Missing("client.engine_difference_seconds", notObserved)
	if r.Client.DurationSeconds == nil {
		r.Notes.Missing("client.duration_seconds", "no request was sent")
	}
	if r.Client.Throughput == nil {
		r.Notes.Missing("client.throughput", "no time has passed")
	}
}

// doubts notes what casts doubt on the figures.
func (r *Result) doubts() {
	l := r.Client.LatencySeconds
	late, _ := l.SendLateness.P99.Value()
	median, ok := l.TimeToFirstToken.P50.Value()
	if ok && late > lateSeconds && late > lateShare*median {
		r.Notes.Doubt(schema.CodeClientLate, schema.Warning,
			fmt.Sprintf("1 %% of the requests were sent more than %.1f ms late: the client, not the server, may be the bottleneck", 1000*late),
			&schema.Evidence{Field: "client.latency_seconds.send_lateness.p99", Value: late, Threshold: max(lateSeconds, lateShare*median)})
	}
	if n := *r.Client.Requests.Completed; n > 0 && n < fewRequests {
		r.Notes.Doubt(schema.CodeFewRequests, schema.Info,
			fmt.Sprintf("the 99th percentiles rest on %d requests: each is nearly the highest of them", n),
			&schema.Evidence{Field: "client.requests.completed", Value: n, Threshold: fewRequests})
	}
}
