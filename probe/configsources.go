package probe

import (
	"cmp"
	"fmt"
	"reflect"

	"github.com/vobs/vobs/internal/vllm/config"
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

// sharedKVRole returns the kv_role that all servers have in common, or "". mixed reports
// whether some of them prefill and others decode. There must be at least one server. The lock
// is held.
func sharedKVRole(servers []*endpoint) (role string, mixed bool) {
	has := map[string]bool{}
	for _, e := range servers {
		role = e.kvRoleNow()
		has[role] = true
	}
	if len(has) > 1 {
		role = ""
	}
	return role, has["kv_producer"] && has["kv_consumer"]
}

// kvRoleNow returns the kv_role that the server reports or that its command line has; "" if it
// is unknown. The Prober's lock is held.
func (e *endpoint) kvRoleNow() string { return cmp.Or(e.answers[queryServerInfo].KVRole, e.kvRole) }

// sharedConfig returns the answers, the version and the flags that all servers have in
// common: it is unknown which server's engine wrote which file. There must be at least
// one server. The lock is held.
func sharedConfig(servers []*endpoint) (answers [numConfigQueries]aggregate.Answer, version string, maxNumSeqs, maxNumBatchedTokens int) {
	first := servers[0]
	answers, version, maxNumSeqs, maxNumBatchedTokens = first.answers, first.version, first.maxNumSeqs, first.maxNumBatchedTokens
	for _, e := range servers[1:] {
		for q := range numConfigQueries {
			if answers[q].Values != nil && !reflect.DeepEqual(answers[q].Values, e.answers[q].Values) {
				answers[q] = aggregate.Answer{Asked: true, Reason: fmt.Sprintf("the servers whose engines share the files return different answers to %s", q.path())}
			}
			answers[q].Reported = config.Common(answers[q].Reported, e.answers[q].Reported)
		}
		if version != e.version {
			version = ""
		}
		if maxNumSeqs != e.maxNumSeqs {
			maxNumSeqs = 0
		}
		if maxNumBatchedTokens != e.maxNumBatchedTokens {
			maxNumBatchedTokens = 0
		}
	}
	return answers, version, maxNumSeqs, maxNumBatchedTokens
}
