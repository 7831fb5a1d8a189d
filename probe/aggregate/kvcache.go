package aggregate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

func (r view) kvCache() *schema.KVCache {
	k := &schema.KVCache{Usage: r.gauge("engine.kv_cache.usage", metrics.KVCacheUsage)}
	switch {
	case k.Usage == nil:
		r.Notes.Missing("kv_cache_usage_perc", r.whyNoGauge(metrics.KVCacheUsage, ""))
	case k.Usage.Last == nil:
		r.Notes.Missing("kv_cache_usage_perc", metrics.CanonicalName(metrics.KVCacheUsage)+" vanished from the page inside the window")
	default:
		r.KVCacheUsagePerc = k.Usage.Last
	}
	known := func(field string, n int64, why string) *int64 {
		if why != "" {
			r.Notes.Missing("engine.kv_cache."+field, why)
			return nil
		}
		return &n
	}
	n, why := r.blocks()
	k.NumGPUBlocks = known("num_gpu_blocks", n, why)
	n, why = r.configNumber("block_size")
	k.BlockSize = known("block_size", n, why)
	n, why = r.configNumber("kv_cache_size_tokens")
	k.SizeTokens = known("size_tokens", n, why)
	n, why = r.peakTokens()
	k.PeakTokens = known("peak_tokens", n, why)
	k.Residency = r.residency()
	return k
}

func (r view) residency() *schema.KVResidency {
	const path = "engine.kv_cache.residency"
	if !r.everExported(metrics.BlockLifetime, metrics.BlockIdle, metrics.BlockReuseGap) {
		r.Notes.Missing(path, "the engine exports no vllm:kv_block families: vLLM 0.12 and later do with --kv-cache-metrics")
		return nil
	}
	return &schema.KVResidency{
		LifetimeSeconds:        r.distribution(path+".lifetime_seconds", metrics.BlockLifetime),
		IdleBeforeEvictSeconds: r.distribution(path+".idle_before_evict_seconds", metrics.BlockIdle),
		ReuseGapSeconds:        r.distribution(path+".reuse_gap_seconds", metrics.BlockReuseGap),
	}
}

// blocks adds up num_gpu_blocks, which is the sum over the engines of one
// endpoint already and stands on each one's series (vllm/v1/engine/core_client.py;
// seen on 0.32.0 with two engines). Of a stage's replicas it is not known whether
// one's series tells of it alone or of all.
func (r view) blocks() (sum int64, why string) {
	const name = "num_gpu_blocks"
	for i := range r.endpoints {
		if r.endpoints[i].lacksStage(r.stage) {
			continue
		}
		texts, why := r.configsAt(i, name)
		if why != "" {
			return 0, why
		}
		values := slices.Compact(slices.Sorted(maps.Values(texts)))
		switch {
		case len(values) > 1:
			return 0, "the engines of " + r.endpoints[i].Name + " tell different num_gpu_blocks, where each is to tell their sum"
		case r.stage != "" && len(texts) > 1:
			return 0, "the stage has several replicas, and their num_gpu_blocks do not tell whether they are of one or of all"
		}
		n, why := configNumber(name, values[0])
		if why != "" {
			return 0, why
		}
		sum += n
	}
	return sum, ""
}

// peakTokens is the most tokens that one engine's cache held. kv_cache_size_tokens
// is one engine's.
func (r view) peakTokens() (most int64, why string) {
	found := false
	for i, e := range r.endpoints {
		sizes, noSize := r.configsAt(i, "kv_cache_size_tokens")
		for p, s := range r.gauges.Families[metrics.KVCacheUsage].States {
			if p.Endpoint != e.Index || p.Engine.Stage != r.stage || !s.Seen {
				continue
			}
			text, ok := sizes[p.Engine]
			if _, bad := configNumber("", text); noSize != "" || !ok || bad != "" {
				return 0, "the cache's size in tokens is not known"
			}
			size, _ := configNumber("", text)
			most = max(most, int64(s.Peak*float64(size)))
			found = true
		}
	}
	if !found {
		return 0, "the cache's peak usage is not known"
	}
	return most, ""
}

// configsAt reads a label of vllm:cache_config_info of the stage's engines behind
// one endpoint. Its values are Python's str() of the CacheConfig's fields:
// "True", "None", "128".
func (r view) configsAt(endpoint int, name string) (values map[window.EngineID]string, why string) {
	values = map[window.EngineID]string{}
	exported := false
	for id, labels := range r.endpoints[endpoint].Counters.Configs {
		if id.Stage != r.stage {
			continue
		}
		exported = true
		if v := labels.Get(name); v != "" {
			values[id] = v
		}
	}
	switch {
	case !exported:
		return nil, "the engine does not export vllm:cache_config_info"
	case len(values) == 0:
		return nil, "vllm:cache_config_info has no label " + name
	}
	return values, ""
}

// cacheConfigLabel is a label of vllm:cache_config_info where all engines have it alike.
func (r view) cacheConfigLabel(name string) (value, why string) {
	for i := range r.endpoints {
		if r.endpoints[i].lacksStage(r.stage) {
			continue
		}
		texts, none := r.configsAt(i, name)
		if none != "" {
			return "", none
		}
		for _, text := range texts {
			if value != "" && text != value {
				a, b := min(value, text), max(value, text)
				return "", fmt.Sprintf("the engines differ in vllm:cache_config_info's %s: %q and %q", name, a, b)
			}
			value = text
		}
	}
	return value, ""
}

func (r view) configNumber(name string) (n int64, why string) {
	text, why := r.cacheConfigLabel(name)
	if why != "" {
		return 0, why
	}
	return configNumber(name, text)
}

func configNumber(name, text string) (n int64, why string) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Sprintf("vllm:cache_config_info says %s=%q", name, text)
	}
	return n, ""
}
