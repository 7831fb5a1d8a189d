package window

import (
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

func TestGaugeStats(t *testing.T) {
	var stats GaugeStats
	at := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	stats.add(at(0), 9, 9, false) // before the run: counts for neither peak nor mean
	stats.add(at(1), 2, 2, true)
	stats.add(at(2), 4, 4, true)
	stats.add(at(4), 0, 0, true)
	stats.add(at(5), 1, 1, false)
	if g := stats.Gauge(); *g.Peak != 4 || *g.Last != 1 || !testkit.Near(g.Mean, (3+4)/3.0) {
		t.Errorf("%s", testkit.JSON(g))
	}
}
