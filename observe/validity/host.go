package validity

import (
	"fmt"
	"time"

	"github.com/vobs/vobs/schema"
)

const (
	// busyShare is the share of the host's CPUs that others may use.
	busyShare = 0.1
	// stealShare is the share of the CPUs' time that the hypervisor may take.
	stealShare = 0.01
	// minCPUWindow is the shortest time over which the use of the CPUs is judged: the kernel
	// counts it in ticks of 10 ms.
	minCPUWindow = time.Second

	// minClockJump is how far the wall clock may depart from the monotonic one, and
	// maxSlew at what rate: the kernel corrects a clock by 500 ppm at most (adjtimex(2)).
	minClockJump = time.Second
	maxSlew      = 500e-6

	// sparseRatio is how many periods may pass without a sample. minSparseGap is the shortest
	// gap that is noted: to stay within its budget, vobs itself waits for up to 4 s.
	sparseRatio  = 10
	minSparseGap = 5
)

// busyHost notes that others used the host's CPUs.
func busyHost(in Input, n *schema.Notes) {
	c := in.CPU
	if c == nil || c.Count <= 0 || c.Elapsed < minCPUWindow {
		return
	}
	total := float64(c.Count) * c.Elapsed.Seconds()
	if others := (c.Busy - c.Own - c.Uncertain).Seconds() / total; others > busyShare {
		n.Doubt(schema.CodeBusyHost, schema.Warning,
			fmt.Sprintf("processes other than the command's and the engine's used at least %.0f %% of the host's CPUs (%d)", 100*others, c.Count),
			&schema.Evidence{Field: "host", Value: schema.Float(others), Threshold: schema.Float(busyShare)})
	}
	if steal := c.Steal.Seconds() / total; steal > stealShare {
		n.Doubt(schema.CodeBusyHost, schema.Warning,
			fmt.Sprintf("the hypervisor took %.1f %% of the host's CPU time for other guests (steal)", 100*steal),
			&schema.Evidence{Field: "host", Value: schema.Float(steal), Threshold: schema.Float(stealShare)})
	}
}

// clockJump notes that the wall clock was set.
func clockJump(in Input, n *schema.Notes) {
	jump := in.ClockJump
	limit := minClockJump + time.Duration(maxSlew*float64(in.Event.Run.DurationSeconds)*float64(time.Second))
	if jump.Abs() <= limit {
		return
	}
	direction := "forward"
	if jump < 0 {
		direction = "back"
	}
	n.Doubt(schema.CodeClockJump, schema.Info,
		fmt.Sprintf("the wall clock went %s by %.1f s during the run (it was set, or the host was suspended): durations are not affected", direction, jump.Abs().Seconds()),
		&schema.Evidence{Field: "run.ended_at", Value: schema.Float(jump.Seconds()), Threshold: schema.Float(limit.Seconds())})
}

// sparseSamples notes long gaps between readings.
func sparseSamples(in Input, n *schema.Notes) {
	note := func(what, field string, period, gap *schema.Float) {
		if period == nil || gap == nil || *gap < minSparseGap || *gap <= sparseRatio**period {
			return
		}
		n.Doubt(schema.CodeSparseSamples, schema.Info,
			fmt.Sprintf("%s was not sampled for %.1f s, although otherwise every %.3g s: what happened meanwhile is in no peak or mean", what, float64(*gap), float64(*period)),
			&schema.Evidence{Field: field + ".max_gap_seconds", Value: *gap, Threshold: max(minSparseGap, sparseRatio**period)})
	}
	for i := range in.Event.GPUs {
		g := &in.Event.GPUs[i]
		if s := g.Sampling; s != nil {
			note(fmt.Sprintf("GPU %d's memory", g.Index), fmt.Sprintf("gpus.%d.sampling", i), s.PeriodSeconds, s.MaxGapSeconds)
		}
	}
	if h := in.Event.Host; h != nil && h.Sampling != nil {
		note("the process tree", "host.sampling", h.Sampling.PeriodSeconds, h.Sampling.MaxGapSeconds)
	}
	// An engine that restarts cannot be sampled meanwhile.
	if e := in.Event.Engine; e != nil && e.Scrapes != nil && (e.Window == nil || e.Window.Resets == 0) {
		note("the engine", "engine.scrapes", e.Scrapes.PeriodSeconds, e.Scrapes.MaxGapSeconds)
	}
}
