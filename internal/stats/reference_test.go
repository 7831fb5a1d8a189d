package stats

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// reference is testdata/reference.json, which reference.py beside it makes.
type reference struct {
	MannWhitney []struct {
		Source string
		X, Y   []float64
		U, P   float64
		Exact  bool
	} `json:"mann_whitney"`
	SignedRank []struct {
		Source string
		D      []float64
		W, P   float64
		Exact  bool
	} `json:"signed_rank"`
	Runs []struct {
		Runs, N, M int
		P          float64
	}
	Student []struct {
		P  float64
		DF int
		T  float64
	}
	Prediction []struct {
		Values                 []float64
		Alpha, Mean, Low, High float64
	}
}

func loadReference(t *testing.T) (ref reference) {
	t.Helper()
	body, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &ref); err != nil {
		t.Fatal(err)
	}
	return ref
}

// near reports whether got is want to a relative error of 1e-12.
func near(got, want float64) bool { return math.Abs(got-want) <= 1e-12*math.Abs(want) }

func TestMannWhitneyReference(t *testing.T) {
	cases := loadReference(t).MannWhitney
	if len(cases) < 80 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, c := range cases {
		got := MannWhitney(c.X, c.Y)
		if got.Statistic != c.U || !near(got.P, c.P) || got.Exact != c.Exact {
			t.Errorf("%s, %d and %d values: %+v, want U %v, p %v", c.Source, len(c.X), len(c.Y), got, c.U, c.P)
		}
	}
}

// With ties, p is that of go-moremath, on which benchstat is based, if both sides have as many
// values. Otherwise the distribution with ties is not symmetric, but go-moremath (as of
// 2021) doubles the lower tail at the smaller of U and its mirror image, whichever tail U is
// in: its p value changes when the sides are swapped.
func TestMannWhitneyMoremath(t *testing.T) {
	body, err := os.ReadFile("testdata/moremath.json")
	if err != nil {
		t.Fatal(err)
	}
	equal, unequal := 0, 0
	for cases := json.NewDecoder(bytes.NewReader(body)); cases.More(); {
		var c struct {
			X, Y []float64
			P    float64
		}
		if err := cases.Decode(&c); err != nil {
			t.Fatal(err)
		}
		if max(len(c.X), len(c.Y)) > 25 {
			continue // go-moremath approximates
		}
		if len(c.X) == len(c.Y) {
			equal++
			if got := MannWhitney(c.X, c.Y).P; !near(got, c.P) {
				t.Errorf("%v, %v: p %v, want %v", c.X, c.Y, got, c.P)
			}
			continue
		}
		unequal++
		d, u := mannWhitney(sorted(c.Y), sorted(c.X)) // its U is that of the first side
		if got := min(1, 2*d.lower(min(u, d.max-u))); !near(got, c.P) {
			t.Errorf("%v, %v: %v, want %v", c.X, c.Y, got, c.P)
		}
	}
	if equal < 15 || unequal < 8 {
		t.Errorf("%d and %d cases", equal, unequal)
	}
}

func TestSignedRankReference(t *testing.T) {
	cases := loadReference(t).SignedRank
	if len(cases) < 60 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, c := range cases {
		got := SignedRank(c.D)
		if got.Statistic != c.W || !near(got.P, c.P) || got.Exact != c.Exact {
			t.Errorf("%s, %d differences: %+v, want W+ %v, p %v", c.Source, len(c.D), got, c.W, c.P)
		}
	}
}

func TestRunsTestReference(t *testing.T) {
	for _, c := range loadReference(t).Runs {
		if got := RunsTest(c.Runs, c.N, c.M); !near(got, c.P) {
			t.Errorf("%d runs of %d and %d: p %v, want %v", c.Runs, c.N, c.M, got, c.P)
		}
		if got := RunsTest(c.Runs, c.M, c.N); !near(got, c.P) {
			t.Errorf("%d runs of %d and %d: p %v, want %v", c.Runs, c.M, c.N, got, c.P)
		}
	}
}

func TestStudentQuantileReference(t *testing.T) {
	for _, c := range loadReference(t).Student {
		if got := StudentQuantile(c.P, c.DF); math.Abs(got-c.T) > 1e-12*max(math.Abs(c.T), 0.1) {
			t.Errorf("p %v, %d degrees of freedom: %v, want %v (relative error %.1e)", c.P, c.DF, got, c.T, got/c.T-1)
		}
	}
}

func TestPredictionIntervalReference(t *testing.T) {
	for _, c := range loadReference(t).Prediction {
		got := PredictionInterval(c.Values, c.Alpha)
		if !near(got.Estimate, c.Mean) || math.Abs(got.Low-c.Low) > 1e-12*(c.High-c.Low) || math.Abs(got.High-c.High) > 1e-12*(c.High-c.Low) {
			t.Errorf("%d values: %+v, want %v (%v to %v)", len(c.Values), got, c.Mean, c.Low, c.High)
		}
	}
}

// Tests and estimates do not depend on the order of values, and leave arguments as they are.
func TestArgumentsUnchanged(t *testing.T) {
	x, y := []float64{3, 1, 2, 2}, []float64{5, 2, 9}
	x0, y0 := slices.Clone(x), slices.Clone(y)
	MannWhitney(x, y)
	SignedRank(x)
	Shift(x, y, 0.05)
	PairedShift(x, 0.05)
	Holm(x)
	PredictionInterval(x, 0.05)
	ChangePoints(x, 0.05, 2, 1)
	if !slices.Equal(x, x0) || !slices.Equal(y, y0) {
		t.Errorf("arguments are %v and %v now", x, y)
	}
}
