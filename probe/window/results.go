package window

import (
	"maps"
	"slices"

	"github.com/vobs/vobs/internal/vllm/metrics"
)

// Metrics returns the counters and histograms of all pages, in the order of their
// appearance.
func (c *Counters) Metrics() []*Metric { return c.all }

// Models returns the values of the label model_name, sorted.
func (c *Counters) Models() []string { return slices.Sorted(maps.Keys(c.models)) }

// EverExported reports whether any page had the metric, under any of its names.
func (c *Counters) EverExported(id metrics.ID) bool { return anyOf(c.everExported, id) }

// Overflowed reports whether the metric has more series than are tracked.
func (c *Counters) Overflowed(id metrics.ID) bool { return anyOf(c.overflowed, id) }

// anyOf reports whether one of the metric's names is in the set.
func anyOf(set []bool, id metrics.ID) bool {
	for desc := range id.Descs() {
		if set[desc] {
			return true
		}
	}
	return false
}

// MissedBaseline reports whether counters count from a page that did not have the family.
func (c *Counters) MissedBaseline(desc metrics.DescID) bool {
	return c.hasBaseline && !c.inBaseline[desc]
}

// HasOmni reports whether any page had metrics of vllm-omni's own, and whether any had
// vLLM's.
func (c *Counters) HasOmni() (omni, vllm bool) {
	for i, ever := range c.everExported {
		if desc := metrics.DescID(i); ever && desc.IsVLLM() {
			omni = omni || desc.Metric().IsOmni()
			vllm = vllm || !desc.Metric().IsOmni()
		}
	}
	return omni, vllm
}

// WhyUnusable returns why a metric's gains cannot be used, or "". unrecorded has the
// stages whose engines worked without recording it, with the reason: a metric of theirs
// that did not move is unusable too.
func (c *Counters) WhyUnusable(m *Metric, unrecorded map[string]string) string {
	name := m.Desc.Name()
	switch {
	case c.LoadBalanced:
		return "several servers answer at this address in turn (behind a load balancer?): give the address of each one"
	case c.overflowed[m.Desc]:
		return name + " has more series than vobs tracks"
	case m.unusable != "":
		return m.unusable
	case !m.Moved() && m.Desc.Metric().IsCore() && unrecorded[m.Engine.Stage] != "":
		return unrecorded[m.Engine.Stage]
	case m.invalidAt != 0 && m.invalidAt == c.full:
		return name + " had an invalid value (negative, NaN or infinite) or two different values on the last page"
	case m.epoch == c.epoch && (m.lastFull != c.full || m.series < m.maxSeries):
		return "a series of " + name + " vanished from the page inside the window"
	case m.Total >= MaxExact || m.Count >= MaxExact:
		return name + " is too large for an exact count (2^53 or more)"
	}
	return ""
}

// WhyNotQueryable returns why the configuration that the server with this name returns
// would not describe its engines, or "". Ray's agent, for example, has a /version of its
// own.
func (c *Counters) WhyNotQueryable(name string) string {
	switch {
	case c.LoadBalanced:
		return "several servers answer at " + name + " in turn"
	case c.Naming != metrics.Native, c.Collector:
		return "the page at " + name + " is not the engine's own but a metrics collector's"
	}
	return ""
}

// Size returns the number of tracked series and the total length of their labels, which
// determine the memory. [MaxSeries] and [MaxLabelBytes] bound them.
func (c *Counters) Size() (series, labelBytes int) { return len(c.series), c.labelBytes }
