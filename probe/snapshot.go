package probe

import (
	"cmp"
	"slices"
	"time"

	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// Snapshot says what the readings amount to so far, for a preliminary event. It
// asks nobody.
func (p *Prober) Snapshot(now time.Time) aggregate.Output {
	r := p.aggregate(p.selected(), nil, now)
	// The engine is not gone: the final reading has only not been taken.
	r.Notes.Validity = slices.DeleteFunc(r.Notes.Validity, func(v schema.Validity) bool { return v.Code == schema.CodeFinalReadingLost })
	return r
}

// selected gives the endpoints whose figures count: those of the best origin
// that yielded any.
func (p *Prober) selected() []*endpoint {
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

// aggregate turns what the chosen endpoints yielded into the event's groups. settled
// has those that were read until nothing moved any more.
func (p *Prober) aggregate(chosen []*endpoint, settled map[*endpoint]bool, ended time.Time) aggregate.Output {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := aggregate.Input{Gauges: p.gauges[p.best], Active: p.active[p.best], Started: p.started, Ended: ended, Introspection: p.introspection}
	for _, e := range chosen {
		in.Endpoints = append(in.Endpoints, e.record(settled[e]))
	}
	if speakers := p.configSourcesLocked(); len(speakers) > 0 {
		answers, version, maxNumSeqs := sharedConfig(speakers)
		for i := range in.Endpoints {
			if e := &in.Endpoints[i]; e.Files {
				e.Answers, e.Version = named(answers), version
				e.MaxNumSeqs = cmp.Or(e.MaxNumSeqs, maxNumSeqs)
			}
		}
	}
	for _, e := range p.endpoints {
		if !slices.Contains(chosen, e) {
			in.Others = append(in.Others, aggregate.Unread{Name: e.target.Name(), Given: e.target.Origin == scrape.FromFlag, Foreign: e.foreign, LastError: e.lastError})
		}
	}
	return aggregate.Aggregate(in)
}

// record returns the endpoint's part of an Input. The lock is held.
func (e *endpoint) record(settled bool) aggregate.Endpoint {
	return aggregate.Endpoint{
		Index: e.index, Name: e.target.Name(), Files: e.files != nil, Local: e.isLocal(), Foreign: e.foreign,
		Base: e.base, BaseAt: e.baseAt, FirstAt: e.firstAt, FullAt: e.fullAt, LastAt: e.lastAt, Final: e.final(settled),
		Scrapes: e.count, Errors: e.errors, MaxGap: e.maxGap, Latencies: e.latencies.List(), ActiveAtFull: e.activeAtFull,
		LastError: e.lastError, FailedAt: e.failedAt, Refused: e.lastError != nil && scrape.IsRefused(e.lastError), LastCounted: e.lastCounted, Partial: e.partial,
		MaxNumSeqs: e.maxNumSeqs, Version: e.version, Answers: named(e.answers), Counters: e.counters,
	}
}

// final returns how the endpoint's last full page was read.
func (e *endpoint) final(settled bool) aggregate.Final {
	switch {
	case e.lastPhase == after && e.files != nil:
		return aggregate.FinalFiles
	case e.lastPhase == after && settled:
		return aggregate.FinalSettled
	case e.lastPhase == after:
		return aggregate.FinalUnsettled
	case e.lastPhase == shutdown:
		return aggregate.FinalBeforeSignal
	}
	return aggregate.FinalLastGood
}

func named(answers [numConfigQueries]aggregate.Answer) aggregate.Answers {
	return aggregate.Answers{Version: answers[queryVersion], Models: answers[queryModels], ServerInfo: answers[queryServerInfo]}
}
