package schema

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The cases of NeMo Safe Synthesizer's own tests
// (tests/generation/test_vllm_observability.py) and, where they leave something open,
// cases by its rules.
func TestWandbPayload(t *testing.T) {
	full := populated()
	everything := populated()
	everything.FlagDidNotEngage = false
	everything.EngineRuntimeConfig = EngineRuntimeConfig{
		MaxNumSeqs: Ptr[int64](128), MaxNumBatchedTokens: Ptr[int64](8192), EnableChunkedPrefill: Ptr(false),
		EnablePrefixCaching: Ptr(true), KVCacheDtype: Ptr("auto"), SpeculativeMethod: Ptr("ngram"),
	}
	for _, c := range []struct {
		name   string
		core   Core
		prefix string
		want   []KeyValue
	}{
		{"the empty event", Core{}, "vllm_gen", []KeyValue{{"vllm_gen/flag_did_not_engage", false}}},
		{"case 4: another prefix", full, "custom", []KeyValue{
			{"custom/peak_vram_gb", 64.5}, {"custom/kv_cache_usage_perc", 0.42}, {"custom/prefix_cache_hit_rate", 0.99},
			{"custom/spec_accept_rate", 0.72}, {"custom/flag_did_not_engage", true},
			{"custom/loadavg_pre_1m", 2.5}, {"custom/loadavg_pre_5m", 3.0}, {"custom/loadavg_pre_15m", 3.5},
			{"custom/loadavg_post_1m", 4.0}, {"custom/loadavg_post_5m", 3.5}, {"custom/loadavg_post_15m", 3.2},
			{"custom/engine_runtime/max_num_seqs", int64(256)}, {"custom/engine_runtime/enable_prefix_caching", true},
		}},
		{"case 5: null is left out", Core{PeakVRAMGB: F(10)}, "vllm_gen", []KeyValue{
			{"vllm_gen/peak_vram_gb", 10.0}, {"vllm_gen/flag_did_not_engage", false},
		}},
		{"case 6: one scalar per horizon", Core{LoadavgPre: &LoadAvg{1, 2, 3}}, "vllm_gen", []KeyValue{
			{"vllm_gen/flag_did_not_engage", false},
			{"vllm_gen/loadavg_pre_1m", 1.0}, {"vllm_gen/loadavg_pre_5m", 2.0}, {"vllm_gen/loadavg_pre_15m", 3.0},
		}},
		{"case 7: settings keep their type, unknown ones are absent",
			Core{EngineRuntimeConfig: EngineRuntimeConfig{MaxNumSeqs: Ptr[int64](1), EnableChunkedPrefill: Ptr(true)}}, "vllm_gen", []KeyValue{
				{"vllm_gen/flag_did_not_engage", false},
				{"vllm_gen/engine_runtime/max_num_seqs", int64(1)}, {"vllm_gen/engine_runtime/enable_chunked_prefill", true},
			}},
		{"zero is a value", Core{KVCacheUsagePerc: F(0), EngineRuntimeConfig: EngineRuntimeConfig{EnablePrefixCaching: Ptr(false)}}, "vllm_gen", []KeyValue{
			{"vllm_gen/kv_cache_usage_perc", 0.0}, {"vllm_gen/flag_did_not_engage", false},
			{"vllm_gen/engine_runtime/enable_prefix_caching", false},
		}},
		{"the empty prefix is taken literally", Core{}, "", []KeyValue{{"/flag_did_not_engage", false}}},
		{"a slash too", Core{}, "a/", []KeyValue{{"a//flag_did_not_engage", false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, c.core.WandbPayload(c.prefix)); d != "" {
				t.Error(d)
			}
		})
	}

	got := everything.WandbPayload("vllm_gen")
	var keys []string
	for _, kv := range got {
		keys = append(keys, strings.TrimPrefix(kv.Key, "vllm_gen/"))
	}
	want := []string{
		"peak_vram_gb", "kv_cache_usage_perc", "prefix_cache_hit_rate", "spec_accept_rate", "flag_did_not_engage",
		"loadavg_pre_1m", "loadavg_pre_5m", "loadavg_pre_15m", "loadavg_post_1m", "loadavg_post_5m", "loadavg_post_15m",
		"engine_runtime/max_num_seqs", "engine_runtime/max_num_batched_tokens", "engine_runtime/enable_chunked_prefill",
		"engine_runtime/enable_prefix_caching", "engine_runtime/kv_cache_dtype", "engine_runtime/speculative_method",
	}
	if !slices.Equal(keys, want) || len(keys) != 17 {
		t.Errorf("the whole payload is\n%v, want\n%v", keys, want)
	}
}
