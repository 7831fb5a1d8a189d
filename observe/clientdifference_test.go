package observe

import (
	"math"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

// sameRequests returns the figures of a client and an engine of 100 requests of 10 tokens.
func sameRequests() (*schema.Client, *schema.Engine) {
	client := func(n int64, mean float64) *schema.ClientDistribution {
		return &schema.ClientDistribution{Count: &n, Mean: schema.F(mean)}
	}
	engine := func(n int64, mean float64) *schema.Distribution {
		return &schema.Distribution{Count: n, Sum: schema.Float(mean * float64(n)), Mean: schema.F(mean)}
	}
	return &schema.Client{Tool: "vobs load", Requests: &schema.ClientRequests{Completed: schema.Ptr(int64(100))}, LatencySeconds: &schema.ClientLatency{
			TimeToFirstToken: client(100, 0.050), InterTokenLatency: client(900, 0.010), TimePerOutputToken: client(100, 0.010), E2ERequestLatency: client(100, 0.150),
		}}, &schema.Engine{Roles: []schema.Role{}, LatencySeconds: &schema.Latency{
			TimeToFirstToken: engine(100, 0.047), InterTokenLatency: engine(900, 0.011), TimePerOutputToken: engine(100, 0.010), E2ERequestLatency: engine(100, 0.145),
		}}
}

func TestClientDifference(t *testing.T) {
	type figures [4]float64 // TTFT, ITL, TPOT, E2E; NaN for null
	null := math.NaN()
	all := figures{0.003, -0.001, 0, 0.005}
	for name, c := range map[string]struct {
		change func(*schema.Client, *schema.Engine)
		want   figures
		reason string // a part of the first one
	}{
		"the same requests": {func(*schema.Client, *schema.Engine) {}, all, ""},
		"no latencies":      {func(c *schema.Client, _ *schema.Engine) { c.LatencySeconds = nil }, figures{null, null, null, null}, "vobs load has no latencies"},
		"no engine's":       {func(_ *schema.Client, g *schema.Engine) { g.LatencySeconds = nil }, figures{null, null, null, null}, "the engine's latencies are unknown"},
		"roles":             {func(_ *schema.Client, g *schema.Engine) { g.Roles = make([]schema.Role, 2) }, figures{null, null, null, null}, "passes several servers"},
		"unknown roles":     {func(_ *schema.Client, g *schema.Engine) { g.Roles = nil }, figures{null, null, null, null}, "roles of the servers are unknown"},
		"tokens in one chunk": {func(c *schema.Client, _ *schema.Engine) { *c.LatencySeconds.InterTokenLatency.Count = 890 },
			figures{0.003, null, 0, 0.005}, "vobs load has 890 observations and the engine 900, which has others too: tokens that came in one chunk, or in none, or requests of other clients"},
		"steps of several tokens": {func(_ *schema.Client, g *schema.Engine) { g.LatencySeconds.InterTokenLatency.Count = 300 },
			figures{0.003, null, 0, 0.005}, "other engines, or steps of several tokens, have the rest"},
		"a request of one token": {func(c *schema.Client, _ *schema.Engine) { *c.LatencySeconds.TimePerOutputToken.Count = 99 },
			figures{0.003, -0.001, null, 0.005}, "requests of one token"},
		"a request of another client": {func(_ *schema.Client, g *schema.Engine) { g.LatencySeconds.E2ERequestLatency.Count = 101 },
			figures{0.003, -0.001, 0, null}, "vobs load has 100 observations and the engine 101"},
		"not exported": {func(_ *schema.Client, g *schema.Engine) { g.LatencySeconds.TimeToFirstToken = nil },
			figures{null, -0.001, 0, 0.005}, "the engine did not report it"},
		"not reported": {func(c *schema.Client, _ *schema.Engine) { c.LatencySeconds.TimeToFirstToken = nil },
			figures{null, -0.001, 0, 0.005}, "vobs load did not report it"},
		"without means": {func(c *schema.Client, _ *schema.Engine) { c.LatencySeconds.TimeToFirstToken.Mean = nil },
			figures{null, -0.001, 0, 0.005}, "vobs load did not report the mean"},
		// There is one TTFT, and one E2E latency, of each completed request.
		"without counts": {func(c *schema.Client, _ *schema.Engine) {
			l := c.LatencySeconds
			for _, d := range []*schema.ClientDistribution{l.TimeToFirstToken, l.InterTokenLatency, l.TimePerOutputToken, l.E2ERequestLatency} {
				d.Count = nil
			}
		}, figures{0.003, null, null, 0.005}, "how many observations"},
		"without any counts": {func(c *schema.Client, _ *schema.Engine) {
			c.LatencySeconds.TimeToFirstToken.Count, c.Requests = nil, nil
		}, figures{null, -0.001, 0, 0.005}, "how many observations"},
		"nothing": {func(c *schema.Client, g *schema.Engine) {
			c.LatencySeconds.TimeToFirstToken = &schema.ClientDistribution{Count: schema.Ptr(int64(0))}
		}, figures{null, -0.001, 0, 0.005}, "nothing was observed"},
		// The engine's mean has the warm-up: 20 requests with a TTFT of 0.2 s at the client, 0.197 s at the engine.
		"a warm-up": {func(c *schema.Client, g *schema.Engine) {
			c.Warmup = &schema.ClientWarmup{LatencySeconds: &schema.ClientMeans{TimeToFirstToken: &schema.ClientMean{Count: 20, Mean: 0.2}}}
			g.LatencySeconds.TimeToFirstToken.Count, g.LatencySeconds.TimeToFirstToken.Mean = 120, schema.F((100*0.047+20*0.197)/120)
		}, all, ""},
		"a warm-up that the tool does not count": {func(c *schema.Client, g *schema.Engine) {
			c.Tool, g.LatencySeconds.TimeToFirstToken.Count = "vllm bench serve", 120
		}, figures{null, -0.001, 0, 0.005}, "a warm-up, or requests of other clients"},
	} {
		t.Run(name, func(t *testing.T) {
			client, engine := sameRequests()
			c.change(client, engine)
			var notes schema.Notes
			d := clientDifference(client, engine, &notes)
			got := figures{null, null, null, null}
			if d != nil {
				for i, x := range []*schema.Float{d.TimeToFirstToken, d.InterTokenLatency, d.TimePerOutputToken, d.E2ERequestLatency} {
					if v, ok := x.Value(); ok {
						got[i] = v
					}
				}
			}
			for i := range got {
				if math.IsNaN(got[i]) != math.IsNaN(c.want[i]) || math.Abs(got[i]-c.want[i]) > 1e-12 {
					t.Errorf("%v, want %v", got, c.want)
				}
			}
			switch {
			case c.reason == "" && len(notes.Unavailable) > 0:
				t.Error(notes.Unavailable)
			case c.reason != "" && (len(notes.Unavailable) == 0 || !strings.Contains(notes.Unavailable[0].Reason, c.reason)):
				t.Errorf("%v, want %q", notes.Unavailable, c.reason)
			}
		})
	}
}

func TestClientDifferenceWithoutEngine(t *testing.T) {
	client, _ := sameRequests()
	var notes schema.Notes
	if d := clientDifference(client, nil, &notes); d != nil || len(notes.Unavailable) != 1 || notes.Unavailable[0].Field != "client.engine_difference_seconds" {
		t.Errorf("%v, %v", d, notes.Unavailable)
	}
}
