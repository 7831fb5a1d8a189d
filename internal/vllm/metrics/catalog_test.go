package metrics

import (
	"math"
	"slices"
	"testing"
)

// The table of names: every figure has one, no name stands twice, and one
// figure's names are of one kind.
func TestNames(t *testing.T) {
	kinds, names := map[ID]Kind{}, map[string]bool{}
	for _, r := range Descs {
		if k, ok := kinds[r.Metric]; ok && k != r.Kind {
			t.Errorf("%s is of another kind than a name before it", r.name)
		}
		kinds[r.Metric] = r.Kind
		if names[r.name] {
			t.Errorf("%s stands twice", r.name)
		}
		names[r.name] = true
		if r.versions == "" {
			t.Errorf("%s has no versions", r.name)
		}
		if s := r.Encoding.Scale(); math.IsNaN(s) || s <= 0 {
			t.Errorf("%s: scale %v", r.name, s)
		}
	}
	for f := ID(0); f < NumMetrics; f++ {
		if _, ok := kinds[f]; !ok {
			t.Errorf("figure %d has no name", f)
		}
	}
	for _, n := range slices.Concat(PollNames, OmniPollNames) {
		if !names[n] {
			t.Errorf("polls ask for %s, which is not read", n)
		}
	}
}
