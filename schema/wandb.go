package schema

// KeyValue is one entry of an ordered list of keys and values.
type KeyValue struct {
	Key   string
	Value any
}

// WandbPayload flattens the core for Weights & Biases, by the rules and in the order
// of NeMo Safe Synthesizer's to_wandb_payload: nulls are left out, load averages
// become one scalar per horizon, engine settings one value per key, and
// flag_did_not_engage is always present. Each key is prefix, taken literally, a
// slash, and a name.
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
	for _, s := range c.EngineRuntimeConfig.Settings() {
		add("engine_runtime/"+s.Key, s.Value)
	}
	return out
}

// Settings returns the settings that are known, in their order in the event. Each
// value is an int64, a bool or a string.
func (r *EngineRuntimeConfig) Settings() (out []KeyValue) {
	out = appendSetting(out, "max_num_seqs", r.MaxNumSeqs)
	out = appendSetting(out, "max_num_batched_tokens", r.MaxNumBatchedTokens)
	out = appendSetting(out, "enable_chunked_prefill", r.EnableChunkedPrefill)
	out = appendSetting(out, "enable_prefix_caching", r.EnablePrefixCaching)
	out = appendSetting(out, "kv_cache_dtype", r.KVCacheDtype)
	return appendSetting(out, "speculative_method", r.SpeculativeMethod)
}

func appendSetting[T any](out []KeyValue, key string, v *T) []KeyValue {
	if v == nil {
		return out
	}
	return append(out, KeyValue{key, *v})
}
