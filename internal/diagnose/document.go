package diagnose

import "github.com/vobs/vobs/schema"

// noVerdict is the verdict of [Document], which has none.
func noVerdict() schema.BindingResource {
	return schema.BindingResource{Code: schema.BindingUnknown, WouldSettle: []string{"the preset document has no verdict: see that of the default preset"}}
}

// documentRules returns the five pathologies of the production document, and its check for
// requests that run for long.
func documentRules() []rule {
	return []rule{
		{schema.FindingKVCacheThrashing, documentThrashing},
		{schema.FindingDocumentPrefillStarvation, documentPrefillStarvation},
		{schema.FindingDocumentGPUUnderutilization, documentUnderutilization},
		{schema.FindingDocumentMemoryLeak, documentMemoryLeak},
		{schema.FindingDocumentPrefixCacheMisses, documentPrefixCacheMisses},
		{schema.FindingLongRunningRequests, longRunningRequests},
	}
}

// quantile returns an estimated percentile of a latency, in seconds. The preset does not look at
// bounds: the document does not know them.
func (f *figures) quantile(key string, percentile int) figure {
	names := map[int]string{50: "p50_est", 95: "p95_est"}
	a := figure{field: "engine.latency_seconds." + key + "." + names[percentile]}
	d := f.latency(key)
	if d == nil {
		return a
	}
	if percentile == 50 {
		return from(a.field, d.P50Est)
	}
	if d.P95Est == nil && d.Above != nil { // beyond the highest bucket
		return from(a.field, d.Above)
	}
	return from(a.field, d.P95Est)
}

// documentThrashing is: kv_cache_util > 0.95 AND kv_evictions_rate > 10/sec AND ttft_p95 > 3s.
// vLLM counts preemptions, which the document's text means.
func documentThrashing(f *figures) result {
	kv, rate, ttft := f.kvPeak, f.preemptions.over(f.duration), f.quantile("time_to_first_token", 95)
	if text := unknown(kv, rate, ttft); text != "" {
		return missing("%s", text)
	}
	if !(kv.x > 0.95 && rate.x > 10 && ttft.x > 3) {
		return healthy
	}
	r := found(schema.FindingWarning, 0.5, "KV cache thrashing", kv.is(">", 0.95), rate.is(">", 10.0), ttft.is(">", 3.0)).
		because("More active sequences than KV cache capacity")
	k := f.engine.KVCache
	length, _ := f.requestTokens()
	if k != nil && k.NumGPUBlocks != nil && length.known && length.x > 0 {
		r = r.fix("--max-num-seqs", int64(float64(*k.NumGPUBlocks)*0.85/(length.x/16)), "int(total_blocks * 0.85 / (avg_seq_len / 16)), with the document's 16 tokens per block", "limits concurrency")
	}
	return r.fix("", nil, "increase KV cache capacity by using a smaller model, quantized KV cache, or more GPUs", "more KV cache")
}

// documentPrefillStarvation is: ttft_p95 > 5s AND tbt_p50 < 50ms AND queue_depth > 20.
func documentPrefillStarvation(f *figures) result {
	ttft, tbt, queue := f.quantile("time_to_first_token", 95), f.quantile("inter_token_latency", 50), f.waiting
	if text := unknown(ttft, tbt, queue); text != "" {
		return missing("%s", text)
	}
	if !(ttft.x > 5 && tbt.x < 0.05 && queue.x > 20) {
		return healthy
	}
	return found(schema.FindingWarning, 0.3, "prefill starvation", ttft.is(">", 5.0), tbt.is("<", 0.05), queue.is(">", 20.0)).
		because("Long-running decode sequences monopolize the GPU").
		fix("--enable-chunked-prefill", true, "interleaves prefill chunks with decode steps (vLLM's V1 always does)", "new requests begin earlier").
		fix("--max-num-seqs", 64, "the document's number, reduced from 256", "limits the decode batch to create prefill windows")
}

// documentUnderutilization is: gpu_utilization < 0.50 AND batch_size_p50 < 8 AND queue_depth < 5.
// vLLM has no histogram of batch sizes: the mean number of running requests stands for its
// median.
func documentUnderutilization(f *figures) result {
	var utilization figure
	for i := range f.event.GPUs {
		if g := &f.event.GPUs[i]; g.Utilization != nil && (g.UsedByJob == nil || *g.UsedByJob) {
			if u := from("gpus.*.utilization.mean", &g.Utilization.Mean); !utilization.known || u.x > utilization.x {
				utilization = u
			}
		}
	}
	utilization.field = "gpus.*.utilization.mean"
	if text := unknown(utilization, f.running, f.waiting); text != "" {
		return missing("%s", text)
	}
	if !(utilization.x < 0.5 && f.running.x < 8 && f.waiting.x < 5) {
		return healthy
	}
	return found(schema.FindingInfo, 0.5, "GPU underutilization", utilization.is("<", 0.5), f.running.is("<", 8.0), f.waiting.is("<", 5.0)).
		because("traffic is low", "max_num_seqs is too low, or the KV cache does not allow more concurrent sequences")
}

// documentMemoryLeak is: gpu_memory_usage steadily increasing AND requests_completed_total
// increasing normally.
func documentMemoryLeak(f *figures) result {
	if !f.finished.known {
		return missing("%s", unknown(f.finished))
	}
	r := gpuMemoryGrowth(f)
	if r.finding != nil && f.finished.x > 0 {
		return found(schema.FindingWarning, 0.5, "memory leak", append(r.finding.Evidence, f.finished.is(">", 0.0))...).
			because("KV cache blocks not being freed for completed or failed requests")
	}
	if r.missing != "" {
		return r
	}
	return healthy
}

// documentPrefixCacheMisses is: prefix_cache_hit_rate < 0.1 AND enable_prefix_caching = true.
func documentPrefixCacheMisses(f *figures) result {
	rate := f.prefixHitRate()
	enabled, known := f.setting("enable_prefix_caching")
	on, _ := enabled.(bool)
	if text := unknown(rate, figure{field: "engine.config.values.enable_prefix_caching", known: known}); text != "" {
		return missing("%s", text)
	}
	if rate.x >= 0.1 || !on {
		return healthy
	}
	return found(schema.FindingInfo, 0.3, "prefix cache misses", rate.is("<", 0.1), schema.DiagnosisEvidence{Field: "engine.config.values.enable_prefix_caching", Value: true, Operator: "==", Threshold: true}).
		because("requests do not share common prefixes", "the cache is too small to hold frequently used prefixes").
		fix("", nil, "standardize system prompts, group requests by system prompt and route them to the same instance, increase the KV cache", "lower time to first token")
}
