package window

import (
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// PageKind is what [Counters.Classify] finds on a page.
type PageKind struct {
	VLLM         bool // a sample of vLLM or vllm-omni
	HasHistogram bool // a histogram: the page was not filtered
	HasPollNames bool // the gauges and counters that filtered scrapes request
}

// Classify reports what kind of page it is, and prepares it for [Counters.Apply]: it drops
// the samples that are not read, and those in another naming than the best one. It adds up
// nothing.
func (c *Counters) Classify(page *exposition.Page, full bool) (k PageKind) {
	last := c.lastPages[0]
	if full {
		last = c.lastPages[1]
	}
	c.samples = c.samples[:0]
	kept := page.Samples[:0]
	best, worst := metrics.NumNamings, metrics.Native
	for i := range page.Samples {
		s := &page.Samples[i]
		var sample pageSample
		if n := len(c.samples); n < len(last) && last[n].labels == s.Labels && last[n].name == s.Name {
			sample = last[n]
		} else {
			m, ok := metrics.Lookup(s.Name)
			if !ok {
				c.noteUnread(s.Name)
			}
			if !ok || m.Part == metrics.PartFamily {
				continue
			}
			sample = pageSample{name: s.Name, labels: s.Labels, match: m}
			sample.series = c.series[seriesKey{s.Name, s.Labels.Key()}]
			c.Collector = c.Collector || m.Desc.IsVLLM() && isCopied(s.Labels)
		}
		if desc := sample.match.Desc; desc.IsVLLM() {
			best, worst = min(best, desc.Naming()), max(worst, desc.Naming())
		}
		c.samples = append(c.samples, sample)
		kept = append(kept, *s)
	}
	page.Samples = kept
	if best != metrics.NumNamings {
		c.Naming = best
	}
	if worst != metrics.Native || c.Collector {
		c.dropOtherNamings(page)
	}
	var has [metrics.NumMetrics]bool
	for i := range c.samples {
		desc := c.samples[i].match.Desc.Desc()
		has[desc.Metric] = true
		k.VLLM = k.VLLM || c.samples[i].match.Desc.IsVLLM()
		k.HasHistogram = k.HasHistogram || desc.Kind == metrics.KindHistogram
	}
	k.HasPollNames = has[metrics.KVCacheUsage] && has[metrics.RequestsRunning] && has[metrics.GenerationTokens]
	if has[metrics.OmniRunning] && !has[metrics.RequestsRunning] {
		_, vllm := c.HasOmni()
		k.HasPollNames = !vllm // a vllm-omni server without vLLM's own statistics
	}
	return k
}

// maxUnread bounds the number of families in [Counters.Unread].
const maxUnread = 256

// noteUnread notes a name on a page that is not read.
func (c *Counters) noteUnread(name string) {
	if len(c.Unread) < maxUnread {
		if family, ok := metrics.UnreadFamily(name); ok {
			c.Unread[family] = true
		}
	}
}

// collectorLabels are labels that say where a program got a sample from. vLLM's own samples
// have none of them. vLLM production-stack's router has `server` on its copies of the
// engines' gauges (src/vllm_router/services/metrics_service); Prometheus adds job and
// instance to what it scrapes, which its /federate page has too, and renames such labels of
// others to exported_job and exported_instance.
var collectorLabels = [...]string{"server", "instance", "job", "exported_instance", "exported_job"}

// isCopied reports whether a sample's labels show that a collector copied it.
func isCopied(labels *exposition.Labels) bool {
	for _, name := range collectorLabels {
		if labels.Get(name) != "" {
			return true
		}
	}
	return false
}

// dropOtherNamings drops the samples of a page that are not in the page's naming: they are
// copies, or belong to other engines. What a collector's page has of a process is the
// collector's, not the engine's.
func (c *Counters) dropOtherNamings(page *exposition.Page) {
	n := 0
	for i, sample := range c.samples {
		ofCollector := c.Collector && sample.match.Desc.Metric().IsProcess()
		if c.reads(sample.match.Desc) && !ofCollector {
			c.samples[n], page.Samples[n] = sample, page.Samples[i]
			n++
		}
	}
	c.samples, page.Samples = c.samples[:n], page.Samples[:n]
}

// reads reports whether the name is in the naming that is read.
func (c *Counters) reads(desc metrics.DescID) bool { return desc.Naming() == c.Naming }

// declares reports whether a TYPE line with the matched name and type t declares the
// metric.
func declares(m metrics.Match, t exposition.Type) bool {
	// A gauge with a counter's name but without _total is another metric, or Ray's copy.
	return m.Part != metrics.PartFamily || m.Desc.Desc().Kind != metrics.KindCounter || t == exposition.Counter
}
