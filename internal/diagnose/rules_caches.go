package diagnose

import (
	"fmt"

	"github.com/vobs/vobs/internal/stats"
	"github.com/vobs/vobs/schema"
)

// prefixCacheIneffective looks for prompts that share a prefix which the cache does not find. A
// low hit rate is no fault where nothing is shared.
func prefixCacheIneffective(f *figures) result {
	const (
		foundShare  = 0.5  // of what could be found
		savedShare  = 0.1  // of the time to first token
		leastShared = 0.05 // of the prompt tokens
	)
	if f.options.SharedPrefix == nil {
		return missing("how much of the prompts is shared is unknown: vobs diagnose --shared-prefix takes it")
	}
	shared := figure{field: "shared prefix", x: *f.options.SharedPrefix, known: true}
	if shared.x < leastShared {
		return healthy
	}
	enabled := true
	if v, ok := f.setting("enable_prefix_caching"); ok {
		enabled, _ = v.(bool)
	}
	rate := f.prefixHitRate()
	if !enabled {
		rate = figure{field: rate.field, x: 0, known: true}
	}
	evidence := rate.is("<", foundShare*shared.x)
	prefill, ttft := f.latencyMean("request_prefill_time"), f.latencyMean("time_to_first_token")
	if text := unknown(rate, prefill, ttft); text != "" {
		return missing("%s", text)
	}
	// What the cache misses would not be computed in prefill.
	saved := figure{field: fmt.Sprintf("(shared prefix - %s) * %s", rate.field, prefill.field), x: (shared.x - rate.x) / max(1-rate.x, 1e-9) * prefill.x, known: true}.over(ttft)
	if rate.x >= foundShare*shared.x || saved.x < savedShare {
		return healthy
	}
	r := found(schema.FindingWarning, 0.85, fmt.Sprintf("the prefix cache finds %.0f %% of the prompt tokens, and %.0f %% are shared: it could save about %.0f %% of the time to first token", 100*rate.x, 100*shared.x, 100*saved.x),
		evidence, saved.is(">=", savedShare))
	if !enabled {
		r.finding.Evidence[0] = schema.DiagnosisEvidence{Field: "engine_runtime_config.enable_prefix_caching", Value: false, Operator: "==", Threshold: false}
		return r.because("prefix caching is off").fix("--enable-prefix-caching", true, "the engine reports that it is off", "time to first token falls")
	}
	if f.kvPeak.known && f.kvPeak.x >= nearlyFullKV {
		r = r.because("the KV cache is too small: prefixes are evicted before they are used again")
	}
	if f.engines > 1 {
		r = r.because("requests with the same prefix go to different engines")
	}
	return r.because("prefixes are evicted before they are used again", "the shared part is shorter than a block, or does not begin the prompt").
		fix("", nil, "route requests with the same prefix to the same engine, and put what is shared first", "time to first token falls")
}

// kvNotReleased looks for KV blocks in use while no request runs or waits. Cached blocks without
// a user count as free, so that the usage must fall to 0.
func kvNotReleased(f *figures) result {
	const seconds = 60
	if len(f.engine.KVConnectors) > 0 || f.engine.KVOffload != nil {
		return missing("a KV connector may hold blocks after their request has ended")
	}
	s := f.series
	if name := s.missing(curveKVUsage, curveRunning, curveWaiting); name != "" {
		return missing("the event has no series %s", name)
	}
	idle := func(slot int) bool { return s.isIn(curveRunning, 0, 0)(slot) && s.isIn(curveWaiting, 0, 0)(slot) }
	if s.longest(idle) < seconds {
		return missing("the engine was never idle for %d s", seconds)
	}
	// One block in use is vLLM's own: the null block.
	block := 0.01
	if k := f.engine.KVCache; k != nil && k.NumGPUBlocks != nil && *k.NumGPUBlocks > 0 {
		block = 1.5 * f.engines / float64(*k.NumGPUBlocks)
	}
	held := figure{field: "seconds in a row of series " + curveKVUsage + " above one block while " + curveRunning + " and " + curveWaiting + " are 0", x: s.longest(func(slot int) bool {
		usage, ok := s.mean(curveKVUsage, slot)
		return ok && usage > block && idle(slot)
	}), known: true}
	if held.x < seconds {
		return healthy
	}
	return found(schema.FindingWarning, 0.9, fmt.Sprintf("KV blocks stayed in use for %.0f s while no request ran or waited", held.x), held.is(">=", float64(seconds))).
		because("blocks of finished or aborted requests are not freed: a bug of the engine or of a plugin").
		fix("", nil, "a restart frees them; report it with the version and what ended the requests", "the KV cache has its full size again")
}

const (
	// trendSeconds is the shortest run in which memory is judged by its trend.
	trendSeconds = 600
	// leakBytes and leakShare are the least rise over the run that is noted, in bytes and as a
	// share of the level.
	leakBytes, leakShare = 64 << 20, 0.02
)

// growth looks for a curve of memory that rises throughout the run: by how many bytes, with its
// evidence. Memory in use wanders, so that a curve without a clear trend is judged by its
// increments.
func (f *figures) growth(curve string) (bytes float64, evidence schema.DiagnosisEvidence, why string) {
	if !f.duration.known || f.duration.x < trendSeconds {
		return 0, evidence, fmt.Sprintf("the run is shorter than %d s", trendSeconds)
	}
	if f.series.missing(curve) != "" {
		return 0, evidence, "the event has no series " + curve
	}
	values := f.series.means(curve)
	if float64(len(values))*f.series.slot < trendSeconds {
		return 0, evidence, fmt.Sprintf("series %s has readings of less than %d s", curve, trendSeconds)
	}
	p := figure{field: "p value of the increments of series " + curve, x: stats.Increments(values), known: true}
	if p.x >= trendAlpha {
		return 0, evidence, ""
	}
	bytes = values[len(values)-1] - values[0]
	if bytes < max(leakBytes, leakShare*mean(values)) {
		return 0, evidence, ""
	}
	return bytes, p.is("<", trendAlpha), ""
}

// hostMemoryLeak looks for processes of the engine whose memory grows.
func hostMemoryLeak(f *figures) result {
	why, evaluated := "", false
	for _, curve := range []string{curveEngineRSS, curveProcessRSS} {
		bytes, evidence, missing := f.growth(curve)
		switch {
		case bytes > 0:
			return found(schema.FindingWarning, 0.8, fmt.Sprintf("the engine's processes grew by %.0f MiB during the run", bytes/(1<<20)), evidence).
				because("a leak in the engine, a plugin or a connector", "caches that are still filling").
				settledBy("a longer run: a cache stops growing")
		case missing == "":
			evaluated = true
		case why == "":
			why = missing
		}
	}
	if !evaluated {
		return missing("%s", why)
	}
	return healthy
}

// gpuMemoryGrowth looks for GPU memory that grows: vLLM allocates its own at the start.
func gpuMemoryGrowth(f *figures) result {
	if len(f.event.GPUs) == 0 {
		return missing("no GPU was sampled")
	}
	why := ""
	for i := range f.event.GPUs {
		g := &f.event.GPUs[i]
		if g.UsedByJob != nil && !*g.UsedByJob {
			continue
		}
		bytes, evidence, missing := f.growth(fmt.Sprintf("gpus.%d.memory_used_bytes", i))
		if bytes == 0 {
			why = max(why, missing)
			continue
		}
		r := found(schema.FindingWarning, 0.6, fmt.Sprintf("the memory in use on GPU %d grew by %.0f MiB during the run", g.Index, bytes/(1<<20)), evidence)
		if len(g.ForeignProcesses) > 0 {
			r = r.because("another process on the GPU: see gpus[].foreign_processes")
		}
		return r.because("CUDA graphs, NCCL or a library that allocates beside vLLM's own memory").settledBy("the GPU memory of each process (nvidia-smi)")
	}
	if why != "" {
		return missing("%s", why)
	}
	return healthy
}

// deferredShare is the share of the waiting requests that waited for a passing constraint: where
// KV is offloaded or transferred, that is its arrival.
func (f *figures) deferredShare() figure {
	field := "engine.requests.waiting_by_reason.deferred.mean"
	if q := f.engine.Requests; q != nil && q.WaitingByReason != nil {
		deferred := q.WaitingByReason["deferred"]
		return from(field, deferred.Mean).over(f.waiting)
	}
	return figure{field: field}.over(f.waiting)
}

// lookupShare is the share of the time to first token that look-ups in the offload tiers took.
func (f *figures) lookupShare() figure {
	delay := figure{field: "engine.kv_offload.lookup_delay_seconds.async.sum"}
	if o := f.engine.KVOffload; o != nil && o.LookupDelaySeconds != nil && o.LookupDelaySeconds.Async != nil {
		delay = from(delay.field, &o.LookupDelaySeconds.Async.Sum)
	}
	return delay.over(f.latencySum("time_to_first_token"))
}

// offloadBound looks for requests that wait for KV from the offload tiers.
func offloadBound(f *figures) result {
	o := f.engine.KVOffload
	if o == nil {
		return healthy // not configured
	}
	deferred, delay := f.deferredShare(), f.lookupShare()
	worst := deferred
	if !worst.known || delay.known && delay.x > worst.x {
		worst = delay
	}
	if !worst.known {
		return missing("%s", unknown(deferred, delay))
	}
	failures := from("engine.kv_offload.allocation_failures", o.AllocationFailures)
	if worst.x < transferShare || worst == deferred && !f.isQueueing() {
		if failures.known && failures.x > 0 {
			return found(schema.FindingInfo, 0.8, fmt.Sprintf("%.0f allocations in the offload tier failed: it is full", failures.x), failures.is(">", 0.0)).
				because("the offload tier is smaller than what is worth keeping")
		}
		return healthy
	}
	return found(schema.FindingWarning, 0.85, "requests wait for their KV to be loaded from the offload tiers", worst.is(">=", transferShare)).
		because("the tier's bandwidth or latency: see engine.kv_offload.load", "prompts whose recomputation would be faster than the load").
		fix("", nil, "a larger first tier, a faster second one, or a threshold that leaves short prefixes out", "time to first token falls")
}

// kvTransferFailures looks for KV transfers that failed.
func kvTransferFailures(f *figures) result {
	failed, names := figure{field: "engine.kv_connectors.*.failures", known: true}, ""
	for _, c := range f.engine.KVConnectors {
		n := 0.0
		for _, x := range []*int64{c.Failures, c.FailedNotifications, c.ExpiredRequests} {
			if x != nil {
				n += float64(*x)
			}
		}
		for _, op := range c.Operations {
			if op.Failures != nil {
				n += float64(*op.Failures)
			}
		}
		if n > 0 {
			names += " " + c.Name
		}
		failed.x += n
	}
	if o := f.engine.KVOffload; o != nil {
		for _, t := range o.Tiers {
			if t.Failures != nil && *t.Failures > 0 {
				failed.x += float64(*t.Failures)
				names += " " + t.Tier
			}
		}
	}
	if failed.x == 0 {
		return healthy
	}
	const criticalShare = 0.05
	severity, share := schema.FindingWarning, failed.over(f.finished)
	if share.known && share.x > criticalShare {
		severity = schema.FindingCritical
	}
	return found(severity, 0.95, fmt.Sprintf("%.0f KV transfers failed or expired:%s", failed.x, names), failed.is(">", 0.0), share.is(">", criticalShare)).
		because("the network between the servers", "KV that expired before it was fetched: the decoding servers are behind")
}
