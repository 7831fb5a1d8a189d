package window

import "github.com/vobs/vobs/internal/vllm/metrics"

// SelectDesc gives the row under which this endpoint's figure is taken. Some versions
// export the old and the new name of a figure side by side (vLLM 0.9.2 to 0.10
// those of the KV usage and of the prefix cache), and they are never added up:
// taken is the one that stood on the first page and stands on the last, of several
// the newest. Where a later process behind the endpoint does not have the figure
// at all, it is the row under which an earlier one had it; there may be none, and
// why says so.
func (l *Counters) SelectDesc(f metrics.ID) (row metrics.DescID, why string) {
	row, best := -1, -1
	for i := range metrics.DescsOf(f) {
		if !l.exported[i] {
			continue
		}
		if s := l.rank(i); s > best {
			row, best = i, s
		}
	}
	if row >= 0 {
		return row, l.whyRenamed(row)
	}
	for i := range metrics.DescsOf(f) {
		if !l.ever[i] {
			continue
		}
		for _, g := range l.Metrics {
			if g.Desc == i && g.epoch < l.epoch {
				return i, ""
			}
		}
		return 0, i.Name() + " vanished from the page inside the window"
	}
	if omni, upstream := l.HasOmni(); omni && !upstream && !f.IsOmni() {
		return 0, "the engine exports vllm-omni's own families only, and no " + metrics.CanonicalName(f)
	}
	return 0, "the engine does not export " + metrics.CanonicalName(f)
}

// rank says how well a name that is exported can be counted by, compared to
// another name of its figure.
func (l *Counters) rank(row metrics.DescID) int {
	others := 0
	for i := range metrics.DescsOf(row.Metric()) {
		if l.exported[i] {
			others++
		}
	}
	if others == 1 {
		return 0 // no choice, and no need to look
	}
	sampled := false
	for _, g := range l.Metrics {
		sampled = sampled || g.Desc == row && g.full == l.full
	}
	switch {
	case !sampled:
		return 0 // declared only
	case l.HasBaseline && l.epoch == 0 && !l.InBaseline[row]:
		return 1 // there is nothing to count from
	}
	return 2
}

// whyRenamed is the reason for no figure where a process took another's place that
// exported it under another name alone: their gains are in different rows.
func (l *Counters) whyRenamed(row metrics.DescID) string {
	if l.restartedAt == 0 {
		return ""
	}
	before := ""
	for _, g := range l.Metrics {
		if g.born >= l.restartedAt || g.Desc.Metric() != row.Metric() {
			continue
		}
		if g.Desc == row {
			return ""
		}
		before = g.Desc.Name()
	}
	if before == "" {
		return ""
	}
	return "the engine was replaced inside the window by one that calls " + before + " " + row.Name() + " (another version?)"
}
