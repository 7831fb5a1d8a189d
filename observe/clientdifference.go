package observe

import (
	"fmt"

	"github.com/vobs/vobs/schema"
)

const differencePath = "client.engine_difference_seconds"

// clientDifference returns the load generator's mean latencies less the engine's. Means are
// exact on both sides, but they can be subtracted only if both are of the same requests: that is
// taken to be so if both have as many observations. The engine's include the warm-up.
func clientDifference(c *schema.Client, g *schema.Engine, notes *schema.Notes) *schema.ClientDifference {
	why := ""
	switch {
	case c.LatencySeconds == nil:
		why = c.Tool + " has no latencies"
	case g == nil || g.LatencySeconds == nil:
		why = "the engine's latencies are unknown"
	case g.Roles == nil:
		why = "the roles of the servers are unknown: a request may pass several of them, of which each counts its own time"
	case len(g.Roles) > 0:
		why = "a request passes several servers, of which each counts its own time"
	}
	if why != "" {
		notes.Missing(differencePath, why)
		return nil
	}
	completed := (*int64)(nil)
	if c.Requests != nil {
		completed = c.Requests.Completed
	}
	warmup := &schema.ClientMeans{}
	if c.Warmup != nil && c.Warmup.LatencySeconds != nil {
		warmup = c.Warmup.LatencySeconds
	}
	orOthers := ", or requests of other clients"
	if c.Tool != "vobs load" { // which reports its warm-up
		orOthers = ", a warm-up" + orOthers
	}
	difference := &schema.ClientDifference{}
	l, e := c.LatencySeconds, g.LatencySeconds
	for _, x := range []struct {
		key    string
		client *schema.ClientDistribution
		// requests is the number of observations if the tool does not report it: nil if there is
		// not one of each completed request.
		requests *int64
		warmup   *schema.ClientMean
		engine   *schema.Distribution
		to       **schema.Float
		others   string // why the engine may have more observations
	}{
		{"time_to_first_token", l.TimeToFirstToken, completed, warmup.TimeToFirstToken, e.TimeToFirstToken, &difference.TimeToFirstToken, "the first tokens of requests that were not completed"},
		{"inter_token_latency", l.InterTokenLatency, nil, warmup.InterTokenLatency, e.InterTokenLatency, &difference.InterTokenLatency, "tokens that came in one chunk, or in none"},
		{"time_per_output_token", l.TimePerOutputToken, nil, warmup.TimePerOutputToken, e.TimePerOutputToken, &difference.TimePerOutputToken, "requests of one token"},
		{"e2e_request_latency", l.E2ERequestLatency, completed, warmup.E2ERequestLatency, e.E2ERequestLatency, &difference.E2ERequestLatency, "requests that the client gave up"},
	} {
		count, mean, why := clientMean(c.Tool, x.client, x.requests, x.warmup)
		switch {
		case why != "":
		case x.engine == nil || x.engine.Mean == nil:
			why = "the engine did not report it"
		case count < x.engine.Count:
			why = fmt.Sprintf("%s has %d observations and the engine %d, which has others too: %s%s", c.Tool, count, x.engine.Count, x.others, orOthers)
		case count > x.engine.Count:
			why = fmt.Sprintf("%s has %d observations and the engine %d: other engines, or steps of several tokens, have the rest", c.Tool, count, x.engine.Count)
		default:
			*x.to = schema.F(mean - float64(*x.engine.Mean))
			continue
		}
		notes.Missing(differencePath+"."+x.key, why)
	}
	return difference
}

// clientMean returns the number of a load generator's observations and their mean, with the
// warm-up's; or why they are unknown.
func clientMean(tool string, d *schema.ClientDistribution, requests *int64, warmup *schema.ClientMean) (count int64, mean float64, why string) {
	if d == nil {
		return 0, 0, tool + " did not report it"
	}
	mean, known := d.Mean.Value()
	switch n := d.Count; {
	case n != nil && *n == 0:
	case !known:
		return 0, 0, tool + " did not report the mean"
	case n != nil:
		count = *n
	case requests != nil:
		count = *requests
	default:
		return 0, 0, tool + " did not report how many observations it has"
	}
	sum := mean * float64(count)
	if warmup != nil {
		count += warmup.Count
		sum += float64(warmup.Mean) * float64(warmup.Count)
	}
	if count == 0 {
		return 0, 0, "nothing was observed"
	}
	return count, sum / float64(count), ""
}
