package metrics

import (
	"math"
	"slices"
	"testing"
)

// Every metric has a name, no name occurs twice, and all names of a metric have one kind.
func TestCatalog(t *testing.T) {
	kinds, names := map[ID]Kind{}, map[string]bool{}
	for _, d := range descs {
		if k, ok := kinds[d.Metric]; ok && k != d.Kind {
			t.Errorf("%s has another kind than the metric's name before it", d.name)
		}
		kinds[d.Metric] = d.Kind
		if names[d.name] {
			t.Errorf("%s occurs twice", d.name)
		}
		names[d.name] = true
		if d.versions == "" {
			t.Errorf("%s has no versions", d.name)
		}
		if s := d.Encoding.Scale(); math.IsNaN(s) || s <= 0 {
			t.Errorf("%s: scale %v", d.name, s)
		}
	}
	for m := range NumMetrics {
		if _, ok := kinds[m]; !ok {
			t.Errorf("metric %d has no name", m)
		}
	}
	for _, n := range slices.Concat(PollNames, OmniPollNames) {
		if !names[n] {
			t.Errorf("filtered scrapes request %s, which is not read", n)
		}
	}
}
