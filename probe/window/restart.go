package window

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// startTimes are the values of process_start_time_seconds of an endpoint's pages, sorted and
// distinct. There are several if a page is merged from those of several processes (Istio's
// agent adds its own metrics to an application's).
type startTimes struct {
	page    []float64 // of the current page
	known   []float64 // of the process or processes known to answer
	partial bool      // known is from a filtered page, which may lack some
}

// add adds a value of the current page.
func (s *startTimes) add(value float64) {
	if at, found := slices.BinarySearch(s.page, value); !found && value > 0 && !notFinite(value) {
		s.page = slices.Insert(s.page, at, value)
	}
}

// compare compares the values of the current page with those before, and remembers them.
// changed reports whether another process answers, same whether the page shows that the same
// ones do, and older whether the process that answers now is the older one. A page without a
// value shows nothing.
func (s *startTimes) compare(full bool) (changed, same, older bool) {
	if len(s.page) == 0 {
		return false, false, false
	}
	if len(s.known) > 0 {
		switch {
		case !full:
			changed = !subset(s.page, s.known)
		case s.partial:
			changed = !subset(s.known, s.page)
		default:
			changed = !slices.Equal(s.known, s.page)
		}
		same = !changed
		older = changed && len(s.page) == len(s.known) && slices.Max(s.page) < slices.Max(s.known)
	}
	if full || changed || len(s.known) == 0 {
		s.known = append(s.known[:0], s.page...)
		s.partial = !full
	}
	return changed, same, older
}

// subset reports whether all values of a sorted slice are in another one.
func subset(part, whole []float64) bool {
	for _, x := range part {
		if _, found := slices.BinarySearch(whole, x); !found {
			return false
		}
	}
	return true
}

// findRestart reports whether another process answers than before: the process start times
// changed, or at least half of the counts decreased. (Not all do: a young process may have
// counted more than the one before it.) It marks the metrics whose counts decreased.
func (c *Counters) findRestart(full bool) (restarted bool) {
	decreased, others := 0, 0
	for i := range c.samples {
		sample := &c.samples[i]
		s := sample.series
		if s == nil || s.scrape != c.scrape || s.invalid || s.metric == nil || s.fresh || s.epoch != c.epoch {
			continue
		}
		switch count := isCount(sample.match); {
		case sample.match.Part == metrics.PartSum: // no evidence of a restart: see accumulate
		case s.pending < s.value:
			s.metric.resetAt = c.scrape
			if count {
				decreased++
			}
		case count && s.value > 0:
			others++
		}
	}
	changed, same, older := c.starts.compare(full)
	c.sameProcess = same
	c.LoadBalanced = c.LoadBalanced || older
	restarted = changed || decreased > 0 && decreased >= others
	if restarted && len(c.starts.page) == 0 {
		c.starts.known = c.starts.known[:0] // they were the previous process's
	}
	return restarted
}

// ProcessStart returns process_start_time_seconds, in Unix time; ok is false unless exactly
// one process behind the endpoint exports it.
func (c *Counters) ProcessStart() (seconds float64, ok bool) {
	if len(c.starts.known) != 1 {
		return 0, false
	}
	return c.starts.known[0], true
}

// ProcessStarts returns the different values of process_start_time_seconds behind the
// endpoint, sorted. The caller must not change them.
func (c *Counters) ProcessStarts() []float64 { return c.starts.known }

// replaceConfigs begins the labels of vllm:cache_config_info of a new process, and returns
// those of the one before it.
func (c *Counters) replaceConfigs() (before map[EngineID]*exposition.Labels) {
	c.noteChangedLabels()
	before = c.Configs
	if len(before) > 0 {
		c.configsBefore = before
	}
	c.Configs = map[EngineID]*exposition.Labels{}
	return before
}

// maxChangedLabels is how many changed labels are kept.
const maxChangedLabels = 16

// noteChangedLabels compares the cache configuration of the current process with that of the
// one before it.
func (c *Counters) noteChangedLabels() {
	if len(c.Configs) == 0 || c.configsBefore == nil {
		return
	}
	for id, now := range c.Configs {
		before := c.configsBefore[id]
		if before == nil {
			continue
		}
		for _, p := range now.Pairs() {
			if old := before.Get(p.Name); old != p.Value && len(c.changedLabels) < maxChangedLabels {
				c.changedLabels[p.Name] = fmt.Sprintf("%s=%.40s, then %.40s", p.Name, cmp.Or(old, "none"), p.Value)
			}
		}
	}
}

// ChangedLabels returns the labels of vllm:cache_config_info that differ between two
// processes that followed each other behind the endpoint, each with its last two different
// values, sorted.
func (c *Counters) ChangedLabels() []string {
	c.noteChangedLabels()
	return slices.Sorted(maps.Values(c.changedLabels))
}
