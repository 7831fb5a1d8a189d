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

func (v view) kvCache() *schema.KVCache {
	k := &schema.KVCache{}
	usage, missing, why := v.readGauge(metrics.KVCacheUsage, "")
	if why != "" {
		v.Notes.Missing("engine.kv_cache.usage", why)
	} else {
		if peak, ok := usage.Peak.Value(); ok {
			if why := v.whyNeverFull(peak); why != "" {
				usage.Peak, missing.peak = nil, why
			}
		}
		k.Usage = v.kvUsage(usage, missing)
	}
	switch {
	case k.Usage == nil:
		v.Notes.Missing("kv_cache_usage_perc", v.whyNoGauge(metrics.KVCacheUsage, ""))
	case k.Usage.Last == nil:
		v.Notes.Missing("kv_cache_usage_perc", metrics.KVCacheUsage.CanonicalName()+vanished)
	default:
		v.KVCacheUsagePerc = k.Usage.Last
	}
	known := func(field string, n int64, why string) *int64 {
		if why != "" {
			v.Notes.Missing("engine.kv_cache."+field, why)
			return nil
		}
		return &n
	}
	n, why := v.blocks()
	k.NumGPUBlocks = known("num_gpu_blocks", n, why)
	n, why = v.configNumber("block_size")
	k.BlockSize = known("block_size", n, why)
	n, why = v.configNumber("kv_cache_size_tokens")
	k.SizeTokens = known("size_tokens", n, why)
	if n, why = v.peakTokens(); why == "" && (k.Usage == nil || k.Usage.Peak == nil) {
		why = "the cache's peak usage is unknown"
	}
	k.PeakTokens = known("peak_tokens", n, why)
	k.Residency = v.residency()
	return k
}

// minBusyPolls is how many polls have to find running requests for the KV-cache usage of one.
const minBusyPolls = 7

// maxRatioError is the largest standard error of that usage, as a fraction of it. It is mostly
// too high: what the readings of a slowly changing usage differ by is no error.
const maxRatioError = 0.08

// kvUsage returns the usage with its mean. If the counters tell the mean number of running
// requests, it is that times the polled usage per running request: polls that missed work then
// do not matter, as long as they saw typical requests.
func (v view) kvUsage(g *schema.Gauge, missing gaugeReasons) *schema.KVUsage {
	const path = "engine.kv_cache.usage"
	u := &schema.KVUsage{Gauge: *g}
	method := polled
	r := v.Engine.Requests.Running
	if r != nil && r.Mean != nil && *r.Method != polled {
		each, ok := v.gauges.UsagePerRequest(v.stage, v.indices())
		if ok && each.Busy >= minBusyPolls && each.Error <= maxRatioError {
			u.Mean, method = schema.F(each.Ratio*float64(*r.Mean)/float64(each.Engines)), "per_running_request"
		}
	}
	if u.Mean != nil {
		u.Method = &method
	} else {
		v.Notes.Missing(path+".method", missing.mean)
	}
	v.noteGauge(path, &u.Gauge, missing)
	return u
}

// indices returns the numbers of the view's endpoints in the gauges.
func (v view) indices() (out []int) {
	for _, e := range v.endpoints {
		out = append(out, e.Index)
	}
	return out
}

func (v view) residency() *schema.KVResidency {
	const path = "engine.kv_cache.residency"
	if !v.everExported(metrics.KVBlockLifetime, metrics.KVBlockIdleBeforeEvict, metrics.KVBlockReuseGap) {
		v.Notes.Missing(path, "the engine exports no vllm:kv_block families: vLLM 0.12 and later export them with --kv-cache-metrics")
		return nil
	}
	return &schema.KVResidency{
		LifetimeSeconds:        v.distribution(path+".lifetime_seconds", metrics.KVBlockLifetime),
		IdleBeforeEvictSeconds: v.distribution(path+".idle_before_evict_seconds", metrics.KVBlockIdleBeforeEvict),
		ReuseGapSeconds:        v.distribution(path+".reuse_gap_seconds", metrics.KVBlockReuseGap),
	}
}

// blocks adds up num_gpu_blocks over the endpoints. Each engine's series has the sum over
// the engines of its endpoint already (vllm/v1/engine/core_client.py; checked on 0.32.0
// with two engines). With several replicas of a stage, it is unknown whether a series has
// one replica's number or the sum.
func (v view) blocks() (sum int64, why string) {
	const name = "num_gpu_blocks"
	for i := range v.endpoints {
		if v.endpoints[i].lacksStage(v.stage) {
			continue
		}
		texts, why := v.cacheConfigAt(i, name)
		if why != "" {
			return 0, why
		}
		values := slices.Compact(slices.Sorted(maps.Values(texts)))
		switch {
		case len(values) > 1:
			return 0, "the engines at " + v.endpoints[i].Name + " report different values of num_gpu_blocks, although each should report the sum"
		case v.stage != "" && len(texts) > 1:
			return 0, "the stage has several replicas, and num_gpu_blocks may be that of one replica or of all together"
		}
		n, why := parseConfigNumber(name, values[0])
		if why != "" {
			return 0, why
		}
		sum += n
	}
	return sum, ""
}

// peakTokens returns the largest number of tokens that one engine's cache held, each engine
// at the peak of its own cache's usage. kv_cache_size_tokens is the size of one engine's
// cache. An engine that was replaced inside the window counts with the size that it had.
func (v view) peakTokens() (most int64, why string) {
	found := false
	for _, e := range v.endpoints {
		if replaced, ok := e.ReplacedKVTokens[v.stage]; ok {
			if !replaced.Known {
				return 0, "the size in tokens of the cache of an engine that was replaced inside the window is unknown"
			}
			most, found = max(most, replaced.Tokens), true
		}
		for k := range v.gauges.Keys(metrics.KVCacheUsage) {
			peak, inRun := v.gauges.EpochPeak(metrics.KVCacheUsage, k)
			if k.Endpoint != e.Index || k.Engine.Stage != v.stage || !inRun {
				continue
			}
			tokens, ok := window.TokensAt(peak, e.Counters.Configs[k.Engine])
			if !ok {
				return 0, "the cache's size in tokens is unknown"
			}
			most, found = max(most, tokens), true
		}
	}
	if !found {
		return 0, "the cache's peak usage is unknown"
	}
	return most, ""
}

// cacheConfigAt returns the values of a label of vllm:cache_config_info for the stage's
// engines behind one endpoint. They are Python's str() of the CacheConfig's fields:
// "True", "None", "128".
func (v view) cacheConfigAt(endpoint int, name string) (values map[window.EngineID]string, why string) {
	values = map[window.EngineID]string{}
	exported := false
	for id, labels := range v.endpoints[endpoint].Counters.Configs {
		if id.Stage != v.stage {
			continue
		}
		exported = true
		if value := labels.Get(name); value != "" {
			values[id] = value
		}
	}
	switch {
	case !exported && v.endpoints[endpoint].Counters.EverExported(metrics.CacheConfig):
		return nil, "the engine was replaced inside the window, and no whole page of the new one with vllm:cache_config_info was read"
	case !exported:
		return nil, "the engine does not export vllm:cache_config_info"
	case len(values) == 0:
		return nil, "vllm:cache_config_info has no label " + name
	}
	return values, ""
}

// cacheConfigLabel returns the value of a label of vllm:cache_config_info that all engines
// have in common.
func (v view) cacheConfigLabel(name string) (value, why string) {
	for i := range v.endpoints {
		if v.endpoints[i].lacksStage(v.stage) {
			continue
		}
		texts, none := v.cacheConfigAt(i, name)
		if none != "" {
			return "", none
		}
		for _, text := range slices.Sorted(maps.Values(texts)) {
			if value != "" && text != value {
				return "", fmt.Sprintf("the engines have different values of the label %s of vllm:cache_config_info: %q and %q", name, min(value, text), max(value, text))
			}
			value = text
		}
	}
	return value, ""
}

// configNumber is cacheConfigLabel for a number.
func (v view) configNumber(name string) (n int64, why string) {
	text, why := v.cacheConfigLabel(name)
	if why != "" {
		return 0, why
	}
	return parseConfigNumber(name, text)
}

func parseConfigNumber(name, text string) (n int64, why string) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Sprintf("vllm:cache_config_info has %s=%q, which is not a number", name, text)
	}
	return n, ""
}
