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

// askedAll reports whether every question has been asked. The lock is held.
func (e *endpoint) askedAll() bool {
	for q := range questions {
		if !e.questions[q].Asked && !e.questions[q].Answered {
			return false
		}
	}
	return true
}

// sharedAnswers returns what the servers beside the files all answer alike, with their
// version and max_num_seqs: which server's engine wrote which file is not known. There
// must be at least one server. The lock is held.
func sharedAnswers(speakers []*endpoint) (answers [questions]Answer, version string, maxNumSeqs int) {
	first := speakers[0]
	answers, version, maxNumSeqs = first.questions, first.version, first.maxNumSeqs
	for _, e := range speakers[1:] {
		for q := range questions {
			if answers[q].Values != nil && !reflect.DeepEqual(answers[q].Values, e.questions[q].Values) {
				answers[q] = Answer{Asked: true, Reason: fmt.Sprintf("the servers whose engines share the files do not answer alike at %s", q.path())}
			}
		}
		if version != e.version {
			version = ""
		}
		if maxNumSeqs != e.maxNumSeqs {
			maxNumSeqs = 0
		}
	}
	return answers, version, maxNumSeqs
}
