package curve

import "time"

// Group is one figure of several things that are read each on its own, such as the requests of
// several servers.
type Group struct {
	// Curves are those of the single things.
	Curves []Curve
	// Weights are the weights of the curves in an average. If it is nil, the figure is their
	// sum.
	Weights []float64
	// Peak has readings of the sum at single moments. It is used for more than one curve.
	Peak *Curve
}

// Figure is a group with the name of its figure, as in the event.
type Figure struct {
	Name string
	Group
}

// Width returns the width of the widest slots.
func (g *Group) Width() time.Duration {
	width := Shortest
	for i := range g.Curves {
		width = max(width, g.Curves[i].Width())
	}
	if g.Peak != nil {
		width = max(width, g.Peak.Width())
	}
	return width
}

// Empty reports whether there is no reading.
func (g *Group) Empty() bool {
	for i := range g.Curves {
		if !g.Curves[i].Empty() {
			return false
		}
	}
	return true
}

// Slots is [Curve.Slots] for the group. The maximum of an average is the highest of any curve.
// The maximum of a sum is the highest that is certain: a sum at one moment, or without one, the
// highest of any curve. A slot of a sum is empty if a curve has readings before and after it and
// none in it.
func (g *Group) Slots(width time.Duration, n int) []Slot {
	if len(g.Curves) == 1 {
		return g.Curves[0].Slots(width, n)
	}
	out := make([]Slot, n)
	weights := make([]float64, n)
	unknown := make([]bool, n)
	for i := range g.Curves {
		weight := 1.0
		if g.Weights != nil {
			weight = g.Weights[i]
		}
		slots := g.Curves[i].Slots(width, n)
		first, last := rangeOf(slots)
		for j, s := range slots {
			if s.Readings == 0 {
				unknown[j] = unknown[j] || first < j && j < last
				continue
			}
			out[j].Readings += s.Readings
			out[j].Max = max(out[j].Max, s.Max)
			out[j].Mean += weight * s.Mean
			weights[j] += weight
		}
	}
	var peaks []Slot
	if g.Peak != nil {
		peaks = g.Peak.Slots(width, n)
	}
	for j := range out {
		s := &out[j]
		switch {
		case s.Readings == 0:
		case g.Weights != nil:
			s.Mean = min(s.Mean/weights[j], s.Max)
		case unknown[j]:
			*s = Slot{}
		default:
			if peaks != nil {
				s.Max = max(s.Max, peaks[j].Max)
			}
			s.Max = max(s.Max, s.Mean) // a sum reaches its mean
		}
	}
	return out
}

// rangeOf returns the numbers of the first and the last slot with a reading.
func rangeOf(slots []Slot) (first, last int) {
	first = len(slots)
	for j, s := range slots {
		if s.Readings > 0 {
			first, last = min(first, j), j
		}
	}
	return first, last
}
