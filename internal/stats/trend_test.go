package stats

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

func TestMannKendallReference(t *testing.T) {
	text, err := os.ReadFile("testdata/trend.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Values      []float64
		P, Slope, S float64
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		got := MannKendall(c.Values)
		if s, _ := kendallScore(c.Values); s != c.S {
			t.Errorf("case %d: S is %v, want %v", i, s, c.S)
		}
		if math.Abs(got.P-c.P) > 1e-9 || math.Abs(got.Slope-c.Slope) > 1e-9 || got.N != len(c.Values) {
			t.Errorf("case %d: %+v, want p %v, slope %v", i, got, c.P, c.Slope)
		}
	}
	if len(cases) < 50 {
		t.Errorf("only %d cases", len(cases))
	}
}

// autoregressive returns a first-order autoregressive series with a trend.
func autoregressive(rng *rand.Rand, n int, rho, slope float64) []float64 {
	values := make([]float64, n)
	x := rng.NormFloat64() / math.Sqrt(1-rho*rho)
	for i := range values {
		values[i] = x + slope*float64(i)
		x = rho*x + rng.NormFloat64()
	}
	return values
}

// A series whose values depend on their neighbors has a trend in about as many cases as the
// level allows, where a test of the values themselves finds one in more than half.
func TestTrendOfBlocksFalsePositives(t *testing.T) {
	const seed, n = 17, 120
	runs := 300
	if os.Getenv("VOBS_TEST_LONG") != "" {
		runs = 3000
	}
	for _, rho := range []float64{0, 0.5, 0.8, 0.9, 0.95} {
		rng := rand.New(rand.NewPCG(seed, uint64(100*rho)))
		found, undecided := 0, 0
		for range runs {
			trend, ok := TrendOfBlocks(autoregressive(rng, n, rho, 0))
			if !ok {
				undecided++
			} else if trend.P < 0.05 {
				found++
			}
		}
		t.Logf("seed %d, correlation %v: trends in %.1f %% of %d series of %d, %.0f %% undecided", seed, rho, 100*float64(found)/float64(runs), runs, n, 100*float64(undecided)/float64(runs))
		// 5 % with correlation 0; estimates of the correlation are themselves uncertain.
		if limit := 0.1 * float64(runs); float64(found) > limit {
			t.Errorf("seed %d, correlation %v: %d trends in %d series without any", seed, rho, found, runs)
		}
	}
}

func TestTrendOfBlocksFindsTrends(t *testing.T) {
	const seed, n, runs = 18, 120, 100
	for _, c := range []struct{ rho, slope, least float64 }{{0, 0.02, 0.95}, {0.5, 0.06, 0.9}, {0.7, 0.15, 0.5}} {
		rng := rand.New(rand.NewPCG(seed, 0))
		found := 0
		for range runs {
			if trend, ok := TrendOfBlocks(autoregressive(rng, n, c.rho, c.slope)); ok && trend.P < 0.05 && math.Abs(trend.Slope-c.slope) < 0.6*c.slope {
				found++
			}
		}
		t.Logf("seed %d, correlation %v, slope %v: found in %d of %d", seed, c.rho, c.slope, found, runs)
		if float64(found) < c.least*runs {
			t.Errorf("seed %d, correlation %v, slope %v: found in %d of %d, want %.0f %%", seed, c.rho, c.slope, found, runs, 100*c.least)
		}
	}
}

func TestTrendOfBlocks(t *testing.T) {
	line := make([]float64, 40)
	constant := make([]float64, 40)
	for i := range line {
		line[i], constant[i] = 3*float64(i), 7
	}
	if got, ok := TrendOfBlocks(line); !ok || got.Slope != 3 || got.P > 1e-6 {
		t.Errorf("a line of slope 3: %+v, %v", got, ok)
	}
	if got, ok := TrendOfBlocks(constant); !ok || got.Slope != 0 || got.P != 1 {
		t.Errorf("a constant: %+v, %v", got, ok)
	}
	if got, ok := TrendOfBlocks(line[:9]); ok {
		t.Errorf("a trend of nine readings: %+v", got)
	}
	if _, ok := TrendOfBlocks(nil); ok {
		t.Error("a trend of nothing")
	}
}

func TestIncrements(t *testing.T) {
	up, walk := make([]float64, 21), make([]float64, 101)
	for i := range up {
		up[i] = float64(i * i)
	}
	if got := Increments(up); math.Abs(got-math.Pow(0.5, 20)) > 1e-15 {
		t.Errorf("20 rises of 20: %v", got)
	}
	up[20] = 0
	if got := Increments(up); math.Abs(got-21*math.Pow(0.5, 20)) > 1e-15 {
		t.Errorf("19 rises of 20: %v", got)
	}
	for _, flat := range [][]float64{nil, {1}, {1, 1, 1, 1}} {
		if got := Increments(flat); got != 1 {
			t.Errorf("%v: %v, want 1", flat, got)
		}
	}
	// A random walk rises in as many cases as the level allows.
	const seed, runs = 19, 4000
	rng := rand.New(rand.NewPCG(seed, 0))
	found := 0
	for range runs {
		for i := range walk[1:] {
			walk[i+1] = walk[i] + rng.NormFloat64()
		}
		if Increments(walk) < 0.01 {
			found++
		}
	}
	if found > runs/100*2 {
		t.Errorf("seed %d: %d of %d random walks rise at the level 0.01", seed, found, runs)
	}
}
