package probe

import (
	"fmt"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"reflect"
)

// Files have an engine's figures and nothing of its settings. Where its server
// answers too, the figures are from the files and what it says of itself from there.

// isConfigSource says whether a server at this address may speak for the engines whose
// files are read. The lock is held.
func (p *Prober) isConfigSource(t scrape.Target) bool {
	return p.best == scrape.FromFiles && t.Dir == ""
}

// configSources are the servers that speak for the engines whose files are read.
func (p *Prober) configSources() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.configSourcesLocked()
}

// configSourcesLocked is speakers with the lock held.
func (p *Prober) configSourcesLocked() (out []*endpoint) {
	if !p.yielded {
		return nil
	}
	for _, e := range p.endpoints {
		if e.up && e.target.Origin > p.best && p.isConfigSource(e.target) && e.whyNotQueryable() == "" {
			out = append(out, e)
		}
	}
	return out
}

// allQueried reports whether every question has been asked. The lock is held.
func (e *endpoint) allQueried() bool {
	for q := range numConfigQueries {
		if !e.answers[q].Asked && !e.answers[q].Answered {
			return false
		}
	}
	return true
}

// sharedConfig returns what the servers beside the files all answer alike, with their
// version and max_num_seqs: which server's engine wrote which file is not known. There
// must be at least one server. The lock is held.
func sharedConfig(speakers []*endpoint) (answers [numConfigQueries]aggregate.Answer, version string, maxNumSeqs int) {
	first := speakers[0]
	answers, version, maxNumSeqs = first.answers, first.version, first.maxNumSeqs
	for _, e := range speakers[1:] {
		for q := range numConfigQueries {
			if answers[q].Values != nil && !reflect.DeepEqual(answers[q].Values, e.answers[q].Values) {
				answers[q] = aggregate.Answer{Asked: true, Reason: fmt.Sprintf("the servers whose engines share the files do not answer alike at %s", q.path())}
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
