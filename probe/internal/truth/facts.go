package truth

import (
	"maps"
	"math"
	"slices"
	"time"
)

// observation is a value that a histogram counted.
type observation struct {
	at    time.Duration
	life  int // of the process that counted it
	value float64
}

// engineFacts is what happened in one engine.
type engineFacts struct {
	// What the scheduler did: requests running and waiting, 1 while there are any, and the
	// share of KV blocks in use.
	running, waiting, busy, usage trace
	// What the gauges showed, which change at the end of a step.
	runningGauge, waitingGauge, usageGauge trace
	observations                           [numHistograms][]observation
	prompted                               []observation // prompt tokens, with the first token
	preempted                              []observation
	requests                               []*request // finished ones
}

// serverFacts is what happened to one server process.
type serverFacts struct {
	up    trace // 1 while it answers
	kills []time.Duration
	// starts are the starts of its processes, the first of which has number 1.
	starts []time.Duration
}

// cpuWithin returns the CPU time that the server's processes used within the window. visible is
// the part that whole pages showed before their process ended.
func (s *server) cpuWithin(w window, seen []reading) (all, visible float64) {
	from, to := w.from[s.index], w.to[s.index]
	for i, started := range s.facts.starts {
		ended, last := to, from
		if i < len(s.facts.kills) {
			ended = min(ended, s.facts.kills[i])
		}
		for _, r := range seen {
			if r.server == s.index && r.whole && r.life == i+1 {
				last = max(last, r.at)
			}
		}
		begin := max(started, from)
		all += cpuShare * max(0, ended-begin).Seconds()
		visible += cpuShare * max(0, last-begin).Seconds()
	}
	return all, visible
}

// record makes a simulation keep what happens in it. It must be called before anything does.
func (s *simulation) record() {
	for _, server := range s.servers {
		server.facts = &serverFacts{}
		for _, e := range server.engines {
			e.facts = &engineFacts{}
		}
	}
}

// traces returns one trace of each engine.
func (s *simulation) traces(pick func(*engineFacts) *trace) (out []*trace) {
	for _, e := range s.engines() {
		out = append(out, pick(e.facts))
	}
	return out
}

// reading is a page that a server served: which one, and when it was written.
type reading struct {
	server int
	at     time.Duration
	life   int
	whole  bool
}

// window is the time between the first and the last page of each server, by its index.
type window struct{ from, to map[int]time.Duration }

// span returns the time from the earliest beginning to the latest end.
func (w window) span() (from, to time.Duration) {
	return slices.Min(slices.Collect(maps.Values(w.from))), slices.Max(slices.Collect(maps.Values(w.to)))
}

// counted returns the values that were counted within the window, over all engines, sorted.
// Those in visible were on a whole page before their process ended.
func (s *simulation) counted(pick func(*engineFacts) []observation, w window, seen []reading) (all, visible []float64) {
	for _, server := range s.servers {
		last := map[int]time.Duration{} // last whole page of each process
		for _, r := range seen {
			if r.server == server.index && r.whole {
				last[r.life] = max(last[r.life], r.at)
			}
		}
		for _, e := range server.engines {
			for _, o := range pick(e.facts) {
				if o.at <= w.from[server.index] || o.at > w.to[server.index] {
					continue
				}
				all = append(all, o.value)
				if o.at <= last[o.life] {
					visible = append(visible, o.value)
				}
			}
		}
	}
	slices.Sort(all)
	slices.Sort(visible)
	return all, visible
}

// quantile returns the q-quantile of sorted values: the one of rank ⌈q·n⌉.
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func total(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}
