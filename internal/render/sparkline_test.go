package render

import (
	"math"
	"testing"
)

func TestSparkline(t *testing.T) {
	unknown := math.NaN()
	for _, c := range []struct {
		values []float64
		top    float64
		width  int
		want   string
	}{
		{[]float64{0, 1, 2, 3, 4, 5, 6, 7, 8}, 8, 80, "▁▁▂▃▄▅▆▇█"},
		{[]float64{0.01, 7.01, 9, math.Inf(1)}, 8, 80, "▁███"},
		{[]float64{8, unknown, 1}, 8, 80, "█ ▁"},
		{[]float64{0, 0}, 0, 80, "▁▁"},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8}, 8, 4, "▂▄▆█"},
		{[]float64{8, unknown, unknown, unknown, 3}, 8, 2, "█▃"},
		{[]float64{-1}, 8, 1, "▁"},
		{[]float64{1}, 8, 0, ""},
		{nil, 8, 80, ""},
	} {
		if got := Sparkline(c.values, c.top, c.width); got != c.want {
			t.Errorf("%v of %v in %d characters: %q, want %q", c.values, c.top, c.width, got, c.want)
		}
	}
}
