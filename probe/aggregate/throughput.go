package aggregate

import (
	"cmp"
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// activeSeconds returns the times that rates are taken over: up to the last full page, and
// up to the last reading. If the engine was lost, filtered scrapes followed the last full
// page: tokens are known up to the last of them, everything else up to that page.
func (v view) activeSeconds() (toFull, toLast float64) {
	w := v.Engine.Window
	toFull = float64(w.DurationSeconds)
	toLast = toFull
	if x, ok := w.ActiveSecondsEst.Value(); ok {
		toFull, toLast = x, x
		if w.Final == "last_good" || w.Final == "before_signal" {
			toFull = 0
			for _, e := range v.endpoints {
				toFull = max(toFull, e.ActiveAtFull)
			}
		}
	} else {
		var full, last time.Time
		for _, e := range v.endpoints {
			full, last = later(full, e.FullAt), later(last, e.LastAt)
		}
		toLast += last.Sub(full).Seconds()
	}
	return toFull, toLast
}

func (v view) throughput() *schema.Throughput {
	toFull, toLast := v.activeSeconds()
	v.ActiveAfterFull = toLast - toFull
	uncertain := ""
	if v.Engine.Window.ActiveSecondsEst == nil {
		uncertain = v.whyWindowUncertain(v.Engine.Window)
	}
	rate := func(field string, n int64, why string, seconds float64) *schema.Float {
		if why == "" && seconds <= 0 {
			why = emptyWindow
		}
		why = cmp.Or(why, uncertain)
		if why != "" {
			v.Notes.Missing("engine.throughput."+field, why)
			return nil
		}
		return schema.F(float64(n) / seconds)
	}
	finished, whyFinished := v.counter(metrics.RequestSuccess)
	prompt, whyPrompt := v.counter(metrics.PromptTokens)
	generation, whyGeneration := v.counter(metrics.GenerationTokens)
	var over *string
	switch {
	case v.Engine.Window.ActiveSecondsEst != nil:
		over = schema.Ptr("active")
	case uncertain == "":
		over = schema.Ptr("window")
	default:
		v.Notes.Missing("engine.throughput.over", uncertain)
	}
	return &schema.Throughput{
		Over:                      over,
		RequestsPerSecond:         rate("requests_per_second", finished, whyFinished, toFull),
		PromptTokensPerSecond:     rate("prompt_tokens_per_second", prompt, whyPrompt, toLast),
		GenerationTokensPerSecond: rate("generation_tokens_per_second", generation, whyGeneration, toLast),
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
