package aggregate

import (
	"fmt"
	"math"
	"slices"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
)

// countedMean is what the engine's histograms prove of the mean number of requests in one
// state over the window: it lies between low and high, which is infinite if nothing is proven.
type countedMean struct {
	low, high float64
	// method is how mean was obtained, as the event names it; "" if it is unknown. err is its
	// standard error, 0 if it is exact.
	method    string
	mean, err float64
	// missed is why the polls cannot have seen the engines' work, or "".
	missed string
}

// bounds describes the interval of the mean.
func (m countedMean) bounds() string {
	if math.IsInf(m.high, 1) {
		return fmt.Sprintf("at least %.3g", m.low)
	}
	return fmt.Sprintf("between %.3g and %.3g", m.low, m.high)
}

// polledTolerance is by how much, as a factor, a polled mean may miss what the counters
// prove to be taken for the nearer bound.
const polledTolerance = 1.1

// maxError is the largest standard error of an estimated mean, as a fraction of it: it is then
// within a tenth of the true one, most likely.
const maxError = 0.06

// isPrecise reports whether an estimate with this standard error is near enough to the truth.
func isPrecise(mean, err float64) bool { return err <= maxError*mean }

// The methods of a mean number of requests.
const (
	littlesLaw          = "littles_law"
	littlesLawWithPolls = "littles_law_with_polls"
	polled              = "polled"
)

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
		switch {
		case e.Counters.Naming != metrics.Native:
			return mean, "a collector delays the metrics"
		case e.Partial != nil:
			return mean, "some of the engine's metrics are missing"
		case e.lacksStage(v.stage):
		case !e.AtBase.Idle():
			return mean, "the engine was not idle when the window began: requests from before it finished inside"
		}
	}
	preemptions, why := v.counter(metrics.Preemptions)
	if why != "" {
		return mean, why
	}
	running, finished, why := v.timeIn(metrics.InferenceTime)
	if why != "" {
		return mean, why
	}
	waiting, _, why := v.timeIn(metrics.QueueTime)
	if why != "" {
		return mean, why
	}
	running, waiting = running/seconds, waiting/seconds
	counted := waiting
	if id == metrics.RequestsRunning {
		counted = running
	}
	mean = countedMean{low: counted, high: math.Inf(1)}
	if id == metrics.RequestsRunning && preemptions > 0 {
		mean.low = 0
	}
	lost, whyUnknown := v.unaccounted()
	uncertain := v.whyWindowUncertain(v.Engine.Window) != ""
	switch {
	case whyUnknown == "" && lost == 0 && preemptions == 0:
		mean.high, mean.mean, mean.method = counted, counted, littlesLaw
	case whyUnknown == "" && lost == 0:
		mean.high = running
		if id == metrics.RequestsWaiting {
			mean.high += waiting
		}
		if mean.missed = v.whyPollsMissed(running + waiting); mean.missed == "" && id == metrics.RequestsRunning {
			v.subtractWaiting(&mean, running+waiting, waiting)
		}
	case v.engine != nil && v.restarted(): // the estimate is too rough for one engine
	case whyUnknown != "" && preemptions == 0 && v.restarted() && !uncertain:
		v.addUncounted(&mean, id, counted, counted*seconds/max(finished, 1))
	}
	if uncertain {
		shortest, longest := v.windowSeconds()
		mean.method, mean.low = "", mean.low*seconds/longest
		if shortest > 0 {
			mean.high *= seconds / shortest
		} else {
			mean.high = math.Inf(1)
		}
	}
	return mean, ""
}

// subtractWaiting estimates the mean number of running requests with preemptions. The counters
// prove the mean of running and waiting requests together, and the least of the waiting ones;
// polls show those that waited again.
func (v view) subtractWaiting(mean *countedMean, both, leastWaiting float64) {
	w := v.combinedGauge(metrics.RequestsWaiting, "")
	if !w.MeanKnown || v.whyMeanUnseen(metrics.RequestsWaiting) != "" {
		return
	}
	mean.method = littlesLawWithPolls
	mean.mean = max(both-max(w.Mean, leastWaiting), 0)
	mean.err = w.MeanError
}

// leastSeen is how much of the requests that the counters prove the polls must have seen. They
// lack the first step of each: vLLM updates its gauges at the end of a step.
const leastSeen = 0.7

// whyPollsMissed returns why the polls cannot have seen the engines' work, or "", if the
// counters prove the mean number of running and waiting requests together.
func (v view) whyPollsMissed(both float64) string {
	r, w := v.combinedGauge(metrics.RequestsRunning, ""), v.combinedGauge(metrics.RequestsWaiting, "")
	if !r.MeanKnown || !w.MeanKnown || r.Mean+w.Mean >= leastSeen*both {
		return ""
	}
	return fmt.Sprintf("the polls found %.3g running and waiting requests on average, and the engine's own times prove that there were %.3g: they missed its work", r.Mean+w.Mean, both)
}

// addUncounted estimates the mean number of requests if processes ended inside the window:
// their counters lack what followed on the last whole page of each, which polls show, and the
// requests that were under way then. timeEach is the mean time of one of those that finished.
func (v view) addUncounted(mean *countedMean, id metrics.ID, counted, timeEach float64) {
	g := v.combinedGauge(id, "")
	running := v.combinedGauge(metrics.RequestsRunning, "")
	if !g.UncountedKnown || v.whyMeanUnseen(id) != "" || slices.ContainsFunc(v.endpoints, func(e *endpoint) bool { return !e.AtFull.Idle() }) {
		return
	}
	// More first tokens than these explain are of requests that were aborted.
	if first, finished, why := v.firstAndFinished(); why != "" || float64(first-finished) > running.LostMost {
		return
	}
	// On average, half of the time of those under way had passed. Those that ran had waited.
	before := g.LostMost * timeEach / 2
	if id == metrics.RequestsWaiting {
		before += running.LostMost * timeEach
	}
	before /= float64(v.Engine.Window.DurationSeconds)
	mean.method = littlesLawWithPolls
	mean.mean = counted + g.Uncounted + before
	mean.err = math.Hypot(g.UncountedError, before)
}

// restarted reports whether an engine's process was replaced inside the window.
func (v view) restarted() bool {
	return slices.ContainsFunc(v.endpoints, func(e *endpoint) bool { return e.Counters.Resets > 0 && !e.lacksStage(v.stage) })
}

// timeIn returns the sum of a histogram that has a time of every finished request.
func (v view) timeIn(id metrics.ID) (seconds, finished float64, why string) {
	found, why := v.metricsOf(id)
	if why != "" {
		return 0, 0, why
	}
	n, why := v.counter(metrics.RequestSuccess)
	if why != "" {
		return 0, 0, why
	}
	if len(found) == 0 && v.engine != nil {
		return 0, 0, "the engine has no sample of " + id.CanonicalName()
	}
	h := window.MergeHistograms(found)
	if h.Count != float64(n) {
		return 0, 0, fmt.Sprintf("%s has %.0f of %d finished requests", id.CanonicalName(), h.Count, n)
	}
	return h.Sum, h.Count, ""
}

// unaccounted returns how many requests at least left the engine without being counted as
// finished: vLLM counts aborted requests nowhere (seen on 0.32.0), but the time to the
// first token of those that had one. If requests were under way at an end of the window,
// nothing follows.
func (v view) unaccounted() (n int64, why string) {
	if why := v.whyNotIdleAtEnds(); why != "" {
		return 0, why
	}
	first, finished, why := v.firstAndFinished()
	if why == "" && first < finished {
		why = fmt.Sprintf("more requests finished (%d) than had a first token (%d)", finished, first)
	}
	if why != "" {
		return 0, why
	}
	return first - finished, ""
}

// firstAndFinished returns how many requests had their first token and how many finished.
func (v view) firstAndFinished() (first, finished int64, why string) {
	found, why := v.metricsOf(metrics.TimeToFirstToken)
	if why == "" && len(found) == 0 {
		why = "the engine has no sample of " + metrics.TimeToFirstToken.CanonicalName()
	}
	if why != "" {
		return 0, 0, why
	}
	finished, why = v.counter(metrics.RequestSuccess)
	return int64(math.Round(window.MergeHistograms(found).Count)), finished, why
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
