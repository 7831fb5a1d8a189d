package window

import (
	"math"

	"github.com/vobs/vobs/internal/vllm/metrics"
)

// GaugeStats summarises a gauge, or several gauges together.
type GaugeStats struct {
	Known bool // there was a reading
	// Stale reports whether an engine stopped exporting the gauge while its process went on.
	Stale bool
	Last  float64
	// InRun reports whether there was a reading after the command's start, and PeakKnown
	// whether Peak is the highest one. The peak of a sum is a lower bound if the readings are
	// of different moments; it is unknown if it may be more than half as much again.
	InRun, PeakKnown bool
	Peak             float64
	// MeanKnown reports whether Mean is the mean over time, MeanError its standard error:
	// an estimate of how far the unknown values between the readings may move it.
	MeanKnown       bool
	Mean, MeanError float64
	// Uncounted is the part of Mean that the counters of processes which ended lack, with its
	// standard error: what followed on the last whole page of each. LostMost is how many
	// requests were under way on these pages. UncountedKnown reports whether all ends were
	// seen.
	UncountedKnown            bool
	Uncounted, UncountedError float64
	LostMost                  float64
}

// Span is the time over which the gauges of an endpoint are known: at least Seconds. They are 0
// outside the time between their first and their last reading, if that one is.
type Span struct {
	Endpoint int
	Seconds  float64
}

// At returns the statistics of one gauge, which is known over at least some seconds as a [Span]
// is; zero without a reading.
func (g *Gauges) At(id metrics.ID, k GaugeKey, seconds float64) GaugeStats {
	return g.state(id, k).stats(seconds)
}

func (s *gaugeState) stats(atLeast float64) GaugeStats {
	if s == nil || !s.known {
		return GaugeStats{}
	}
	out := GaugeStats{Known: true, Stale: s.stale, Last: s.value, InRun: s.inRun, PeakKnown: s.inRun, Peak: s.peak}
	seconds := s.seconds
	if !s.stale && !s.gaps && s.last.value == 0 { // otherwise its value after that reading is unknown
		seconds = max(seconds, atLeast)
	}
	if out.MeanKnown = seconds > 0; out.MeanKnown {
		out.Mean = s.total.value / seconds
		out.MeanError = s.total.err(s.peak) / seconds
		out.UncountedKnown, out.Uncounted, out.UncountedError, out.LostMost = !s.gaps, s.uncounted.value/seconds, s.uncounted.err(s.peak)/seconds, s.lost
	}
	return out
}

// Combine returns the statistics of a group of gauges at some endpoints. Requests are added
// up; of fractions, the highest last reading and peak count, and the average of the means.
//
// The peak of a sum over several endpoints, but not all, is unknown.
func (g *Gauges) Combine(id metrics.ID, group GroupKey, spans []Span) (out GaugeStats) {
	f := &g.families[id]
	sums := f.kind != metrics.KindGaugeMax
	n, read := 0.0, 0
	out.UncountedKnown = true
	var latest *groupState
	live := false
	for _, span := range spans {
		e := f.endpoints[span.Endpoint]
		if e == nil || e.groups[group] == nil {
			continue
		}
		state := e.groups[group]
		read++
		out.Known = out.Known || state.known
		out.InRun = out.InRun || state.inRun
		out.Peak = max(out.Peak, state.peak)
		if latest == nil || state.at.After(latest.at) {
			latest = state
		}
		for k, s := range e.states {
			if k.group() != group || !s.known {
				continue
			}
			switch {
			case !s.live:
			case sums:
				out.Last += s.value
			default:
				out.Last = max(out.Last, s.value)
			}
			live = live || s.live
			out.Stale = out.Stale || s.stale
			one := s.stats(span.Seconds)
			out.Mean += one.Mean
			out.MeanError = math.Hypot(out.MeanError, one.MeanError)
			out.MeanKnown = out.MeanKnown || one.MeanKnown
			out.UncountedKnown = out.UncountedKnown && one.UncountedKnown
			out.Uncounted += one.Uncounted
			out.UncountedError = math.Hypot(out.UncountedError, one.UncountedError)
			out.LostMost += one.LostMost
			n++
		}
	}
	if !live && latest != nil {
		out.Last = latest.last
	}
	if !sums {
		n = max(n, 1)
		out.Mean /= n
		out.MeanError /= n
	}
	out.PeakKnown = out.InRun
	if sums && read > 1 {
		out.PeakKnown = out.InRun && read == f.numWith(group)
		if sum := f.sums[group]; out.PeakKnown && sum != nil {
			low, high := sum.highest()
			out.Peak = max(out.Peak, low)
			out.PeakKnown = out.Peak >= high*2/3
		}
	}
	return out
}

// numWith returns how many endpoints have gauges of a group.
func (f *gaugeFamily) numWith(group GroupKey) (n int) {
	for _, e := range f.endpoints {
		if e.groups[group] != nil {
			n++
		}
	}
	return n
}
