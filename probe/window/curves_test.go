package window

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// means returns the means of the first n slots of 250 ms, and maxima their maxima; NaN for an
// empty one.
func means(g curve.Group, n int) []float64 {
	return slotsOf(g, n, func(s curve.Slot) float64 { return s.Mean })
}

func maxima(g curve.Group, n int) []float64 {
	return slotsOf(g, n, func(s curve.Slot) float64 { return s.Max })
}

func slotsOf(g curve.Group, n int, value func(curve.Slot) float64) (out []float64) {
	for _, s := range g.Slots(curve.Shortest, n) {
		if s.Readings == 0 {
			out = append(out, math.NaN())
			continue
		}
		out = append(out, value(s))
	}
	return out
}

func wantSlots(t *testing.T, what string, got []float64, want ...float64) {
	t.Helper()
	for i := range want {
		if len(got) != len(want) || !near(got[i], want[i]) && !(math.IsNaN(got[i]) && math.IsNaN(want[i])) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

var unknown = math.NaN()

// A reading before the start is only the neighbor of the first one, and one after the end does
// not count.
func TestCurveOfOne(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	g.page(0, -1, 90, 0.9, GaugePage{Full: true})
	g.Start(at(0))
	g.page(0, 0.1, 10, 0.1, during)
	g.page(0, 0.2, 20, 0.2, during)
	g.page(0, 0.6, 4, 0.3, during)
	g.End(at(0.7))
	g.page(0, 0.9, 80, 0.8, during)
	running := g.Curve(metrics.RequestsRunning, "", []int{0})
	// 10 counts from the start to 0.15 s, 20 from there to 0.4 s.
	wantSlots(t, "mean", means(running, 4), (10*0.15+20*0.25)/0.4, unknown, 4, unknown)
	wantSlots(t, "max", maxima(running, 4), 20, unknown, 4, unknown)
	wantSlots(t, "usage", maxima(g.Curve(metrics.KVCacheUsage, "", []int{0}), 4), 0.2, unknown, 0.3, unknown)
	for name, got := range map[string]curve.Group{
		"another stage":       g.Curve(metrics.RequestsRunning, "1", []int{0}),
		"another endpoint":    g.Curve(metrics.RequestsRunning, "", []int{1}),
		"not on the pages":    g.Curve(metrics.RequestsWaiting, "", []int{0}),
		"no curve of this id": g.Curve(metrics.OmniRunning, "", []int{0}),
	} {
		if !got.Empty() {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// While nothing listens there are no requests. Between a process and the next one the gauges are
// unknown.
func TestCurveAcrossRestarts(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	g.Start(at(0))
	g.page(0, 0, 8, 0.5, during)
	g.page(0, 0.1, 8, 0.5, during)
	g.Clear(0, at(0.3))
	g.Clear(0, at(0.45))
	g.page(0, 0.75, 6, 0.5, GaugePage{During: true, Full: true, Restarted: true})
	g.page(0, 0.85, 6, 0.5, during)
	g.page(0, 1.25, 2, 0.5, GaugePage{During: true, Full: true, Restarted: true})
	wantSlots(t, "mean", means(g.Curve(metrics.RequestsRunning, "", []int{0}), 6), 8, 0, unknown, 6, unknown, 2)
}

// The requests of several servers add up, and their maximum was reached: one that moves from one
// server to the other between two polls does not count twice.
func TestCurveOfSeveral(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	g.Start(at(0))
	for i := range 4 {
		s := float64(i) / 4
		moved := float64(i % 2)
		g.page(0, s+0.05, 5*moved, 0.1, during)
		g.page(1, s+0.15, 5*(1-moved)+1, 0.3, during)
	}
	sum := g.Curve(metrics.RequestsRunning, "", []int{0, 1})
	if sum.Peak == nil {
		t.Fatal("the sum has no maxima of its own")
	}
	wantSlots(t, "mean", means(sum, 4), 6, 6, 6, 6)
	wantSlots(t, "max", maxima(sum, 4), 6, 6, 6, 6)
	usage := g.Curve(metrics.KVCacheUsage, "", []int{0, 1})
	wantSlots(t, "mean usage", means(usage, 4), 0.2, 0.2, 0.2, 0.2)
	wantSlots(t, "max usage", maxima(usage, 4), 0.3, 0.3, 0.3, 0.3)
	if one := g.Curve(metrics.RequestsRunning, "", []int{0}); one.Peak != nil {
		t.Error("one of two servers has the maxima of both")
	}
	g.Drop(1)
	wantSlots(t, "without a duplicate", maxima(g.Curve(metrics.RequestsRunning, "", []int{0}), 4), 0, 5, 0, 5)
}

func TestCurrent(t *testing.T) {
	g := gaugePages{NewGauges(), t}
	g.Start(at(0))
	g.page(0, 0.1, 3, 0.25, during)
	got := map[metrics.ID]float64{}
	g.Current(0, func(id metrics.ID) bool { return id != metrics.KVCacheUsage }, func(id metrics.ID, stage string, value float64) {
		got[id] = value
	})
	if len(got) != 1 || got[metrics.RequestsRunning] != 3 {
		t.Errorf("%v", got)
	}
}

// tokenPages feeds Counters and TokenCurves with pages.
type tokenPages struct {
	t        *testing.T
	counters *Counters
	curves   TokenCurves
	last     time.Duration
}

// page reads a page and returns the rates that it shows, those of prompt tokens first.
func (p *tokenPages) page(seconds float64, samples string, baseline bool) (recorded []float64) {
	p.t.Helper()
	var page exposition.Page
	text := "# TYPE vllm:generation_tokens counter\n# TYPE vllm:prompt_tokens counter\n" + samples
	if err := exposition.NewParser(metrics.IsWanted).Parse([]byte(text), &page); err != nil {
		p.t.Fatal(err)
	}
	p.counters.Classify(&page, true)
	p.counters.Apply(&page, Reading{Full: true, Complete: true, Baseline: baseline})
	now := time.Duration(seconds * 1e9)
	p.curves.Add(p.counters, p.last, now, !baseline, func(_ metrics.ID, _ string, rate float64) { recorded = append(recorded, rate) })
	p.last = now
	return recorded
}

func TestTokenCurves(t *testing.T) {
	p := tokenPages{t: t, counters: NewCounters()}
	one := "vllm:generation_tokens_total{engine=\"0\"} "
	p.page(-0.5, one+"1000\n", true)
	p.page(0, one+"1000\n", false)
	if got := p.page(0.5, one+"1100\n", false); len(got) != 1 || got[0] != 200 {
		t.Errorf("recorded %v", got)
	}
	p.page(0.5, one+"1110\n", false) // no time has passed: its tokens count with the next page
	p.page(0.75, one+"1200\nvllm:generation_tokens_total{engine=\"1\"} 50\n", false)
	p.page(1.25, one+"10\nvllm:generation_tokens_total{engine=\"1\"} 50\n", false) // another process
	p.curves.End(1500 * time.Millisecond)
	p.page(1.75, one+"110\nvllm:generation_tokens_total{engine=\"1\"} 50\n", false)
	group := curve.Group{Curves: []curve.Curve{p.curves.Curve(metrics.GenerationTokens, "")}}
	got := means(group, 7)
	wantSlots(t, "mean", got[:3], 200, 200, 600)
	wantSlots(t, "the end", got[5:], 200, unknown)
	if c := p.curves.Curve(metrics.GenerationTokens, "1"); !c.Empty() {
		t.Error("a stage without tokens has a curve")
	}
	if c := p.curves.Curve(metrics.PromptTokens, ""); !c.Empty() {
		t.Error("there is a curve of prompt tokens, which are on no page")
	}
}

// Prompt tokens have a curve of their own: a prefill counts them before any token is generated.
func TestPromptTokenCurve(t *testing.T) {
	p := tokenPages{t: t, counters: NewCounters()}
	page := func(seconds float64, prompt, generated int, baseline bool) []float64 {
		return p.page(seconds, fmt.Sprintf("vllm:prompt_tokens_total{engine=\"0\"} %d\nvllm:generation_tokens_total{engine=\"0\"} %d\n", prompt, generated), baseline)
	}
	page(0, 5000, 70, true)
	if got := page(0.25, 6000, 70, false); !slices.Equal(got, []float64{4000, 0}) {
		t.Errorf("recorded %v", got)
	}
	page(0.5, 6000, 80, false)
	page(0.75, 6000, 80, false)
	of := func(id metrics.ID) []float64 {
		return means(curve.Group{Curves: []curve.Curve{p.curves.Curve(id, "")}}, 3)
	}
	wantSlots(t, "prompt tokens", of(metrics.PromptTokens), 4000, 0, 0)
	wantSlots(t, "generated tokens", of(metrics.GenerationTokens), 0, 40, 0)
}
