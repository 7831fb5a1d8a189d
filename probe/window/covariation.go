package window

import (
	"math"
	"time"
)

// covariation follows the KV-cache usage of an endpoint's engines together with their running
// requests: each is the sum over the engines.
type covariation struct {
	at                 time.Time // of the last page
	usage, running     float64   // there
	usageArea, runArea float64   // integrals over time
	uu, ur, rr         float64   // sums of the products of their changes, times the squares of the times
	busy               int       // pages with a running request
}

func (c *covariation) add(at time.Time, usage, running float64, restarted bool) {
	if !c.at.IsZero() && !restarted {
		h, du, dr := at.Sub(c.at).Seconds(), usage-c.usage, running-c.running
		c.usageArea += (c.usage + usage) / 2 * h
		c.runArea += (c.running + running) / 2 * h
		c.uu += du * du * h * h
		c.ur += du * dr * h * h
		c.rr += dr * dr * h * h
	}
	if running > 0 {
		c.busy++
	}
	c.at, c.usage, c.running = at, usage, running
}

// UsagePerRequest is the KV-cache usage per running request, as polled.
type UsagePerRequest struct {
	// Ratio is the usage of a cache, added up over engines, divided by the running requests of
	// all of them.
	Ratio float64
	// Error is the standard error of Ratio, as a fraction of it.
	Error float64
	// Busy is the number of polls that found a request running, Engines that of the engines.
	Busy, Engines int
}

// UsagePerRequest returns the ratio of the KV-cache usage to the running requests of a stage's
// engines at some endpoints; ok is false if no poll found both.
func (g *Gauges) UsagePerRequest(stage string, endpoints []int) (u UsagePerRequest, ok bool) {
	var all covariation
	for _, i := range endpoints {
		c := g.covariations[endpointStage{i, stage}]
		if c == nil {
			continue
		}
		all.usageArea += c.usageArea
		all.runArea += c.runArea
		all.uu, all.ur, all.rr = all.uu+c.uu, all.ur+c.ur, all.rr+c.rr
		u.Busy += c.busy
		u.Engines += g.engines(stage, i)
	}
	if all.usageArea <= 0 || all.runArea <= 0 {
		return u, false
	}
	u.Ratio = all.usageArea / all.runArea
	residual := all.uu - 2*u.Ratio*all.ur + u.Ratio*u.Ratio*all.rr
	u.Error = math.Sqrt(max(residual, 0)/2) / all.usageArea
	return u, true
}
