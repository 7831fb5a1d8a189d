package probe

import (
	"slices"
	"time"

	"github.com/vobs/vobs/schema"
)

// Snapshot says what the readings amount to so far, for a preliminary event. It
// asks nobody.
func (p *Prober) Snapshot(now time.Time) Report {
	r := p.report(p.answering(), map[*endpoint]bool{}, now)
	// The engine is not gone: the final reading has only not been taken.
	r.Notes.Validity = slices.DeleteFunc(r.Notes.Validity, func(v schema.Validity) bool { return v.Code == "final_reading_lost" })
	return r
}

// answering gives the endpoints whose figures count: those of the best origin
// that yielded any.
func (p *Prober) answering() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*endpoint
	for _, e := range p.endpoints {
		if e.up && e.target.Origin == p.best {
			out = append(out, e)
		}
	}
	return out
}
