package probe

import (
	"context"
	"slices"
	"time"

	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// Recording is what another program, such as Prometheus, has read of one engine's server.
type Recording struct {
	// Target is the address. Two recordings may have the same one.
	Target scrape.Target
	// Pages are in the order of time.
	Pages []RecordedPage
}

// RecordedPage is one whole page of a server, or a request that failed.
type RecordedPage struct {
	// At is when the request began, Latency how long it took; 0 if that is unknown.
	At      time.Time
	Latency time.Duration
	// Err is why the request failed; nil if there is a page.
	Err error
	// Fill appends the samples of the page. Those of a series should share one label set on all
	// pages: it is found faster then.
	Fill func(*exposition.Page)
}

// maxFinalGaps is how many of the longest gaps between its pages may lie between the last page of a
// recording and the end of the window before its server counts as gone.
const maxFinalGaps = 2

// Replay returns the figures between two times from recorded pages. The pages go through the same
// code as those of live polls: the last page at or before from is the one that counters count
// from, the last one at or before to is the final one, and earlier and later ones are left out.
// Without a page before from, counters count from the first page inside the window, or from zero
// if its process started inside.
//
// notQueried is the reason why the servers' configuration is unknown: a page has only what
// vllm:cache_config_info shows of it.
func Replay(recordings []Recording, from, to time.Time, notQueried string) aggregate.Output {
	p := New(Config{})
	p.cancel()
	p.stopQueries()
	p.mu.Lock()
	var during []replayed
	var before []replayed
	for _, r := range recordings {
		e := p.addEndpoint(r.Target)
		inside := slices.IndexFunc(r.Pages, func(page RecordedPage) bool { return page.At.After(from) })
		if inside < 0 {
			inside = len(r.Pages)
		}
		for i, page := range slices.Backward(r.Pages[:inside]) {
			if page.Err == nil {
				before = append(before, replayed{e, &r.Pages[i]})
				break
			}
		}
		for i := range r.Pages[inside:] {
			if page := &r.Pages[inside+i]; !page.At.After(to) {
				during = append(during, replayed{e, page})
			}
		}
	}
	for _, r := range before {
		r.read(phaseBefore)
	}
	p.begin(from)
	slices.SortStableFunc(during, func(a, b replayed) int { return a.page.At.Compare(b.page.At) })
	for _, r := range during {
		r.read(phaseDuring)
	}
	p.end(to)
	latencies, recent := 0, true
	for _, e := range p.endpoints {
		for _, d := range e.latencies.List() {
			if d > 0 {
				latencies++
			}
		}
		recent = recent && to.Sub(e.fullAt) <= maxFinalGaps*e.maxGap
		for q := range e.answers {
			e.answers[q] = aggregate.Answer{Asked: true, Reason: notQueried}
		}
	}
	p.mu.Unlock()
	out := p.aggregate(p.selected(), nil, to)
	if recent { // the next page is beyond the window: the engine is not gone
		out.Notes.Validity = slices.DeleteFunc(out.Notes.Validity, func(v schema.Validity) bool { return v.Code == schema.CodeFinalReadingLost })
	}
	if out.Engine != nil && latencies == 0 {
		out.Engine.Scrapes.MedianSeconds = nil
		out.Notes.Missing("engine.scrapes.median_seconds", "how long the recorded requests took is unknown")
	}
	return out
}

// replayed is a page that is read by an endpoint.
type replayed struct {
	e    *endpoint
	page *RecordedPage
}

// read ingests the page. The Prober's lock is held.
func (r replayed) read(ph phase) {
	e, ctx := r.e, context.Background()
	resp := scrape.Response{Reached: true, Complete: true, Latency: r.page.Latency, Bytes: 1}
	err := r.page.Err
	if err == nil {
		e.page.Reset()
		r.page.Fill(&e.page)
		_, err = e.ingest(e.rendered(r.page.At, r.page.Latency, true), resp, true, ph)
		e.schedule.FullLatency.Add(r.page.Latency)
	}
	if err != nil {
		e.recordFailure(ctx, r.page.At, resp, err, true, ph)
	}
}
