package window

import (
	"github.com/vobs/vobs/internal/testkit"
	"testing"
	"time"
)

func TestTrack(t *testing.T) {
	var tr GaugeStats
	at := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	tr.add(at(0), 9, 9, false) // before the run: neither peak nor mean
	tr.add(at(1), 2, 2, true)
	tr.add(at(2), 4, 4, true)
	tr.add(at(4), 0, 0, true)
	tr.add(at(5), 1, 1, false)
	if g := tr.Gauge(); *g.Peak != 4 || *g.Last != 1 || !testkit.Near(g.Mean, (3+4)/3.0) {
		t.Errorf("%s", testkit.JSON(g))
	}
}
