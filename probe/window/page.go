package window

import (
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// PageKind is what kind of a page it is.
type PageKind struct {
	VLLM         bool // there is a sample of vLLM at all
	HasHistogram bool // there is a histogram: the page was not filtered
	HasPollNames bool // the gauges and counters are there that filtered polls are for
}

// Classify looks at a page, without taking it in. It leaves out of the page the samples
// that are no figure's, and those in another spelling than the best one.
func (l *Counters) Classify(page *exposition.Page, full bool) (c PageKind) {
	old := &l.lastPages[0]
	if full {
		old = &l.lastPages[1]
	}
	l.samples = l.samples[:0]
	kept := page.Samples[:0]
	best, worst := metrics.NumNamings, metrics.Native
	for i := range page.Samples {
		s := &page.Samples[i]
		var ln pageSample
		if k := len(l.samples); k < len(*old) && (*old)[k].labels == s.Labels && (*old)[k].name == s.Name {
			ln = (*old)[k]
		} else {
			w, ok := metrics.Lookup(s.Name)
			if !ok || w.Part == metrics.PartType {
				continue
			}
			ln = pageSample{name: s.Name, labels: s.Labels, match: w}
			ln.series = l.series[seriesKey{s.Name, s.Labels.Key()}]
		}
		if ln.match.Desc.IsVLLM() {
			best, worst = min(best, ln.match.Desc.Naming()), max(worst, ln.match.Desc.Naming())
		}
		l.samples = append(l.samples, ln)
		kept = append(kept, *s)
	}
	page.Samples = kept
	if best != metrics.NumNamings {
		l.Naming = best
	}
	if worst != metrics.Native {
		l.dropOtherNamings(page)
	}
	var has [metrics.NumMetrics]bool // by figure
	for i := range l.samples {
		r := l.samples[i].match.Desc.Desc()
		has[r.Metric] = true
		c.VLLM = c.VLLM || r.Metric != metrics.ProcessStart
		c.HasHistogram = c.HasHistogram || r.Kind == metrics.KindHistogram
	}
	c.HasPollNames = has[metrics.KVCacheUsage] && has[metrics.RequestsRunning] && has[metrics.GenerationTokens]
	if has[metrics.OmniRunning] && !has[metrics.RequestsRunning] {
		_, upstream := l.HasOmni()
		c.HasPollNames = !upstream // a server whose own statistics are off
	}
	return c
}

// dropOtherNamings drops the lines of a page that are in another spelling than the ledger's:
// they tell of the same once more, or of others. The process whose start such a page
// tells of is not the engine's, but the agent's that collects for it.
func (l *Counters) dropOtherNamings(page *exposition.Page) {
	n := 0
	for i, ln := range l.samples {
		if l.reads(ln.match.Desc) {
			l.samples[n], page.Samples[n] = ln, page.Samples[i]
			n++
		}
	}
	l.samples, page.Samples = l.samples[:n], page.Samples[:n]
}

// reads says whether a row is in the spelling that is read.
func (l *Counters) reads(row metrics.DescID) bool {
	return row.Naming() == l.Naming
}

// HasOmni says whether a page had families of vllm-omni, and whether of upstream's.
func (l *Counters) HasOmni() (omni, upstream bool) {
	for i, ever := range l.ever {
		if f := metrics.DescID(i).Metric(); ever {
			omni = omni || f.IsOmni()
			upstream = upstream || !f.IsOmni() && f != metrics.ProcessStart
		}
	}
	return omni, upstream
}
