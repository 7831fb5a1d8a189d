package diagnose

import (
	"fmt"

	"github.com/vobs/vobs/internal/stats"
	"github.com/vobs/vobs/schema"
)

// trendAlpha is the level of significance of trends: simulated, at most twice as many series
// without one have one (internal/stats).
const trendAlpha = 0.005

// trend is the trend of a curve over the run.
type trend struct {
	stats.Trend
	rise float64 // from the first slot to the last one
}

// isRising reports whether the curve rises at a level of significance.
func (t trend) isRising(alpha float64) bool { return t.P < alpha && t.rise > 0 }

// evidence returns the rise of a curve.
func (t trend) evidence(curve string) schema.DiagnosisEvidence {
	return figure{field: "p-value of the trend of series " + curve, x: t.P, known: true}.is("<", trendAlpha)
}

// trend returns that of a curve, or why there is none.
func (f *figures) trend(curve string) (t trend, why string) {
	if f.series.missing(curve) != "" {
		return t, fmt.Sprintf("the event has no series %s", curve)
	}
	values := f.series.means(curve)
	r, ok := stats.TrendOfBlocks(values)
	if !ok {
		return t, fmt.Sprintf("series %s is too short for a trend: its readings depend on each other for too long", curve)
	}
	return trend{Trend: r, rise: r.Slope * float64(len(values))}, ""
}
