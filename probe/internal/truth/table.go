package truth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// tally is one figure over all runs.
type tally struct {
	kind             kindOfFigure
	path             string
	runs, given      int
	wrong            int
	examples         []string
	errs             []float64
	due, dueAndGiven int
	withheld         []string // runs in which the figure was due and is null
}

// report is all figures over all runs.
type report struct{ tallies map[string]*tally }

func (r *report) add(run string, c comparison) {
	if r.tallies == nil {
		r.tallies = map[string]*tally{}
	}
	t := r.tallies[c.path]
	if t == nil {
		t = &tally{kind: c.kind, path: c.path}
		r.tallies[c.path] = t
	}
	t.runs++
	if c.due {
		t.due++
		if !c.given {
			t.withheld = append(t.withheld, run)
		}
	}
	if !c.given {
		return
	}
	t.given++
	if c.due {
		t.dueAndGiven++
	}
	t.errs = append(t.errs, c.err)
	if c.wrong != "" {
		t.wrong++
		t.examples = append(t.examples, run+": "+c.wrong)
	}
}

// sorted returns the tallies by kind and path.
func (r *report) sorted() []*tally {
	return slices.SortedFunc(maps.Values(r.tallies), func(a, b *tally) int {
		return strings.Compare(string(a.kind)+a.path, string(b.kind)+b.path)
	})
}

// table returns the errors and the coverage of every figure.
func (r *report) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "kind\tfigure\truns\tgiven\twrong\terror p50\tp95\tworst\tdue\tgiven of these")
	for _, t := range r.sorted() {
		slices.Sort(t.errs)
		errs := "\t\t"
		if len(t.errs) > 0 && t.kind != aCount && t.kind != aBound {
			errs = fmt.Sprintf("%.1f %%\t%.1f %%\t%.1f %%", 100*quantile(t.errs, 0.5), 100*quantile(t.errs, 0.95), 100*t.errs[len(t.errs)-1])
		}
		due := "\t"
		if t.due > 0 {
			due = fmt.Sprintf("%d\t%.1f %%", t.due, 100*t.coverage())
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", t.kind, strings.TrimPrefix(t.path, "engine."), t.runs, t.given, t.wrong, errs, due)
	}
	w.Flush()
	return b.String()
}

// coverage returns the share of the runs that the figure was due in and is given.
func (t *tally) coverage() float64 { return float64(t.dueAndGiven) / float64(t.due) }

// leastCoverage is the coverage that a figure needs.
func (t *tally) leastCoverage() float64 {
	switch t.kind {
	case aMean, aRate, aBound, anExact:
		return 0.95
	case aPeak:
		return 0.9
	}
	return 0
}

// mixture counts what kinds of runs there were.
type mixture struct {
	runs, short, restarted, cold, preempted, givenUp, prompt int
	requests                                                 int
}

func (m *mixture) add(p *played) {
	count := func(n *int, is bool) {
		if is {
			*n++
		}
	}
	m.runs++
	c := &comparer{played: p}
	count(&m.short, p.ended-p.started < time.Second)
	count(&m.restarted, c.restarted())
	count(&m.cold, p.scenario.coldStart > 0)
	count(&m.givenUp, p.facts.client.givenUp > 0)
	count(&m.prompt, p.scenario.late.most() < promptAnswer)
	preempted := false
	for _, e := range p.facts.engines() {
		preempted = preempted || len(e.facts.preempted) > 0
	}
	count(&m.preempted, preempted)
	m.requests += p.facts.client.sent
}

func (m mixture) String() string {
	return fmt.Sprintf("%d runs: %d under 1 s, %d with restarts, %d cold starts, %d with preemptions, %d with requests given up, %d with prompt answers; %d requests",
		m.runs, m.short, m.restarted, m.cold, m.preempted, m.givenUp, m.prompt, m.requests)
}
