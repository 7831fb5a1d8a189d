package probe

import (
	"fmt"
	"reflect"

	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
)

// Multiprocess files have an engine's metrics but nothing of its configuration. If the
// engine's server responds too, the figures come from the files and the configuration
// from the server.

// isConfigSource reports whether a server at t may describe the engines whose files are
// read. The lock is held.
func (p *Prober) isConfigSource(t scrape.Target) bool {
	return p.best == scrape.FromFiles && t.Dir == ""
}

// configSources returns the servers whose configuration stands for the engines whose
// files are read.
func (p *Prober) configSources() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.configSourcesLocked()
}

// configSourcesLocked is configSources with the lock held.
func (p *Prober) configSourcesLocked() (out []*endpoint) {
	if !p.yielded {
		return nil
	}
	for _, e := range p.endpoints {
		if e.up && e.duplicateOf == nil && e.target.Origin > p.best && p.isConfigSource(e.target) && e.whyNotQueryable() == "" {
			out = append(out, e)
		}
	}
	return out
}

// sharedConfig returns the answers, version and max_num_seqs that all servers have in
// common: it is unknown which server's engine wrote which file. There must be at least
// one server. The lock is held.
func sharedConfig(servers []*endpoint) (answers [numConfigQueries]aggregate.Answer, version string, maxNumSeqs int) {
	first := servers[0]
	answers, version, maxNumSeqs = first.answers, first.version, first.maxNumSeqs
	for _, e := range servers[1:] {
		for q := range numConfigQueries {
			if answers[q].Values != nil && !reflect.DeepEqual(answers[q].Values, e.answers[q].Values) {
				answers[q] = aggregate.Answer{Asked: true, Reason: fmt.Sprintf("the servers whose engines share the files return different answers to %s", q.path())}
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
