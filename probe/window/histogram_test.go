package window

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vobs/vobs/schema"
)

// The expected values are those of Prometheus's histogram_quantile.
func TestQuantile(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name    string
		buckets []Bucket
		q       float64
		want    *schema.Float
		above   *schema.Float
	}{
		{"in the first bucket, from 0", []Bucket{{10, 4}, {inf, 4}}, 0.5, schema.F(5), nil},
		{"linear within", []Bucket{{1, 2}, {2, 6}, {inf, 6}}, 0.5, schema.F(1.25), nil},
		{"at a bound", []Bucket{{1, 5}, {2, 10}, {inf, 10}}, 0.5, schema.F(1), nil},
		{"beyond the last bound", []Bucket{{1, 5}, {2, 8}, {inf, 10}}, 0.99, nil, schema.F(2)},
		{"empty buckets between", []Bucket{{1, 5}, {2, 5}, {4, 10}, {inf, 10}}, 0.9, schema.F(3.6), nil},
		{"first bound not positive", []Bucket{{-1, 5}, {0, 10}, {inf, 10}}, 0.2, schema.F(-1), nil},
		{"nothing observed", []Bucket{{1, 0}, {inf, 0}}, 0.5, nil, nil},
		{"no +Inf", []Bucket{{1, 5}, {2, 5}}, 0.5, nil, nil},
	} {
		got, above := Histogram{Buckets: c.buckets}.quantile(c.q)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got) %s", c.name, diff)
		}
		if diff := cmp.Diff(c.above, above); diff != "" {
			t.Errorf("%s: above (-want +got) %s", c.name, diff)
		}
	}
}

func TestMergeKeepsCommonBounds(t *testing.T) {
	inf := math.Inf(1)
	a := &Metric{Count: 10, sum: 20, Buckets: []*Bucket{{1, 4}, {2, 6}, {5, 9}, {inf, 10}}}
	b := &Metric{Count: 4, sum: 8, Buckets: []*Bucket{{1, 1}, {3, 3}, {5, 4}, {inf, 4}}}
	h := MergeHistograms([]*Metric{a, b})
	if diff := cmp.Diff([]Bucket{{1, 5}, {5, 13}, {inf, 14}}, h.Buckets, cmp.AllowUnexported(Bucket{})); diff != "" || h.Count != 14 || h.Sum != 28 {
		t.Errorf("merged: %+v %s", h, diff)
	}
}

// The quantiles equal Prometheus's on 600 random histograms that a real Prometheus
// evaluated (testdata/quantiles/make.py), with one intended difference: if the rank lies
// beyond the last finite bound, Prometheus returns that bound, which is not an estimate;
// here the estimate is nil, and the bound is in above.
func TestQuantilesMatchPrometheus(t *testing.T) {
	table, err := os.ReadFile("testdata/quantiles/table.tsv")
	if err != nil {
		t.Fatal(err)
	}
	estimates, aboves, none := 0, 0, 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		g := &Metric{}
		for _, b := range strings.Fields(cells[1]) {
			le, n, _ := strings.Cut(b, ":")
			g.Buckets = append(g.Buckets, &Bucket{number(t, le), number(t, n)})
		}
		h := MergeHistograms([]*Metric{g})
		for i, q := range []float64{0.5, 0.9, 0.95, 0.99} {
			want := number(t, cells[2+i])
			got, above := h.quantile(q)
			what := fmt.Sprintf("%s, %s: the %v quantile is %v, above %v; Prometheus returns %v", cells[0], cells[1], q, show(got), show(above), want)
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
				n := len(h.Buckets)
				beyond := h.Buckets[n-2].Count < q*h.Buckets[n-1].Count
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
		t.Errorf("%d estimates, %d beyond the last bound, %d without either: too few to conclude anything", estimates, aboves, none)
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
		return "nil"
	}
	return fmt.Sprint(float64(*x))
}
