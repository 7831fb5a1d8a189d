package window

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
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

// A distribution has estimates within the bounds that its sum proves, and the buckets that
// observations fell into.
func TestDistribution(t *testing.T) {
	inf := math.Inf(1)
	pair := func(low, high float64) *schema.Bounds { return &schema.Bounds{schema.F(low), schema.F(high)} }
	for _, c := range []struct {
		name string
		h    Histogram
		want string
	}{
		// 80 requests of a real engine waited 0.00133 s in all; their first bucket ends at 0.3 s.
		{"far below the first bound", Histogram{80, 0.00133, []Bucket{{0.3, 80}, {0.5, 80}, {inf, 80}}},
			`{"count":80,"sum":0.00133,"mean":0.000016625,"p50_est":0.0000332501,"p90_est":0.000166251,"p95_est":0.000332501,"p99_est":0.00166251,"above":null,"p50_bounds":[0.0,0.0000332501],"p90_bounds":[0.0,0.000166251],"p95_bounds":[0.0,0.000332501],"p99_bounds":[0.0,0.00166251],"buckets":[[0.3,80]]}`},
		{"a sum of 0", Histogram{80, 0, []Bucket{{0.3, 80}, {0.5, 80}, {inf, 80}}},
			`{"count":80,"sum":0.0,"mean":0.0,"p50_est":0.0,"p90_est":0.0,"p95_est":0.0,"p99_est":0.0,"above":null,"p50_bounds":[0.0,0.0],"p90_bounds":[0.0,0.0],"p95_bounds":[0.0,0.0],"p99_bounds":[0.0,0.0],"buckets":[[0.3,80]]}`},
		{"beyond the last bound", Histogram{10, 40, []Bucket{{1, 2}, {2, 8}, {4, 8}, {inf, 10}}},
			`{"count":10,"sum":40.0,"mean":4.0,"p50_est":1.5,"p90_est":null,"p95_est":null,"p99_est":null,"above":4.0,"p50_bounds":[1.0,2.0],"p90_bounds":[4.0,30.0001],"p95_bounds":[4.0,56.0001],"p99_bounds":[4.0,264.001],"buckets":[[1,2],[2,8],[null,10]]}`},
		{"without buckets", Histogram{Count: 4, Sum: 2},
			`{"count":4,"sum":2.0,"mean":0.5,"p50_est":null,"p90_est":null,"p95_est":null,"p99_est":null,"above":null,"p50_bounds":[0.0,1.00001],"p90_bounds":[0.0,5.00001],"p95_bounds":[0.0,10.0001],"p99_bounds":[0.0,50.0001],"buckets":null}`},
	} {
		got, err := json.Marshal(c.h.Distribution())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Errorf("%s: (-want +got) %s", c.name, diff)
		}
	}
	// An estimate that its bounds allow is Prometheus's.
	d := Histogram{10, 15, []Bucket{{1, 2}, {2, 10}, {inf, 10}}}.Distribution()
	if diff := cmp.Diff(schema.F(1.375), d.P50Est); diff != "" || *d.P50Bounds[0] < 1 || *d.P50Bounds[1] > 2 {
		t.Errorf("%v %v", diff, d.P50Bounds)
	}
	if d := (Histogram{3, 0, []Bucket{{1, 0}, {2, 3}, {inf, 3}}}).Distribution(); !cmp.Equal(d.P50Bounds, pair(1, 2)) {
		t.Errorf("the sum and the buckets contradict each other: %v", d.P50Bounds)
	}
}

// Bounds are rounded outwards, and numbers of a few digits stay as they are.
func TestRoundBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 1))
	for range 10000 {
		x := math.Exp(60*rng.Float64() - 30)
		low, high := roundDown(x), roundUp(x)
		if low > x || high < x || high-low > 2e-5*x {
			t.Fatalf("%v is rounded to %v and %v", x, low, high)
		}
	}
	for _, x := range []float64{0, 0.3, 0.001, 1e-9, 9.99999, 10, 7680, 123456, math.Inf(1)} {
		if roundDown(x) != x || roundUp(x) != x {
			t.Errorf("%v is rounded to %v and %v", x, roundDown(x), roundUp(x))
		}
	}
	if roundUp(9.999991) != 10 || roundDown(10.00004) != 10 {
		t.Errorf("%v, %v", roundUp(9.999991), roundDown(10.00004))
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
