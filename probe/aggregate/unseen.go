package aggregate

import (
	"fmt"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
)

// minPollsAtWork is how many polls have to see the engine at work for a polled peak to
// describe its work, and minPollsForMean how many for a mean: fewer do not show how much a
// gauge changes.
const (
	minPollsAtWork  = 3
	minPollsForMean = 10
)

// whyUnseen returns why the polls of a gauge do not describe the engines' work, or "".
// Only gauges that every poll requests are meant; if the engines did nothing, so do the
// polls of a few moments.
func (v view) whyUnseen(id metrics.ID) string { return v.whyTooFew(id, minPollsAtWork) }

// whyMeanUnseen is whyUnseen for a mean.
func (v view) whyMeanUnseen(id metrics.ID) string { return v.whyTooFew(id, minPollsForMean) }

func (v view) whyTooFew(id metrics.ID, needed int) string {
	if !id.IsPolled() || !v.worked() {
		return ""
	}
	var polls window.Polls
	for _, e := range v.endpoints {
		if id.IsOmni() || !e.lacksStage(v.stage) {
			n := v.gauges.PollsOf(e.Index)
			polls.AtWork += n.AtWork
			polls.Busy += n.Busy
		}
	}
	switch {
	case polls.AtWork < needed:
		return v.tooFewAtWork(polls.AtWork, needed)
	case polls.Busy == 0:
		return "every poll found the engine without a request, although it worked between them" + v.pollingHint()
	}
	switch id {
	case metrics.RequestsRunning, metrics.KVCacheUsage:
		if why := v.whyPeakRefuted(id, v.combinedGauge(id, ""), v.generated()); why != "" {
			return why + v.pollingHint()
		}
	}
	return ""
}

// tooFewAtWork is the reason if n polls saw the engines at work, and more are needed.
func (v view) tooFewAtWork(n, needed int) string {
	return fmt.Sprintf("%d of the polls saw the engine at work, and %d are needed%s", n, needed, v.pollingHint())
}

// whyPeakRefuted returns why a gauge that shows nothing contradicts the tokens that were
// generated meanwhile, or "".
func (v view) whyPeakRefuted(id metrics.ID, g window.GaugeStats, generated int64) string {
	if !g.PeakKnown || g.Peak > 0 || generated <= 0 {
		return ""
	}
	return fmt.Sprintf("every poll found 0 for %s, although %d tokens were generated", id.CanonicalName(), generated)
}

// generated returns how many tokens were generated; 0 if that is unknown.
func (v view) generated() int64 {
	n, _ := v.counter(metrics.GenerationTokens)
	return n
}

// fullCache is the usage that a poll shows at least if it saw the cache full: a request is
// preempted only if no KV block is free for it.
// Source: Scheduler.schedule in vllm/v1/core/sched/scheduler.py.
const fullCache = 0.9

// whyNeverFull returns why the highest polled usage of the KV cache cannot be its peak, or
// "": there were preemptions, for which the cache has to be full.
func (v view) whyNeverFull(peak float64) string {
	if n, why := v.counter(metrics.Preemptions); why == "" && n > 0 && peak < fullCache {
		return fmt.Sprintf("the highest poll found a usage of %.3g, but the cache must have been full for %d preemptions: the polls missed that%s", peak, n, v.pollingHint())
	}
	return ""
}

// whyInstanceUnseen is whyUnseen for the gauge of one engine with these counts.
func (v view) whyInstanceUnseen(e *endpoint, id metrics.ID, g window.GaugeStats, counts map[metrics.ID]int64) string {
	finished, generated := counts[metrics.RequestSuccess], counts[metrics.GenerationTokens]
	if finished == 0 && generated == 0 && counts[metrics.PromptTokens] == 0 {
		return ""
	}
	if n := v.gauges.PollsOf(e.Index).AtWork; n < minPollsAtWork {
		return v.tooFewAtWork(n, minPollsAtWork)
	}
	if why := v.whyPeakRefuted(id, g, generated); why != "" {
		return why + v.pollingHint()
	}
	if id == metrics.KVCacheUsage && len(v.gaugesOf(id)) == 1 {
		return v.whyNeverFull(g.Peak)
	}
	return ""
}

// gaugesOf returns the stage's gauges of a metric: those of each engine.
func (v view) gaugesOf(id metrics.ID) (keys []window.GaugeKey) {
	for k := range v.gauges.Keys(id) {
		if k.Engine.Stage == v.stage {
			keys = append(keys, k)
		}
	}
	return keys
}

// worked reports whether the engines did anything in the window that counters show.
func (v view) worked() bool {
	for _, e := range v.endpoints {
		if e.Counters.Tokens > 0 {
			return true
		}
		for _, m := range e.Counters.Metrics() {
			switch m.Desc.Metric() {
			case metrics.RequestSuccess, metrics.OmniSuccess, metrics.OmniOldSuccess:
				if m.Moved() {
					return true
				}
			}
		}
	}
	return false
}

// pollingHint returns how to poll an engine more often, or "" if that would not help: the
// files of an engine that the command starts are read 20 times a second.
func (v view) pollingHint() string {
	for _, e := range v.endpoints {
		if e.Files || e.GaugesFromFiles || !e.Local || e.Base != BaseZero {
			return ""
		}
	}
	return "; with --multiproc on, its metrics are read from files, 20 times a second"
}
