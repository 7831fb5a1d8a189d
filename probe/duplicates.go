package probe

import (
	"path"
	"slices"
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
)

// One server may be given twice, under two spellings of its address: another name of the
// host, another of its addresses, a query. Add ignores an address that only looks different;
// what is left is found out here, when the second of the two yields its first page. Its
// figures then count once.
//
// Two addresses of one port are one server if the same process of this host listens at both,
// or if their pages show the same process: the same start times, the same times at which
// their counters were created, and counters that are consistent. The latter is a conclusion
// that is checked again at each whole page of either: once it is contradicted, both count.

// createdName is a sample with which prometheus_client shows when a counter was created, in
// Unix time with a resolution below a microsecond (metrics.py, Counter._child_samples).
// Servers in multiprocess mode have none.
const createdName = "vllm:prompt_tokens_created"

// wantedOnPage reports whether the parser keeps a sample.
func wantedOnPage(name string) bool { return name == createdName || metrics.IsWanted(name) }

const (
	// maxSightings is how many whole pages of an endpoint are compared with those of another.
	maxSightings = 8
	// maxMismatches is how often in a row two addresses may show different processes before
	// they count as two servers: one of them may have been read before a restart.
	maxMismatches = 4
	// duplicateInterval is the least time between two readings of an address whose server is
	// read at another one.
	duplicateInterval = 2 * time.Second
)

// identity is what a page shows of the process that serves it.
type identity struct{ starts, created []float64 }

func (id identity) equal(other identity) bool {
	return slices.Equal(id.starts, other.starts) && slices.Equal(id.created, other.created)
}

// sighting is the sum of all counters on a whole page.
type sighting struct {
	identity
	began, ended time.Time // of the request
	sum          float64
}

// contradicts reports whether two pages cannot be of one process, whose counters only
// increase.
func (s sighting) contradicts(other sighting) bool {
	if !s.equal(other.identity) {
		return false // one of them may have been read before a restart
	}
	return s.ended.Before(other.began) && s.sum > other.sum || other.ended.Before(s.began) && other.sum > s.sum
}

// createdTimes returns the values of createdName on a page, sorted.
func createdTimes(page *exposition.Page) (times []float64) {
	for i := range page.Samples {
		if s := &page.Samples[i]; s.Name == createdName {
			times = append(times, s.Value)
		}
	}
	slices.Sort(times)
	return times
}

// maySpell reports whether two targets may be spellings of one address.
func maySpell(a, b scrape.Target) bool {
	return a.Origin == b.Origin && a.Dir == "" && b.Dir == "" && a.Socket == "" && b.Socket == "" && a.Port() == b.Port()
}

// samePath reports whether two targets have the same path, whatever their hosts.
func samePath(a, b scrape.Target) bool {
	return a.URL.Scheme == b.URL.Scheme && path.Clean(a.URL.Path) == path.Clean(b.URL.Path)
}

// findListener notes which other endpoints the same process listens for. It is called without
// the Prober's lock, because it takes a while, at the first good page.
func (e *endpoint) findListener() {
	e.p.mu.Lock()
	var others []*endpoint
	if e.p.cfg.SameListener != nil && !e.up && e.client != nil {
		for _, other := range e.p.endpoints {
			if other != e && maySpell(e.target, other.target) && samePath(e.target, other.target) {
				others = append(others, other)
			}
		}
	}
	e.p.mu.Unlock()
	for _, other := range others {
		if e.p.cfg.SameListener(e.target, other.target) {
			e.p.mu.Lock()
			e.sameListener = append(e.sameListener, other)
			e.p.mu.Unlock()
		}
	}
}

// see records a whole page, and decides whether the endpoint is a duplicate of another one.
// The Prober's lock is held.
func (e *endpoint) see(at time.Time, latency time.Duration, created []float64, first bool) {
	if e.client == nil {
		return
	}
	s := sighting{identity: identity{slices.Clone(e.counters.ProcessStarts()), created}, began: at, ended: at.Add(latency), sum: e.counters.PageSum}
	e.sightings = append(e.sightings, s)
	if len(e.sightings) > maxSightings {
		e.sightings = slices.Delete(e.sightings, 1, 2) // the first one stays
	}
	for _, other := range e.p.endpoints {
		switch {
		case other == e || !maySpell(e.target, other.target) || len(other.sightings) == 0:
		case first && e.duplicateOf == nil && other.up && other.duplicateOf == nil:
			listener := slices.Contains(e.sameListener, other) || slices.Contains(other.sameListener, e)
			last := other.sightings[len(other.sightings)-1]
			if (listener || len(s.starts) > 0) && s.equal(last.identity) && !e.contradicts(other) {
				e.p.markDuplicate(max(e.index, other.index), min(e.index, other.index), listener)
			}
		case e.duplicateOf == other:
			e.recheck()
		case other.duplicateOf == e:
			other.recheck()
		}
	}
}

// markDuplicate makes an endpoint the duplicate of one that was added before it. If it has
// been read already, its gauges are the other one's from now on. The lock is held.
func (p *Prober) markDuplicate(index, of int, sure bool) {
	e := p.endpoints[index]
	e.duplicateOf, e.duplicateForSure = p.endpoints[of], sure
	p.gauges[e.target.Origin].Drop(index)
}

// contradicts reports whether the pages of two endpoints cannot be of one process.
func (e *endpoint) contradicts(other *endpoint) bool {
	for _, a := range e.sightings {
		if slices.ContainsFunc(other.sightings, a.contradicts) {
			return true
		}
	}
	return false
}

// recheck makes a duplicate an endpoint of its own if its pages are not those of the other
// one. The Prober's lock is held.
func (e *endpoint) recheck() {
	other := e.duplicateOf
	if e.duplicateForSure {
		return
	}
	if e.sightings[len(e.sightings)-1].equal(other.sightings[len(other.sightings)-1].identity) {
		e.mismatches = 0
	} else {
		e.mismatches++
	}
	if e.mismatches >= maxMismatches || e.contradicts(other) {
		e.duplicateOf = nil
	}
}

// isSure reports whether the endpoint need not be read: its server is read at another address.
func (p *Prober) isSure(e *endpoint) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return e.duplicateOf != nil && e.duplicateForSure
}

// duplicates returns the endpoints that have to be read again to know that they still are
// duplicates.
func (p *Prober) duplicates() (out []*endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.endpoints {
		if e.duplicateOf != nil && !e.duplicateForSure && e.target.Origin == p.best {
			out = append(out, e)
		}
	}
	return out
}
