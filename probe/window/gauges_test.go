package window

import (
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
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

// A metric that comes from elsewhere keeps its readings whatever the page shows, and a restart
// ends its mean. Pages without the running requests are no polls.
func TestCovers(t *testing.T) {
	page := func(running, usage float64) []GaugeReading {
		var out []GaugeReading
		for name, value := range map[string]float64{"vllm:num_requests_running": running, "vllm:kv_cache_usage_perc": usage} {
			m, ok := metrics.Lookup(name)
			if !ok {
				t.Fatal(name)
			}
			out = append(out, GaugeReading{desc: m.Desc, value: value})
		}
		return out
	}
	g := NewGauges()
	at := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	ofFiles := func(id metrics.ID) bool { return id == metrics.RequestsRunning }
	ofPage := func(id metrics.ID) bool { return !ofFiles(id) }
	files := func(s, running float64) {
		g.Add(0, GaugePage{At: at(s), Gauges: page(running, 0.9), During: true, Covers: ofFiles})
	}
	server := func(s, usage float64, restarted bool) {
		g.Add(0, GaugePage{At: at(s), Gauges: page(50, usage), Full: true, During: true, Restarted: restarted, Covers: ofPage})
	}
	files(0, 2)
	server(0, 0.25, false)
	files(1, 4)
	server(2, 0.5, false)
	check := func(id metrics.ID, last, peak, mean float64) {
		t.Helper()
		got := g.Group(id, GroupKey{}).Gauge()
		if *got.Last != schema.Float(last) || *got.Peak != schema.Float(peak) || !testkit.Near(got.Mean, mean) {
			t.Errorf("%s: %s, want %v, %v, %v", id.CanonicalName(), testkit.JSON(got), last, peak, mean)
		}
	}
	check(metrics.RequestsRunning, 4, 4, 3)
	check(metrics.KVCacheUsage, 0.5, 0.5, 0.375)
	if n := g.PollsOf(0); n.AtWork != 2 || n.Busy != 2 {
		t.Errorf("%+v", n)
	}
	server(10, 0.5, true)
	files(10, 1)
	files(11, 1)
	check(metrics.RequestsRunning, 1, 4, 2)
	check(metrics.KVCacheUsage, 0.5, 0.5, 0.375)
}
