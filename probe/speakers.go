package probe

import (
	"fmt"
	"reflect"
)

// Files have an engine's figures and nothing of its settings. Where its server
// answers too, the figures are from the files and what it says of itself from there.

// spokenFor says whether a server at this address may speak for the engines whose
// files are read. The lock is held.
func (p *Prober) spokenFor(t Target) bool { return p.best == FromFiles && t.Dir == "" }

// speakers are the servers that speak for the engines whose files are read.
func (p *Prober) speakers() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.speaking()
}

// speaking is speakers with the lock held.
func (p *Prober) speaking() (out []*endpoint) {
	if !p.yielded {
		return nil
	}
	for _, e := range p.endpoints {
		if e.up && e.target.Origin > p.best && p.spokenFor(e.target) && e.unaskable() == "" {
			out = append(out, e)
		}
	}
	return out
}

// askedAll says whether there is no question left that was not asked. The lock is held.
func (e *endpoint) askedAll() bool {
	for q := range questions {
		if !e.questions[q].asked && !e.questions[q].answered {
			return false
		}
	}
	return true
}

// lendAnswers gives the endpoints of files what the servers beside them say of
// themselves, as far as all of those say the same: which server's engine wrote which
// file is not known. The lock is held.
func (p *Prober) lendAnswers(chosen []*endpoint) {
	speakers := p.speaking()
	if len(speakers) == 0 {
		return
	}
	first := speakers[0]
	answers, version, maxNumSeqs := first.questions, first.version, first.maxNumSeqs
	for _, e := range speakers[1:] {
		for q := range questions {
			if answers[q].values != nil && !reflect.DeepEqual(answers[q].values, e.questions[q].values) {
				answers[q] = standingQuestion{asked: true, why: fmt.Sprintf("the servers whose engines share the files do not answer alike at %s", q.path())}
			}
		}
		if version != e.version {
			version = ""
		}
		if maxNumSeqs != e.maxNumSeqs {
			maxNumSeqs = 0
		}
	}
	for _, e := range chosen {
		if e.files == nil {
			continue
		}
		e.questions, e.version = answers, version
		if e.maxNumSeqs == 0 {
			e.maxNumSeqs = maxNumSeqs
		}
	}
}
