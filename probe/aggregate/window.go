package aggregate

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

const (
	// minActiveIntervals is the number of active intervals between polls from which on
	// rates are taken over the active time, not over the whole window.
	minActiveIntervals = 3
	// mostUncertain is the largest part of the active time that the polls may leave open
	// for that.
	mostUncertain = 0.1
)

// serverShare is the share of one core that polls may take of a server.
const serverShare = 0.01

func (v view) window(started time.Time) *schema.Window {
	w := &schema.Window{Base: "scraped", Final: "settled"}
	from, to := v.endpoints[0].BaseAt, v.endpoints[0].FullAt
	rank := []Final{FinalSettled, FinalFiles, FinalUnsettled, FinalBeforeSignal, FinalLastGood}
	var worst *endpoint // the one with the least trustworthy final reading
	for _, e := range v.endpoints {
		if slices.Index(rank, e.Final) > slices.Index(rank, Final(w.Final)) {
			w.Final, worst = string(e.Final), e
		}
		switch {
		case e.Base == BaseZero:
			w.Base = "zero"
		case e.Files:
			w.Base = "files"
		}
		if e.BaseAt.Before(from) {
			from = e.BaseAt
		}
		if e.FullAt.After(to) {
			to = e.FullAt
		}
		w.Resets += e.Counters.Resets
		// Of several engines, the one that was lost first, and the one that settled last.
		w.FinalAgeSeconds = max(w.FinalAgeSeconds, schema.Float(v.ended.Sub(e.FullAt).Seconds()))
		w.SettleSeconds = max(w.SettleSeconds, schema.Float(e.FullAt.Sub(v.ended).Seconds()))
		v.doubtEndpoint(e, started)
	}
	w.DurationSeconds = schema.Float(to.Sub(from).Seconds())
	switch w.Final {
	case "unsettled":
		v.Notes.Doubt(schema.CodeUnsettled, schema.Warning, "the engine was still busy, or its counters were still moving, at the final reading: other clients use it, or the command left requests behind", &schema.Evidence{Field: "engine.window.settle_seconds", Value: w.SettleSeconds, Threshold: SettleTimeout.Seconds()})
	case "last_good", "before_signal":
		how := "the engine was gone when the command ended"
		if worst.LastError != nil && !worst.Refused && worst.FailedAt.After(worst.LastAt) {
			how = fmt.Sprintf("the engine could not be read after the command ended (%v)", worst.LastError)
		}
		v.Notes.Doubt(schema.CodeFinalReadingLost, schema.Warning, fmt.Sprintf("%s: its figures are from %s, and what it did after that is not counted", how, v.ages(w.FinalAgeSeconds)), &schema.Evidence{Field: "engine.window.final_age_seconds", Value: w.FinalAgeSeconds, Threshold: 0})
	}
	w.ActiveIntervals = schema.Ptr(int64(v.active.Intervals()))
	if needed, why := v.whyActiveUnresolved(); why != "" {
		v.Notes.Missing("engine.window.active_seconds_est", why)
		over := "rates are over the whole window, including idle time: "
		if v.whyWindowUncertain(w) != "" {
			over = "rates are unknown: "
		}
		v.Notes.Doubt(schema.CodeShortWindow, schema.Info, over+why, &schema.Evidence{Field: "engine.window.active_intervals", Value: *w.ActiveIntervals, Threshold: needed})
	} else {
		w.ActiveSecondsEst = schema.F(v.active.Seconds())
	}
	return w
}

// windowSeconds returns the shortest and the longest time that the window may have lasted: the
// answers of a busy or distant server leave open when its pages were written.
func (v view) windowSeconds() (shortest, longest float64) {
	first, last := v.endpoints[0], v.endpoints[0]
	for _, e := range v.endpoints {
		if e.BaseAt.Before(first.BaseAt) {
			first = e
		}
		if e.FullAt.After(last.FullAt) {
			last = e
		}
	}
	between := func(from, to time.Time) float64 { return max(0, to.Sub(from).Seconds()) }
	return between(first.BaseWritten[1], last.FullWritten[0]), between(first.BaseWritten[0], last.FullWritten[1])
}

// whyWindowUncertain returns why the window's length is not known to a tenth, or "".
func (v view) whyWindowUncertain(w *schema.Window) string {
	shortest, longest := v.windowSeconds()
	seconds := float64(w.DurationSeconds)
	if seconds-shortest <= mostUncertain*seconds && longest-seconds <= mostUncertain*seconds {
		return ""
	}
	return fmt.Sprintf("the window lasted between %.2f and %.2f s: the engine's answers came late, and it is unknown at what moment the first and the last page were written", shortest, longest)
}

// whyActiveUnresolved returns why the polls do not resolve the time in which the engines
// worked, and how many active intervals that takes; "" if they do. At the edges of each
// stretch of work the engine may have worked for any part of an interval between two
// polls.
func (v view) whyActiveUnresolved() (needed int, why string) {
	n, longest, uncertain := v.active.Intervals(), v.active.Seconds(), v.active.UncertainSeconds()
	switch {
	case n < minActiveIntervals:
		return minActiveIntervals, fmt.Sprintf("the engine was active in %d of the intervals between polls, and %d are needed", n, minActiveIntervals)
	case uncertain > mostUncertain*longest:
		// The edges are two intervals of every stretch: these many would make them a tenth.
		needed = max(n+1, int(math.Ceil(float64(v.active.Edges())/mostUncertain)))
		return needed, fmt.Sprintf("the polls only show that the engine was active for %.2f to %.2f s", longest-uncertain, longest)
	}
	return 0, ""
}

// times returns how often something happened, in words.
func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// ages returns how long before the command's end the figures were read. Filtered scrapes
// that followed the last full page made some figures more recent than the others.
func (v view) ages(full schema.Float) string {
	polled := schema.Float(0)
	for _, e := range v.endpoints {
		polled = max(polled, schema.Float(v.ended.Sub(e.LastAt).Seconds()))
	}
	all, some := fmt.Sprintf("%.2f s earlier", full), fmt.Sprintf("%.2f s earlier", polled)
	if all == some {
		return all
	}
	return fmt.Sprintf("%s (tokens, their rates and the gauges, which are polled more often: %s)", all, some)
}

// doubtEndpoint notes what casts doubt on one endpoint's counters and gauges.
func (v view) doubtEndpoint(e *endpoint, started time.Time) {
	name, c := e.Name, e.Counters
	if e.Partial != nil {
		v.Notes.Doubt(schema.CodeFilesNotRead, schema.Warning, fmt.Sprintf("some of the engine's metrics are missing: %v", e.Partial), nil)
	}
	if e.Base == BaseLate {
		v.Notes.Doubt(schema.CodeLateBase, schema.Warning, fmt.Sprintf("no engine's metrics were read at %s before the command started: what its engine did before the first successful reading, %.1f s into the run, is not counted", name, e.BaseAt.Sub(started).Seconds()), nil)
	}
	if c.Naming == metrics.Native && c.Collector {
		v.Notes.Doubt(schema.CodeDelayedMetrics, schema.Warning, fmt.Sprintf("the page at %s is not an engine's own: a router or another collector copies the metrics of engines there, from time to time, so the engine's last work may be missing, and work from just before the start may be included; give the address of each engine instead", name), nil)
	}
	if e.Base == BaseScraped && !e.Files && e.AtBase.Requests > 0 {
		v.Notes.Doubt(schema.CodeEngineShared, schema.Warning, fmt.Sprintf("%s already had %.0f running or waiting requests when the command started: the engine's figures are not the command's alone", name, e.AtBase.Requests), &schema.Evidence{Field: "engine.requests.running", Value: schema.Float(e.AtBase.Requests), Threshold: 0})
	}
	if c.Naming != metrics.Native {
		v.Notes.Doubt(schema.CodeDelayedMetrics, schema.Warning, fmt.Sprintf("%s has vLLM's metrics under other names (%s): the collector that renames them forwards them only periodically (Ray: every 10 s by default, metrics_report_interval_ms), so the engine's last work may be missing, and work from just before the start may be included", name, c.Naming.Format("vllm:…")), nil)
	}
	switch {
	case c.LoadBalanced:
		v.Notes.Doubt(schema.CodeSeveralServers, schema.Warning, fmt.Sprintf("several servers answer at %s in turn (behind a load balancer?): its counters are meaningless and left out, and its gauges mix the servers; give the address of each one", name), nil)
	case c.Resets > 0:
		v.Notes.Doubt(schema.CodeCounterReset, schema.Warning, fmt.Sprintf("the counters of %s restarted %s inside the window: what they counted between the last reading before a restart and the restart is lost", name, times(c.Resets)), &schema.Evidence{Field: "engine.window.resets", Value: c.Resets, Threshold: 0})
	}
	if changes := slices.Concat(c.ChangedLabels(), e.Changes); len(changes) > 0 && !c.LoadBalanced {
		v.Notes.Doubt(schema.CodeEngineChanged, schema.Warning, fmt.Sprintf("another engine answers at %s than before (%s): its settings, its version and the size of its KV cache in the event are those of the last one, while counters, latencies and peaks cover all of them", name, strings.Join(changes, "; ")), &schema.Evidence{Field: "engine.window.resets", Value: c.Resets, Threshold: 0})
	}
	switch {
	case c.Conflicts > 0:
		v.Notes.Doubt(schema.CodeDuplicateSeries, schema.Warning, fmt.Sprintf("%s exported the same series twice on a page with different values, %d times: neither value was used", name, c.Conflicts), nil)
	case c.Duplicates > 0:
		v.Notes.Doubt(schema.CodeDuplicateSeries, schema.Info, fmt.Sprintf("%s exported the same series twice on a page with the same value, %d times: it was counted once", name, c.Duplicates), nil)
	}
	if c.Invalid > 0 {
		v.Notes.Doubt(schema.CodeInvalidValues, schema.Warning, fmt.Sprintf("%s exported %d invalid values (NaN, infinite, negative, a sum that decreased, or a fraction above 1), the last one of %s: they were ignored", name, c.Invalid, c.InvalidDesc.Name()), nil)
	}
	if e.ScrapeShare > 0 {
		v.Notes.Doubt(schema.CodeScrapeCost, schema.Info, fmt.Sprintf("polls took up to %.1f %% of a core of the server at %s, by its fastest answers: its requests are expensive, and an engine at work is polled each second nevertheless; --scrape-interval sets a longer time", 100*e.ScrapeShare, name), &schema.Evidence{Field: "engine.scrapes", Value: schema.Float(e.ScrapeShare), Threshold: schema.Float(serverShare)})
	}
	if e.Errors > 0 && e.LastCounted != nil {
		v.Notes.Doubt(schema.CodeScrapesFailed, schema.Warning, fmt.Sprintf("%d of %d readings failed while the engine was up, and its gauges at those times are unknown; the last failure: %v", e.Errors, e.Errors+e.Scrapes, e.LastCounted), &schema.Evidence{Field: "engine.scrapes.errors", Value: e.Errors, Threshold: 0})
	}
}
