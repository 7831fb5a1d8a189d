package ab

import (
	"maps"
	"slices"

	"github.com/vobs/vobs/internal/compare"
	"github.com/vobs/vobs/schema"
)

// Pairs collects the runs of pairs.
type Pairs struct {
	reader compare.Reader
	runs   map[int]map[Side]*compare.Run
}

// NewPairs returns an empty collection of runs with the values of metrics.
func NewPairs(metrics []compare.Metric) *Pairs {
	return &Pairs{reader: compare.Reader{Metrics: metrics}, runs: map[int]map[Side]*compare.Run{}}
}

// Add adds the run of a step, unless its command failed or was interrupted.
func (p *Pairs) Add(step Step, e *schema.GenerationObservability) {
	if e.Run.ExitCode == nil || *e.Run.ExitCode != 0 || e.Run.Interrupted {
		return
	}
	if p.runs[step.Pair] == nil {
		p.runs[step.Pair] = map[Side]*compare.Run{}
	}
	p.runs[step.Pair][step.Side] = p.reader.Run(e, step.String())
}

// Complete returns the runs of both sides, of the pairs that have both, in the order of the
// pairs.
func (p *Pairs) Complete() (base, new []*compare.Run) {
	for _, number := range slices.Sorted(maps.Keys(p.runs)) {
		if pair := p.runs[number]; pair[A] != nil && pair[B] != nil {
			base, new = append(base, pair[A]), append(new, pair[B])
		}
	}
	return base, new
}
