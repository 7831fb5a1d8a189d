package window

import (
	"strconv"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

// KVTokens is the largest number of tokens that the KV cache of one engine held, among the
// engines behind an endpoint that have been replaced, by stage. Each peak of the usage counts
// with the size of that engine's own cache.
type KVTokens map[string]KVTokensPeak

// KVTokensPeak is the peak of one stage's engines.
type KVTokensPeak struct {
	Tokens int64
	// Known is false if the size of one of the caches is unknown.
	Known bool
}

// AddReplaced adds what the engines of the process before a restart held. It must be called
// before the restarted process's gauges are added. configs are its labels of
// vllm:cache_config_info.
func (t KVTokens) AddReplaced(g *Gauges, endpoint int, configs map[EngineID]*exposition.Labels) {
	for k, s := range g.states(metrics.KVCacheUsage, endpoint) {
		if s.epochInRun {
			t.add(k.Engine.Stage, s.epochPeak, configs[k.Engine])
		}
	}
}

func (t KVTokens) add(stage string, usage float64, config *exposition.Labels) {
	p, ok := t[stage]
	if !ok {
		p.Known = true
	}
	tokens, known := TokensAt(usage, config)
	p.Tokens, p.Known = max(p.Tokens, tokens), p.Known && known
	t[stage] = p
}

// TokensAt returns how many tokens a KV cache holds at a usage between 0 and 1. ok is false
// if its size is unknown.
func TokensAt(usage float64, config *exposition.Labels) (tokens int64, ok bool) {
	if config == nil {
		return 0, false
	}
	size, err := strconv.ParseInt(config.Get("kv_cache_size_tokens"), 10, 64)
	if err != nil || size < 0 {
		return 0, false
	}
	return int64(usage * float64(size)), true
}

// EpochPeak returns the peak of a gauge during the run since the process behind its endpoint
// last restarted; ok is false without a reading since then.
func (g *Gauges) EpochPeak(id metrics.ID, k GaugeKey) (peak float64, ok bool) {
	s := g.state(id, k)
	if s == nil || !s.epochInRun {
		return 0, false
	}
	return s.epochPeak, true
}
