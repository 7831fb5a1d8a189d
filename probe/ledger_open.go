package probe

import "github.com/vobs/vobs/probe/exposition"

// content is what kind of a page it is.
type content struct {
	vllm   bool // there is a sample of vLLM at all
	bulk   bool // there is a histogram: the page was not filtered
	polled bool // the gauges and counters are there that filtered polls are for
}

// open looks at a page, without taking it in. It leaves out of the page the samples
// that are no figure's, and those in another spelling than the best one.
func (l *ledger) open(page *exposition.Page, full bool) (c content) {
	old := &l.seen[0]
	if full {
		old = &l.seen[1]
	}
	l.lines = l.lines[:0]
	kept := page.Samples[:0]
	best, worst := spellings, ownSpelling
	for i := range page.Samples {
		s := &page.Samples[i]
		var ln line
		if k := len(l.lines); k < len(*old) && (*old)[k].labels == s.Labels && (*old)[k].name == s.Name {
			ln = (*old)[k]
		} else {
			w, ok := lookup(s.Name)
			if !ok || w.part == declared {
				continue
			}
			ln = line{name: s.Name, labels: s.Labels, wanted: w}
			ln.series = l.series[seriesKey{s.Name, s.Labels.Key()}]
		}
		if ln.wanted.row.isVLLM() {
			best, worst = min(best, ln.wanted.row.spelling()), max(worst, ln.wanted.row.spelling())
		}
		l.lines = append(l.lines, ln)
		kept = append(kept, *s)
	}
	page.Samples = kept
	if best != spellings {
		l.spelling = best
	}
	if worst != ownSpelling {
		l.leaveOut(page)
	}
	var has [figureCount]bool // by figure
	for i := range l.lines {
		r := l.lines[i].wanted.row.row()
		has[r.figure] = true
		c.vllm = c.vllm || r.figure != processStart
		c.bulk = c.bulk || r.kind == histogramKind
	}
	c.polled = has[kvUsage] && has[running] && has[generationTokens]
	if has[omniRunning] && !has[running] {
		_, upstream := l.hasOmni()
		c.polled = !upstream // a server whose own statistics are off
	}
	return c
}

// leaveOut drops the lines of a page that are in another spelling than the ledger's:
// they tell of the same once more, or of others. The process whose start such a page
// tells of is not the engine's, but the agent's that collects for it.
func (l *ledger) leaveOut(page *exposition.Page) {
	n := 0
	for i, ln := range l.lines {
		if l.reads(ln.wanted.row) {
			l.lines[n], page.Samples[n] = ln, page.Samples[i]
			n++
		}
	}
	l.lines, page.Samples = l.lines[:n], page.Samples[:n]
}

// reads says whether a row is in the spelling that is read.
func (l *ledger) reads(row rowID) bool {
	return row.spelling() == l.spelling
}

// hasOmni says whether a page had families of vllm-omni, and whether of upstream's.
func (l *ledger) hasOmni() (omni, upstream bool) {
	for i, ever := range l.ever {
		if f := rowID(i).figure(); ever {
			omni = omni || f.isOmni()
			upstream = upstream || !f.isOmni() && f != processStart
		}
	}
	return omni, upstream
}
