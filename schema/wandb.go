package schema

// KeyValue is one entry of an ordered payload.
type KeyValue struct {
	Key   string
	Value any
}

// WandbPayload flattens the core for Weights & Biases, by the rules and in the
// order of the seed's to_wandb_payload: what is null is left out, the load
// averages become one scalar per horizon, the engine's settings one per key, and
// flag_did_not_engage is always there. Every key is put behind prefix and a
// slash, the prefix taken literally.
func (c *Core) WandbPayload(prefix string) []KeyValue {
	var out []KeyValue
	add := func(key string, value any) { out = append(out, KeyValue{prefix + "/" + key, value}) }
	number := func(key string, f *Float) {
		if x, ok := f.Value(); ok {
			add(key, x)
		}
	}
	number("peak_vram_gb", c.PeakVRAMGB)
	number("kv_cache_usage_perc", c.KVCacheUsagePerc)
	number("prefix_cache_hit_rate", c.PrefixCacheHitRate)
	number("spec_accept_rate", c.SpecAcceptRate)
	add("flag_did_not_engage", c.FlagDidNotEngage)
	for _, side := range []struct {
		name string
		avg  *LoadAvg
	}{{"loadavg_pre", c.LoadavgPre}, {"loadavg_post", c.LoadavgPost}} {
		if side.avg == nil {
			continue
		}
		for i, horizon := range []string{"1m", "5m", "15m"} {
			add(side.name+"_"+horizon, float64(side.avg[i]))
		}
	}
	r := c.EngineRuntimeConfig
	addSetting(add, "max_num_seqs", r.MaxNumSeqs)
	addSetting(add, "max_num_batched_tokens", r.MaxNumBatchedTokens)
	addSetting(add, "enable_chunked_prefill", r.EnableChunkedPrefill)
	addSetting(add, "enable_prefix_caching", r.EnablePrefixCaching)
	addSetting(add, "kv_cache_dtype", r.KVCacheDtype)
	addSetting(add, "speculative_method", r.SpeculativeMethod)
	return out
}

func addSetting[T any](add func(string, any), key string, v *T) {
	if v != nil {
		add("engine_runtime/"+key, *v)
	}
}
