package probe

import (
	"fmt"
	"slices"

	"github.com/vobs/vobs/schema"
)

// groups collects a figure's groups of the stage over all endpoints, of each
// endpoint those of the one name that it exports. why is the reason for none.
// Where an endpoint's engines have stages, series of upstream's that have none
// (of helpers that some vllm-omni builds leave with the label engine) belong to
// no stage that is known.
func (r view) groups(f figure) (groups []*group, why string) {
	return r.gather(func(*record) figure { return f }, func(*group) bool { return true })
}

// gather does so for a figure that each endpoint has its own of, and for a part
// of its groups.
func (r view) gather(figureOf func(*record) figure, wanted func(*group) bool) (groups []*group, why string) {
	exported, stageless := false, ""
	for _, e := range r.endpoints {
		f := figureOf(e)
		if !f.isOmni() && e.elsewhere(r.stage) {
			continue // engines of other stages alone, or of none
		}
		row, none := e.Counters.rowOf(f)
		if none != "" {
			if why == "" || e.Counters.had(f) {
				why = none
			}
			if e.Counters.had(f) {
				return nil, why
			}
			continue
		}
		exported = true
		for _, g := range e.Counters.groups {
			if g.row != row || !wanted(g) {
				continue
			}
			if g.engine.stage != r.stage {
				if g.engine.stage == "" {
					stageless = row.name()
				}
				continue
			}
			if why := e.trouble(g); why != "" {
				return nil, why
			}
			groups = append(groups, g)
		}
	}
	switch {
	case !exported:
		return nil, why
	case stageless != "":
		// Builds of vllm-omni whose connectors and drafters did not know of stages
		// (PR 3576, phase 2.4): none of it may be taken for nothing.
		return nil, "the series of " + stageless + " tell no stage, while others do: which stage's they are is not known"
	}
	return groups, ""
}

// counter adds up a counter; why is "" where there is a sum.
func (r view) counter(f figure) (sum int64, why string) {
	groups, why := r.groups(f)
	if why != "" {
		return 0, why
	}
	total := 0.0
	for _, g := range groups {
		total += g.gain()
	}
	return int64(total), ""
}

// count gives a counter for the field at path, nil with its reason noted.
func (r view) count(path string, f figure) *int64 {
	sum, why := r.counter(f)
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	return &sum
}

// countBy splits a counter by its label.
func (r view) countBy(path string, f figure) map[string]int64 {
	groups, why := r.groups(f)
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	out := map[string]int64{}
	for _, g := range groups {
		out[g.by] += int64(g.gain())
	}
	return out
}

func (r view) distribution(path string, f figure) *schema.Distribution {
	groups, why := r.groups(f)
	if why == "" && len(groups) == 0 && r.stage != "" {
		why = "the engine has no sample of " + nameOf(f) + " for this stage"
	}
	return r.spread(path, groups, why, nameOf(f))
}

// spread gives a histogram's groups for the field at path, nil with its reason noted.
func (r view) spread(path string, groups []*group, why, name string) *schema.Distribution {
	if why == "" && len(groups) == 0 {
		why = "the engine declares " + name + " and has no sample of it"
	}
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	d := merge(groups).distribution()
	if d == nil {
		r.Notes.Missing(path, "nothing was observed in the window")
		return nil
	}
	for _, q := range []struct {
		name  string
		value *schema.Float
	}{{"p50_est", d.P50Est}, {"p90_est", d.P90Est}, {"p95_est", d.P95Est}, {"p99_est", d.P99Est}} {
		if q.value == nil {
			why := "the histogram's buckets cannot be read"
			switch {
			case d.Above != nil:
				why = "the rank lies beyond the last finite bucket bound"
			case !groups[0].row.row().form.quantiles():
				why = "the engine's buckets for it were not made for such values"
			}
			r.Notes.Missing(path+"."+q.name, why)
		}
	}
	return d
}

func (r view) gauge(path string, f figure) *schema.Gauge { return r.gaugeOf(path, f, "") }

// gaugeOf gives the gauge at one value of the label that splits it.
func (r view) gaugeOf(path string, f figure, by string) *schema.Gauge {
	figure, c := &r.gauges.figures[f], scope{r.stage, by}
	g := figure.totals[c].gauge()
	if g == nil || r.overflown(f) || r.silent(f) != "" {
		r.Notes.Missing(path, r.noGauge(f, by))
		return nil
	}
	if figure.lost(c) {
		g.Last = nil
		r.Notes.Missing(path+".last", nameOf(f)+" vanished from the page inside the window")
	}
	if g.Peak == nil {
		r.Notes.Missing(path+".peak", "no poll fell into the run")
	}
	if g.Mean == nil {
		r.Notes.Missing(path+".mean", "fewer than two polls fell into the run")
	}
	return g
}

// silent gives the reason for which a gauge of upstream's that always stood at 0
// says nothing; "" where there is none.
func (r view) silent(f figure) string {
	t := r.gauges.figures[f].totals[scope{stage: r.stage}]
	if f >= coreFigures || t == nil || t.peak > 0 || t.last > 0 {
		return ""
	}
	for _, e := range r.endpoints {
		if why := e.unrecorded[r.stage]; why != "" {
			return why
		}
	}
	return ""
}

// overflown says whether an endpoint has more series of a figure than are followed.
func (r view) overflown(f figure) bool {
	for _, e := range r.endpoints {
		for i := range rowsOf(f) {
			if e.Counters.overflown[i] {
				return true
			}
		}
	}
	return false
}

// noGauge says why there is no reading of a gauge at all, at one value of the
// label that splits it.
func (r view) noGauge(f figure, by string) string {
	if r.overflown(f) {
		return nameOf(f) + " has more series than are followed"
	}
	if why := r.silent(f); why != "" {
		return why
	}
	for p := range r.gauges.figures[f].seats {
		if p.engine.stage != r.stage || p.by != by {
			continue
		}
		return "no reading of " + nameOf(f) + " could be taken: its values were NaN or infinite, or it stood on the page twice with different ones"
	}
	if r.had(f) {
		why := "the engine has no sample of " + nameOf(f)
		if by != "" {
			why += fmt.Sprintf(" for %q", by)
		}
		return why
	}
	for _, e := range r.endpoints {
		if _, why := e.Counters.rowOf(f); why != "" {
			return why
		}
	}
	return "the engine does not export " + nameOf(f)
}

// had says whether any endpoint exported one of some figures.
func (r view) had(figures ...figure) bool {
	for _, e := range r.endpoints {
		if slices.ContainsFunc(figures, e.Counters.had) {
			return true
		}
	}
	return false
}
