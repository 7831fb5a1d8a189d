package probe

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

// Our quantiles are Prometheus's own, on 600 random histograms that a real Prometheus
// was asked about (testdata/quantiles/make.py). They differ in one thing, on purpose:
// where the rank lies beyond the last finite bound Prometheus answers that bound, which
// is no estimate; ours is null then, and the bound stands in `above`.
func TestQuantilesOfPrometheus(t *testing.T) {
	table, err := os.ReadFile("testdata/quantiles/table.tsv")
	if err != nil {
		t.Fatal(err)
	}
	estimates, aboves, none := 0, 0, 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		g := &group{}
		for _, b := range strings.Fields(cells[1]) {
			le, n, _ := strings.Cut(b, ":")
			g.buckets = append(g.buckets, &bucket{number(t, le), number(t, n)})
		}
		h := merge([]*group{g})
		for i, q := range []float64{0.5, 0.9, 0.95, 0.99} {
			want := number(t, cells[2+i])
			got, above := h.quantile(q)
			what := fmt.Sprintf("%s, %s: the %v quantile is %v above %v, Prometheus says %v", cells[0], cells[1], q, show(got), show(above), want)
			switch {
			case got != nil && above != nil:
				t.Error(what)
			case got != nil:
				estimates++
				if x := float64(*got); !(math.Abs(x-want) <= 1e-12*max(math.Abs(want), math.Abs(x))) {
					t.Error(what)
				}
			case above != nil:
				aboves++
				n := len(h.buckets)
				beyond := h.buckets[n-2].gained < q*h.buckets[n-1].gained
				if float64(*above) != want || !beyond {
					t.Error(what)
				}
			default:
				none++
				if !math.IsNaN(want) {
					t.Error(what)
				}
			}
		}
	}
	if estimates < 1000 || aboves < 200 || none < 300 {
		t.Errorf("%d estimates, %d beyond the last bound, %d without any: too few to tell", estimates, aboves, none)
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func show(x *schema.Float) string {
	if x == nil {
		return "nothing"
	}
	return fmt.Sprint(float64(*x))
}
