package window

import "github.com/vobs/vobs/internal/vllm/metrics"

// SelectDesc returns the name under which the endpoint's metric is read. Some versions
// export the old and the new name of a metric side by side (vLLM 0.9.2 to 0.10 those of
// the KV usage and of the prefix cache); they are never added up. Selected is the name
// that is on the baseline page and on the last one, the newest if there are several. If a
// later process behind the endpoint does not have the metric at all, it is the name that
// an earlier process used. If there is none, why is the reason.
func (c *Counters) SelectDesc(id metrics.ID) (desc metrics.DescID, why string) {
	desc, best := -1, -1
	for d := range id.Descs() {
		if !c.exported[d] {
			continue
		}
		if r := c.rank(d); r > best {
			desc, best = d, r
		}
	}
	if desc >= 0 {
		return desc, c.whyRenamed(desc)
	}
	for d := range id.Descs() {
		if !c.everExported[d] {
			continue
		}
		for _, m := range c.all {
			if m.Desc == d && m.epoch < c.epoch {
				return d, ""
			}
		}
		return 0, d.Name() + " vanished from the page inside the window"
	}
	if omni, vllm := c.HasOmni(); omni && !vllm && !id.IsOmni() {
		return 0, "the engine exports vllm-omni's own families only, without " + id.CanonicalName()
	}
	return 0, "the engine does not export " + id.CanonicalName()
}

// rank returns how well an exported name can be counted by, compared with the other names
// of its metric.
func (c *Counters) rank(desc metrics.DescID) int {
	exported := 0
	for d := range desc.Metric().Descs() {
		if c.exported[d] {
			exported++
		}
	}
	if exported == 1 {
		return 0 // the only one
	}
	sampled := false
	for _, m := range c.all {
		sampled = sampled || m.Desc == desc && m.lastFull == c.full
	}
	switch {
	case !sampled:
		return 0 // only declared
	case c.epoch == 0 && c.MissedBaseline(desc):
		return 1 // its gain is unknown
	}
	return 2
}

// whyRenamed returns the reason, or "", why a metric has no gain after a restart: the
// process before exported it only under another name, so that the two gains are under
// different names.
func (c *Counters) whyRenamed(desc metrics.DescID) string {
	if c.restartedAt == 0 {
		return ""
	}
	before := ""
	for _, m := range c.all {
		if m.firstScrape >= c.restartedAt || m.Desc.Metric() != desc.Metric() {
			continue
		}
		if m.Desc == desc {
			return ""
		}
		before = m.Desc.Name()
	}
	if before == "" {
		return ""
	}
	return "the engine was replaced inside the window by one that exports " + before + " as " + desc.Name() + " (another version?)"
}
