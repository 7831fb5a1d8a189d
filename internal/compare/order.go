package compare

import (
	"cmp"
	"slices"

	"github.com/vobs/vobs/internal/stats"
)

// orderLevel is the probability of so few changes between the sides below which their order
// is not taken for chance.
const orderLevel = 0.05

// Order describes how the runs of the two sides followed each other.
type Order struct {
	// Runs is the number of stretches of runs of one side.
	Runs int `json:"runs"`
	// P is the probability of that few or fewer stretches in a random order.
	P float64 `json:"p"`
	// Interleaved reports whether something that drifts affected both sides alike.
	Interleaved bool `json:"interleaved"`
}

// orderOf returns the order of the runs, by the times of their start.
func orderOf(base, new []*Run) Order {
	type started struct {
		run *Run
		new bool
	}
	var all []started
	for _, r := range base {
		all = append(all, started{r, false})
	}
	for _, r := range new {
		all = append(all, started{r, true})
	}
	slices.SortStableFunc(all, func(a, b started) int { return cmp.Compare(a.run.started, b.run.started) })
	sides := make([]bool, len(all))
	for i, s := range all {
		sides[i] = s.new
	}
	runs, ofNew, ofBase := stats.CountRuns(sides)
	o := Order{Runs: runs, P: stats.RunsTest(runs, ofNew, ofBase)}
	o.Interleaved = o.Runs > 2 && o.P >= orderLevel
	return o
}
