package window

import (
	"math"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// gaugePages feeds Gauges with pages that have the running requests and the KV-cache usage of
// one engine.
type gaugePages struct {
	*Gauges
	t *testing.T
}

// at returns a time in seconds.
func at(seconds float64) time.Time { return time.Unix(1e9, 0).Add(time.Duration(seconds * 1e9)) }

func (g gaugePages) page(endpoint int, seconds, running, usage float64, p GaugePage) {
	g.t.Helper()
	p.At = at(seconds)
	if p.Written[0].IsZero() {
		p.Written = [2]time.Time{p.At, p.At}
	}
	for id, value := range map[metrics.ID]float64{metrics.RequestsRunning: running, metrics.KVCacheUsage: usage} {
		match, ok := metrics.Lookup(id.CanonicalName())
		if !ok {
			g.t.Fatal(id.CanonicalName())
		}
		p.Gauges = append(p.Gauges, GaugeReading{desc: match.Desc, engine: engineOf(&exposition.Labels{}, metrics.Native), value: value})
	}
	g.Add(endpoint, p)
}

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-9*math.Max(1, math.Abs(want)) }

var during = GaugePage{During: true, Full: true}

// The peak is of the run, the mean of all readings, and its error of what lies between them.
func TestCombineOne(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	g.page(0, 0, 9, 0, GaugePage{Full: true}) // before the run
	g.page(0, 1, 2, 0, during)
	g.page(0, 2, 4, 0, during)
	g.page(0, 4, 0, 0, during)
	s := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 0}})
	area := 5.5 + 3 + 4.0
	if !s.PeakKnown || s.Peak != 4 || s.Last != 0 || !near(s.Mean, area/4) || !near(s.MeanError, math.Sqrt((7*7+2*2+4*4*4)/2.0)/4) {
		t.Errorf("%+v", s)
	}
	// Outside the readings the gauge is 0.
	if s := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 10}}); !near(s.Mean, area/10) {
		t.Errorf("over 10 s: %+v", s)
	}
	if s := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{1, 10}}); s.Known || s.MeanKnown || s.PeakKnown {
		t.Errorf("of an endpoint without readings: %+v", s)
	}
}

// Between two readings without requests the engine may have had any number if it counted
// tokens.
func TestHiddenWork(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	rose := GaugePage{During: true, TokensRose: true}
	g.page(0, 0, 0, 0, during)
	g.page(0, 1, 0, 0, during)
	if s := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 0}}); s.MeanError != 0 {
		t.Errorf("idle: %+v", s)
	}
	g.page(0, 2, 6, 0, rose)
	g.page(0, 3, 0, 0, rose)
	before := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 0}})
	g.page(0, 4, 0, 0, rose)
	after := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 0}})
	if !near(math.Pow(after.MeanError*4, 2), math.Pow(before.MeanError*3, 2)+6*6/4.0) {
		t.Errorf("%+v, then %+v", before, after)
	}
}

// While nothing listens there are no requests. What a process that ended did after its last
// whole page is in no counter.
func TestProcessEnds(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	light := GaugePage{During: true}
	g.page(0, 0, 2, 0, during)
	g.page(0, 1, 4, 0, during) // the last whole page
	g.page(0, 2, 4, 0, light)
	g.Clear(0, at(2.5))
	g.Clear(0, at(3.5))
	if s := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 0}}); !near(s.Mean, 7.0/2) || s.Last != 4 {
		t.Errorf("down, and not up again: %+v", s)
	}
	restarted := during
	restarted.Restarted = true
	g.page(0, 4, 2, 0, restarted)
	s := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 0}})
	if !near(s.Mean, (3+4+1+0+0.5)/4) || !s.UncountedKnown || !near(s.Uncounted, (4+1)/4.0) || s.LostMost != 4 || s.Last != 2 {
		t.Errorf("up again: %+v", s)
	}
	// If nobody saw the end, the time between the two processes is unknown.
	g.page(0, 5, 2, 0, light)
	g.page(0, 7, 2, 0, restarted)
	g.page(0, 8, 2, 0, light)
	if s := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 100}}); s.UncountedKnown || !near(s.Mean, (8.5+2+2)/6) {
		t.Errorf("a gap: %+v", s)
	}
	// An engine that comes up inside the run began without requests.
	g = gaugePages{NewGauges(), t}
	g.Clear(0, at(0))
	g.Clear(0, at(1))
	g.page(0, 2, 4, 0, during)
	if s := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 0}}); !near(s.Mean, 2.0/2) {
		t.Errorf("a cold start: %+v", s)
	}
}

// The usage per running request is that of the polls that found some.
func TestUsagePerRequest(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	if _, ok := g.UsagePerRequest("", []int{0}); ok {
		t.Error("known without a reading")
	}
	for i, running := range []float64{0, 4, 0, 2, 6, 0} {
		g.page(0, float64(i), running, running/100, during)
	}
	if u, ok := g.UsagePerRequest("", []int{0, 1}); !ok || !near(u.Ratio, 0.01) || u.Error > 1e-9 || u.Busy != 3 || u.Engines != 1 {
		t.Errorf("in proportion: %+v", u)
	}
	g.page(0, 6, 4, 0.5, during)
	g.page(0, 7, 0, 0, during)
	if u, _ := g.UsagePerRequest("", []int{0}); u.Error < 0.1 {
		t.Errorf("out of proportion: %+v", u)
	}
}

// A sum over servers that are read at different moments is never above what may have been.
func TestSumPeak(t *testing.T) {
	type reading struct {
		endpoint        int
		from, to, value float64
	}
	for _, c := range []struct {
		name      string
		readings  []reading
		low, high float64
	}{
		{"at once", []reading{{0, 1, 1.001, 5}, {1, 1, 1.002, 7}, {0, 2, 2.001, 0}, {1, 2, 2.001, 0}}, 12, 12},
		{"in turn", []reading{{1, 0.5, 0.5, 0}, {0, 1, 1, 5}, {1, 1.5, 1.5, 7}, {0, 2, 2, 0}, {1, 2.5, 2.5, 0}}, 7, 12},
		{"together, polled alternately", []reading{{1, 0.5, 0.5, 3}, {0, 1, 1, 5}, {1, 1.5, 1.5, 7}, {0, 2, 2, 4}, {1, 2.5, 2.5, 2}}, 11, 12},
		{"a late answer", []reading{{0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 1, 5}, {1, 0.5, 1.5, 7}, {0, 1.2, 1.2, 0}, {1, 2, 2, 0}, {0, 3, 3, 0}}, 7, 12},
		{"one that is not read any more", []reading{{0, 1, 1, 5}, {1, 1, 1, 7}, {0, 2, 2, 6}, {0, 3, 3, 0}}, 12, 13},
	} {
		var s sumPeak
		for _, r := range c.readings {
			s.add(r.endpoint, at(r.from), at(r.to), r.value, true)
		}
		if low, high := s.highest(); low != c.low || high != c.high {
			t.Errorf("%s: %v to %v, want %v to %v", c.name, low, high, c.low, c.high)
		}
	}
	var s sumPeak
	s.add(0, at(0), at(0), 1, true)
	s.add(1, at(0), at(0), 1, true)
	for i := range 10 * maxMoments { // the second one hangs
		s.add(0, at(float64(i)), at(float64(i)), 1, true)
	}
	if len(s.moments) > maxMoments {
		t.Errorf("%d moments", len(s.moments))
	}
}

// What two servers of three had together is unknown; of fractions, the highest counts.
func TestCombineSeveral(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	for i := range 3 {
		for j, running := range []float64{0, 2, 0} {
			g.page(i, float64(j)+float64(i)/10, running, float64(i+1)/10, during)
		}
	}
	spans := []Span{{0, 0}, {1, 0}, {2, 0}}
	if s := g.Combine(metrics.RequestsRunning, GroupKey{}, spans[:2]); s.PeakKnown || !s.InRun {
		t.Errorf("%+v", s)
	}
	if s := g.Combine(metrics.KVCacheUsage, GroupKey{}, spans); s.Peak < 0.3 || !s.PeakKnown || !near(s.Mean, 0.2) || s.Last != 0.3 {
		t.Errorf("%+v", s)
	}
	g.Drop(2)
	if s := g.Combine(metrics.KVCacheUsage, GroupKey{}, spans); s.Peak != 0.2 || !near(s.Mean, 0.15) {
		t.Errorf("%+v", s)
	}
	if n := testkit.JSON(g.PollsOf(2)); n != `{"AtWork":0,"Busy":0}` {
		t.Errorf("polls %s", n)
	}
}

// A metric that comes from elsewhere keeps its readings whatever the page shows, and a restart
// ends its mean. Pages without the running requests are no polls.
func TestCovers(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	ofFiles := func(id metrics.ID) bool { return id == metrics.RequestsRunning }
	ofPage := func(id metrics.ID) bool { return !ofFiles(id) }
	files := func(s, running float64) {
		g.page(0, s, running, 0.9, GaugePage{During: true, Covers: ofFiles})
	}
	server := func(s, usage float64, restarted bool) {
		g.page(0, s, 50, usage, GaugePage{Full: true, During: true, Restarted: restarted, Covers: ofPage})
	}
	files(0, 2)
	server(0, 0.25, false)
	files(1, 4)
	server(2, 0.5, false)
	check := func(id metrics.ID, last, peak, mean float64) {
		t.Helper()
		got := g.Combine(id, GroupKey{}, []Span{{0, 0}})
		if got.Last != last || got.Peak != peak || !near(got.Mean, mean) {
			t.Errorf("%s: %+v, want %v, %v, %v", id.CanonicalName(), got, last, peak, mean)
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
	// What follows on a whole page of the server is uncounted if its process ends.
	files(12, 3)
	server(12, 0.5, false)
	files(13, 3)
	g.Clear(0, at(14))
	files(15, 0)
	if s := g.Combine(metrics.RequestsRunning, GroupKey{}, []Span{{0, 0}}); !near(s.Uncounted, (3+1.5)/6) || s.LostMost != 3 {
		t.Errorf("%+v", s)
	}
}
