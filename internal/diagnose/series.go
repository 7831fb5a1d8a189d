package diagnose

import (
	"math"

	"github.com/vobs/vobs/schema"
)

// The curves of an event that rules read.
const (
	curveKVUsage        = "engine.kv_cache.usage"
	curveRunning        = "engine.requests.running"
	curveWaiting        = "engine.requests.waiting"
	curveGenerationRate = "engine.throughput.generation_tokens_per_second"
	curvePromptRate     = "engine.throughput.prompt_tokens_per_second"
	curveEngineRSS      = "host.engine_rss_bytes"
	curveProcessRSS     = "engine.process_resident_memory_bytes"
)

// series are the curves of an event.
type series struct {
	slot   float64 // width of a slot in seconds
	curves map[string]schema.Curve
}

func newSeries(s *schema.Series) series {
	out := series{curves: map[string]schema.Curve{}}
	if s == nil {
		return out
	}
	out.slot = float64(s.SlotSeconds)
	for _, c := range s.Curves {
		out.curves[c.Name] = c
	}
	return out
}

// missing returns the first of the curves that the event does not have, or "".
func (s series) missing(names ...string) string {
	for _, name := range names {
		if _, ok := s.curves[name]; !ok {
			return name
		}
	}
	return ""
}

// length is the number of slots of the longest curve.
func (s series) length() (n int) {
	for _, c := range s.curves {
		n = max(n, len(c.Max))
	}
	return n
}

// max and mean return the highest reading in a slot, and the mean of its readings. ok is false
// if it has none.
func (s series) max(name string, slot int) (x float64, ok bool) { return at(s.curves[name].Max, slot) }
func (s series) mean(name string, slot int) (x float64, ok bool) {
	return at(s.curves[name].Mean, slot)
}

func at(values []*schema.Rounded, i int) (float64, bool) {
	if i >= len(values) {
		return 0, false
	}
	return values[i].Value()
}

// means returns a curve's means, without the slots that have no readings.
func (s series) means(name string) (values []float64) {
	for _, v := range s.curves[name].Mean {
		if x, ok := v.Value(); ok {
			values = append(values, x)
		}
	}
	return values
}

// longest returns the length in seconds of the longest stretch of slots in a row for which
// holds returns true.
func (s series) longest(holds func(slot int) bool) float64 {
	longest, now := 0, 0
	for i := range s.length() {
		if !holds(i) {
			now = 0
			continue
		}
		now++
		longest = max(longest, now)
	}
	return float64(longest) * s.slot
}

// isIn returns a function that reports whether a slot has readings, of which the highest is
// within an interval.
func (s series) isIn(name string, low, high float64) func(slot int) bool {
	return func(slot int) bool {
		x, ok := s.max(name, slot)
		return ok && low <= x && x <= high
	}
}

var inf = math.Inf(1)
