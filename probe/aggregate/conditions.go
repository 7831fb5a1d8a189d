package aggregate

import (
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
)

// Conditions are the conditions under which the engines worked, which the event has no key
// for.
type Conditions struct {
	// WarmCache is about the engines that had served requests before the run; nil if there
	// are none, or if it is unknown what they took from their caches.
	WarmCache *WarmCache
	// CameUp are the addresses whose engine came up during the run and served requests.
	CameUp []string
	// WithoutStats are the addresses where vLLM answers without vLLM's samples, if no engine
	// has any.
	WithoutStats []string
	// Profiled are the addresses whose server was asked to start a profiler, during the run
	// or before it, and in the latter case not to stop it.
	Profiled []string
	// Copied reports whether some page was copied from the engines by another program, so
	// that the process behind the address is not the engine's.
	Copied bool
}

// WarmCache counts prompt tokens.
type WarmCache struct {
	// Hits are those that engines which had served requests before the run found in their own
	// prefix caches during the run.
	Hits int64
	// Prompt are those of all engines in the run.
	Prompt int64
}

// conditions returns the conditions of the engines of a view, and of silent servers.
func (v view) conditions(silent []Endpoint) Conditions {
	c := Conditions{WarmCache: v.warmCache()}
	for _, e := range silent {
		c.WithoutStats = append(c.WithoutStats, e.Name)
	}
	for _, e := range v.endpoints {
		if (e.Base == BaseZero || e.Counters.HasRestarted()) && !e.Counters.LoadBalanced && e.Counters.HasServed() {
			c.CameUp = append(c.CameUp, e.Name)
		}
		if e.wasProfiled() {
			c.Profiled = append(c.Profiled, e.Name)
		}
		c.Copied = c.Copied || e.isCopied()
	}
	return c
}

// warmCache adds up what the engines that had served requests before the run took from their
// own prefix caches.
func (v view) warmCache() *WarmCache {
	var w WarmCache
	warm := false
	for _, e := range v.endpoints {
		if e.lacksStage(v.stage) {
			continue
		}
		prompts, why := v.of(e).metricsOf(metrics.PromptTokens)
		if why != "" {
			return nil
		}
		w.Prompt += int64(gainOf(prompts))
		if e.Base != BaseScraped || e.hasResetCache() {
			continue
		}
		served := map[window.EngineID]bool{}
		for _, m := range prompts {
			before, ok := e.Counters.AtBaseline(m)
			if ok && before > 0 {
				served[m.Engine] = true
			}
		}
		hits, ok := v.of(e).localHits(served)
		if !ok {
			continue
		}
		warm = warm || len(served) > 0
		w.Hits += hits
	}
	if !warm {
		return nil
	}
	return &w
}

// localHits returns the prompt tokens that engines found in their own prefix caches. ok is
// false if that is unknown: vLLM 0.8 counts blocks.
func (v view) localHits(engines map[window.EngineID]bool) (hits int64, ok bool) {
	found, why := v.metricsWithLabel(metrics.PromptBySource, metrics.SourceLocalCacheHit)
	if why != "" {
		desc, none := v.endpoints[0].Counters.SelectDesc(metrics.PrefixHits)
		if none != "" || desc.Name() != metrics.PrefixHits.CanonicalName() {
			return 0, false
		}
		if found, why = v.metricsOf(metrics.PrefixHits); why != "" {
			return 0, false
		}
	}
	for _, m := range found {
		if engines[m.Engine] {
			hits += int64(m.Gain())
		}
	}
	return hits, true
}

// hasResetCache reports whether the server was ever asked to reset its prefix cache: what it
// served before that is no longer there.
func (e *endpoint) hasResetCache() bool {
	gained, before := e.responses(vllm.ResetPrefixCachePath)
	return gained+before > 0
}

// wasProfiled reports whether a profiler was on: it was started during the run, or before it
// and not stopped.
func (e *endpoint) wasProfiled() bool {
	started, startedBefore := e.responses(vllm.StartProfilePath)
	_, stoppedBefore := e.responses(vllm.StopProfilePath)
	return started > 0 || startedBefore > stoppedBefore
}

// responses returns how many requests to a path succeeded during the run, and before it as
// far as that is known.
func (e *endpoint) responses(path string) (gained, before float64) {
	if e.Counters.LoadBalanced {
		return 0, 0
	}
	for _, m := range e.Counters.Metrics() {
		if m.Desc.Metric() != metrics.HTTPRequests || m.Labels.Get("handler") != path || statusClass(m.LabelValue) != "2xx" {
			continue
		}
		if e.whyUnusable(m) == "" {
			gained += m.Total
		}
		if value, ok := e.Counters.AtBaseline(m); ok {
			before += value
		}
	}
	return gained, before
}
