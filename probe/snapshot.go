package probe

import (
	"cmp"
	"slices"
	"time"

	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// Snapshot returns the result so far, for a partial event. It sends no request.
func (p *Prober) Snapshot(now time.Time) aggregate.Output {
	out := p.aggregate(p.selected(), nil, now)
	// The engine is not gone: its final reading is still to come.
	out.Notes.Validity = slices.DeleteFunc(out.Notes.Validity, func(v schema.Validity) bool { return v.Code == schema.CodeFinalReadingLost })
	return out
}

// aggregate turns the readings of the selected endpoints into the event's groups.
// settled has those of them that settled.
func (p *Prober) aggregate(selected []*endpoint, settled map[*endpoint]bool, ended time.Time) aggregate.Output {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := aggregate.Input{Gauges: p.gauges[p.best], Active: p.active[p.best], Started: p.started, Ended: ended, Introspection: p.introspection}
	for _, e := range selected {
		in.Endpoints = append(in.Endpoints, e.aggregateInput(settled[e]))
	}
	if servers := p.configSourcesLocked(); len(servers) > 0 {
		answers, version, maxNumSeqs, maxNumBatchedTokens := sharedConfig(servers)
		for i := range in.Endpoints {
			if e := &in.Endpoints[i]; e.Files {
				e.Answers, e.Version = toAnswers(answers), version
				e.MaxNumSeqs = cmp.Or(e.MaxNumSeqs, maxNumSeqs)
				e.MaxNumBatchedTokens = cmp.Or(e.MaxNumBatchedTokens, maxNumBatchedTokens)
				e.KVRole, e.MixedKVRoles = sharedKVRole(servers)
			}
		}
	}
	for _, e := range p.endpoints {
		if !slices.Contains(selected, e) && e.duplicateOf == nil && !e.isExporter() {
			if e.silent && !e.foreign && (e.identified || e.target.Started) {
				in.Silent = append(in.Silent, e.aggregateInput(false))
			}
			in.Others = append(in.Others, aggregate.Unread{Name: e.target.Name(), Given: e.target.Origin == scrape.FromFlag, Foreign: e.foreign, LastError: e.lastError})
		}
	}
	return aggregate.Aggregate(in)
}

// aggregateInput returns the endpoint's part of an Input. The Prober's lock is held.
func (e *endpoint) aggregateInput(settled bool) aggregate.Endpoint {
	return aggregate.Endpoint{
		Index: e.index, Name: e.target.Name(), Files: e.files != nil, GaugesFromFiles: e.gaugeFiles.used, Local: e.isLocal(), Foreign: e.foreign,
		Base: e.base, BaseAt: e.baseAt, BaseWritten: e.baseWritten, FullWritten: e.fullWritten, FirstAt: e.firstAt, FullAt: e.fullAt, LastAt: e.lastAt, Final: e.final(settled),
		Scrapes: e.count, Errors: e.errors, MaxGap: e.maxGap, Latencies: e.latencies.List(), ActiveAtFull: e.activeAtFull, ScrapeShare: e.schedule.Excess(),
		AtBase: e.loadAtBase(), AtFull: e.atFull,
		LastError: e.lastError, FailedAt: e.failedAt, Refused: e.lastError != nil && scrape.IsRefused(e.lastError), LastCounted: e.lastCounted, Partial: e.partial,
		MaxNumSeqs: e.maxNumSeqs, MaxNumBatchedTokens: e.maxNumBatchedTokens, KVRole: e.kvRoleNow(), Version: e.version, Answers: toAnswers(e.answers), Counters: e.counters, TokenCurves: &e.tokenCurves,
		Changes: e.changes(), ReplacedKVTokens: e.replacedTokens,
	}
}

// loadAtBase returns the requests on the base page; none if counters count from zero.
func (e *endpoint) loadAtBase() window.Load {
	if e.base == aggregate.BaseZero {
		return window.Load{Known: true}
	}
	return e.atBase
}

// final returns how the endpoint's last full page was read.
func (e *endpoint) final(settled bool) aggregate.Final {
	switch {
	case e.lastPhase == phaseAfter && e.files != nil:
		return aggregate.FinalFiles
	case e.lastPhase == phaseAfter && settled:
		return aggregate.FinalSettled
	case e.lastPhase == phaseAfter:
		return aggregate.FinalUnsettled
	case e.lastPhase == phaseBeforeSignal:
		return aggregate.FinalBeforeSignal
	}
	return aggregate.FinalLastGood
}

// toAnswers converts the answers to aggregate's form.
func toAnswers(answers [numConfigQueries]aggregate.Answer) aggregate.Answers {
	return aggregate.Answers{Version: answers[queryVersion], Models: answers[queryModels], ServerInfo: answers[queryServerInfo]}
}
