package host

import (
	"math"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/curve"
)

const ms = time.Millisecond

// cores returns the means of a curve's slots of 250 ms; NaN for an empty one.
func cores(c curve.Curve, n int) (out []float64) {
	for _, s := range c.Slots(curve.Shortest, n) {
		if s.Readings == 0 {
			out = append(out, math.NaN())
			continue
		}
		out = append(out, math.Round(1000*s.Mean)/1000)
	}
	return out
}

func TestCPUCurve(t *testing.T) {
	unknown := math.NaN()
	for name, c := range map[string]struct {
		readings     []cpuReading
		ended, total time.Duration
		want         []float64
	}{
		"steady":                    {[]cpuReading{{250 * ms, 500 * ms}, {500 * ms, 750 * ms}}, 1000 * ms, 1000 * ms, []float64{2, 1, 0.5, 0.5}},
		"a short end":               {[]cpuReading{{500 * ms, 500 * ms}}, 600 * ms, 900 * ms, []float64{1.5, 1.5, 1.5}},
		"no reading":                {nil, 500 * ms, 250 * ms, []float64{0.5, 0.5}},
		"the end is unknown":        {[]cpuReading{{250 * ms, 500 * ms}}, 750 * ms, -1, []float64{2, unknown, unknown}},
		"a dip for a moment":        {[]cpuReading{{250 * ms, 250 * ms}, {500 * ms, 10 * ms}, {750 * ms, 750 * ms}}, 1000 * ms, 1000 * ms, []float64{1, 1, 1, 1}},
		"lost for good":             {[]cpuReading{{250 * ms, 250 * ms}, {500 * ms, 10 * ms}, {750 * ms, 135 * ms}}, 1000 * ms, 135 * ms, []float64{1, unknown, 0.5, 0}},
		"lost at the end":           {[]cpuReading{{250 * ms, 250 * ms}, {500 * ms, 10 * ms}}, 750 * ms, 500 * ms, []float64{1, unknown, unknown}},
		"the span beyond the end":   {[]cpuReading{{250 * ms, 250 * ms}, {750 * ms, 500 * ms}}, 500 * ms, 600 * ms, []float64{1, 1, unknown}},
		"the tree used less at end": {[]cpuReading{{250 * ms, 250 * ms}}, 500 * ms, 200 * ms, []float64{1, unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			var cpu cpuCurve
			for _, r := range c.readings {
				cpu.add(r)
			}
			before := cpu
			got := cores(cpu.end(c.ended, c.total), len(c.want))
			for i := range c.want {
				if got[i] != c.want[i] && !(math.IsNaN(got[i]) && math.IsNaN(c.want[i])) {
					t.Fatalf("%v, want %v", got, c.want)
				}
			}
			if cpu != before {
				t.Error("the curve so far changed it")
			}
		})
	}
}

// An expensive tree is read less often.
func TestCPUCurveIsWithinItsShare(t *testing.T) {
	c := cpuCurve{cost: 2 * ms}
	c.add(cpuReading{1000 * ms, ms})
	if c.due(4900*ms) || !c.due(5000*ms) {
		t.Error("a reading of 2 ms is not due every 4 s")
	}
	c.cost = 10 * time.Microsecond
	if c.due(1249*ms) || !c.due(1250*ms) {
		t.Error("a cheap reading is not due every 250 ms")
	}
}
