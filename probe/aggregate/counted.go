package aggregate

import (
	"fmt"
	"math"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
)

// countedMean is what the engine's histograms prove of the mean number of requests in one
// state over the window: exactly high, or between low and high.
type countedMean struct {
	low, high float64
	exact     bool
}

// countedMean returns the mean number of running or waiting requests over the window by
// Little's law: the time that requests spent in that state, divided by the length of the
// window. The histograms have a request's time once it has finished, so the law holds only
// if no request was under way at either end, and if every request was recorded.
//
// vLLM's inference time is from a request's first scheduling to its last token, and its
// queue time from its arrival to the first scheduling: with preemptions, the inference
// time has the waits for the next scheduling too.
// Source: update_from_finished_request and update_from_events in vllm/v1/metrics/stats.py.
func (v view) countedMean(id metrics.ID) (mean countedMean, why string) {
	seconds := float64(v.Engine.Window.DurationSeconds)
	if seconds <= 0 {
		return mean, emptyWindow
	}
	for _, e := range v.endpoints {
		if e.Counters.Naming != metrics.Native {
			return mean, "a collector delays the metrics"
		}
		if e.Partial != nil {
			return mean, "some of the engine's metrics are missing"
		}
	}
	switch lost, why := v.unaccounted(); {
	case why != "":
		return mean, why
	case lost > 0:
		return mean, fmt.Sprintf("%d requests left without being recorded", lost)
	}
	preemptions, why := v.counter(metrics.Preemptions)
	if why != "" {
		return mean, why
	}
	running, why := v.timeIn(metrics.InferenceTime)
	if why != "" {
		return mean, why
	}
	waiting, why := v.timeIn(metrics.QueueTime)
	if why != "" {
		return mean, why
	}
	switch {
	case preemptions == 0 && id == metrics.RequestsRunning:
		return countedMean{running / seconds, running / seconds, true}, ""
	case preemptions == 0:
		return countedMean{waiting / seconds, waiting / seconds, true}, ""
	case id == metrics.RequestsRunning:
		return countedMean{0, running / seconds, false}, ""
	}
	return countedMean{waiting / seconds, (waiting + running) / seconds, false}, ""
}

// timeIn returns the sum of a histogram that has a time of every finished request.
func (v view) timeIn(id metrics.ID) (seconds float64, why string) {
	found, why := v.metricsOf(id)
	if why != "" {
		return 0, why
	}
	finished, why := v.counter(metrics.RequestSuccess)
	if why != "" {
		return 0, why
	}
	h := window.MergeHistograms(found)
	if h.Count != float64(finished) {
		return 0, fmt.Sprintf("%s has %.0f of %d finished requests", id.CanonicalName(), h.Count, finished)
	}
	return h.Sum, ""
}

// unaccounted returns how many requests at least left the engine without being counted as
// finished: vLLM counts aborted requests nowhere (seen on 0.32.0), but the time to the
// first token of those that had one. If requests were under way at an end of the window,
// nothing follows.
func (v view) unaccounted() (n int64, why string) {
	if why := v.whyNotIdleAtEnds(); why != "" {
		return 0, why
	}
	found, why := v.metricsOf(metrics.TimeToFirstToken)
	if why == "" && len(found) == 0 {
		why = "the engine has no sample of " + metrics.TimeToFirstToken.CanonicalName()
	}
	if why != "" {
		return 0, why
	}
	finished, why := v.counter(metrics.RequestSuccess)
	if why != "" {
		return 0, why
	}
	first := window.MergeHistograms(found).Count
	if first < float64(finished) {
		return 0, fmt.Sprintf("more requests finished (%d) than had a first token (%.0f)", finished, first)
	}
	return int64(math.Round(first)) - finished, ""
}

// whyNotIdleAtEnds returns why requests may have been under way at an end of the window, or
// been lost with a process inside it; "" if not.
func (v view) whyNotIdleAtEnds() string {
	for _, e := range v.endpoints {
		switch {
		case e.lacksStage(v.stage):
		case e.Counters.Resets > 0:
			return "the engine's counters restarted inside the window"
		case !e.AtBase.Known, !e.AtFull.Known:
			return "it is unknown whether the engine was idle at both ends of the window"
		case !e.AtBase.Idle():
			return "the engine was not idle when the window began: requests from before it finished inside"
		case !e.AtFull.Idle():
			return "the engine was not idle when the window ended: requests were still under way"
		}
	}
	return ""
}
