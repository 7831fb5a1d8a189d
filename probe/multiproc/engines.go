package multiproc

import "github.com/vobs/vobs/probe/exposition"

// Engines distinguishes the engines whose processes share a directory. The collector takes
// the most recent value of a gauge of mode mostrecent, which is right for several API servers
// of one engine. Two engines, each in a process of its own, have gauges of their own with the
// same labels: of them a page has both, so that they can be added up.
type Engines interface {
	// Of returns the engine of the process with an identifier, which writes the named file of
	// the directory; "" if it is unknown.
	Of(process, file string) string
	// Ended reports whether the processes of an engine have ended.
	Ended(engine string) bool
}

// engineLabel distinguishes the gauges of several engines with the same labels.
const engineLabel = "vobs_process"

// SetEngines sets how processes of different engines are distinguished; without it, they are
// not. It must be called before the first reading.
func (r *Reader) SetEngines(e Engines) { r.engines = e }

// enginePart is one engine's value of a gauge.
type enginePart struct {
	engine       string
	labels       *exposition.Labels // with the engine; nil until they are needed
	value, stamp float64
	seen         int
}

// checkEngines finds out which engines have ended. It matters only if there are several.
func (r *Reader) checkEngines() {
	if r.engines == nil {
		return
	}
	if r.ended == nil {
		r.ended = map[string]bool{}
	}
	known := map[string]bool{}
	for _, f := range r.listed {
		if f.engine != "" && !r.ended[f.engine] {
			known[f.engine] = true
		}
	}
	if r.severalEngines = r.severalEngines || len(known) > 1; !r.severalEngines {
		return
	}
	for engine := range known {
		r.ended[engine] = r.engines.Ended(engine)
	}
}

// accumulateOf sets an engine's value of a gauge of mode mostrecent.
func (s *series) accumulateOf(engine string, value, stamp float64, reading int) {
	var p *enginePart
	for i := range s.parts {
		if s.parts[i].engine == engine {
			p = &s.parts[i]
		}
	}
	if p == nil {
		s.parts = append(s.parts, enginePart{engine: engine})
		p = &s.parts[len(s.parts)-1]
	}
	if p.seen != reading {
		p.stamp = 0
	}
	if stamp > p.stamp {
		p.value, p.stamp, p.seen = value, stamp, reading
	}
}

// emitParts adds the values of the engines that have not ended, and reports whether there is
// one.
func (s *series) emitParts(page *exposition.Page, ended map[string]bool, reading int) (found bool) {
	for i := range s.parts {
		p := &s.parts[i]
		if p.seen != reading || ended[p.engine] {
			continue
		}
		labels := s.labels
		if found {
			if p.labels == nil {
				p.labels = withLabel(s.labels, engineLabel, p.engine)
			}
			labels = p.labels
		}
		page.Samples = append(page.Samples, exposition.Sample{Name: s.name, Labels: labels, Value: p.value})
		found = true
	}
	return found
}

// withLabel returns labels with one more.
func withLabel(labels *exposition.Labels, name, value string) *exposition.Labels {
	var pairs []exposition.Label
	if labels != nil {
		pairs = append(pairs, labels.Pairs()...)
	}
	out, err := exposition.NewLabels(append(pairs, exposition.Label{Name: name, Value: value}))
	if err != nil {
		return labels // the label is there already: not vLLM's gauge
	}
	return out
}
