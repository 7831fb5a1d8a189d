package compare

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

// A shift between two blocks that is larger than sessions differ by chance can be decided.
func TestHistory(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	var history []*schema.GenerationObservability
	for session := range 12 {
		level := math.Exp(0.02 * random.NormFloat64())
		if session >= 8 {
			level *= 1.5 // someone made the engine faster
		}
		for i := range 3 {
			history = append(history, event(-100_000+1000*session+i, 1000*level*math.Exp(0.01*random.NormFloat64()), 0.03, 10))
		}
	}
	blocks := func(factor float64) (base, new []*schema.GenerationObservability) {
		for i := range 8 {
			base = append(base, event(i, 1000*math.Exp(0.01*random.NormFloat64()), 0.03, 10))
			new = append(new, event(100+i, 1000*factor*math.Exp(0.01*random.NormFloat64()), 0.03, 10))
		}
		return base, new
	}
	run := func(factor float64, history []*schema.GenerationObservability) Comparison {
		base, new := blocks(factor)
		metrics, _ := Select([]string{"generation_tokens_per_second"})
		r := Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, History: runsOf(metrics, history)})
		return r.metric(t, "generation_tokens_per_second")
	}
	stable := history[:24]
	for factor, want := range map[float64]Verdict{0.8: Regression, 0.97: Inconclusive, 1.2: Improvement} {
		c := run(factor, stable)
		if c.Verdict != want || c.History.Sessions != 8 || c.History.Runs != 24 || len(c.History.ChangePoints) != 0 {
			t.Errorf("%v: %s %s %+v", factor, c.Verdict, c.Reason, c.History)
		}
		if inside := factor == 0.97; *c.History.Inside != inside || *c.History.Low > 1000 || *c.History.High < 1000 {
			t.Errorf("%v: %v within %v to %v", factor, *c.History.Inside, *c.History.Low, *c.History.High)
		}
	}
	if c := run(0.8, history[:21]); c.Verdict != Inconclusive || c.History.Low != nil || !strings.Contains(c.Reason, "7 sessions") {
		t.Errorf("%s %s %+v", c.Verdict, c.Reason, c.History)
	}
	if c := run(0.8, history); len(c.History.ChangePoints) != 1 || c.History.ChangePoints[0] != history[24].Run.StartedAt {
		t.Errorf("the changes are at %v, want %s", c.History.ChangePoints, history[24].Run.StartedAt)
	}
}

func TestSessions(t *testing.T) {
	var events []*schema.GenerationObservability
	for _, minute := range []int{0, 20, 60, 80, 300} {
		events = append(events, event(minute, 1, 1, 1))
	}
	other := event(10, 1, 1, 1)
	other.Run.Hostname = "other"
	labelled := event(70, 1, 1, 1)
	labelled.Run.Labels[LabelSession] = "s"
	far := event(9000, 1, 1, 1)
	far.Run.Labels[LabelSession] = "s"
	var sizes []int
	for _, s := range sessionsOf(runsOf(nil, append(events, other, labelled, far))) {
		sizes = append(sizes, len(s))
	}
	if want := []int{2, 1, 2, 2, 1}; !slices.Equal(sizes, want) {
		t.Errorf("%v, want %v", sizes, want)
	}
}

// A history of other conditions tells nothing.
func TestForeignHistory(t *testing.T) {
	base, new := sides(7, 10, 0.003, 1)
	var history []*schema.GenerationObservability
	for i := range 40 {
		e := event(-100_000+1000*i, 1000, 0.03, 10)
		e.Engine.Models = []string{"other"}
		history = append(history, e)
	}
	metrics := Defaults()
	r := Compare(runsOf(metrics, base), runsOf(metrics, new), Options{Metrics: metrics, History: runsOf(metrics, history)})
	if r.HistoryLeftOut != 40 || r.Metrics[0].History != nil {
		t.Errorf("%d runs left out, %+v", r.HistoryLeftOut, r.Metrics[0].History)
	}
}
