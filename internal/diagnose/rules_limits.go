package diagnose

import (
	"fmt"
	"math"

	"github.com/vobs/vobs/schema"
)

const (
	// minRequests is the least number of finished requests, or minPreemptions that of preemptions,
	// for their quotient.
	minRequests, minPreemptions = 20, 3
	// raiseShare is the least rise of a limit that is worth a change.
	raiseShare = 1.1
)

// kvCacheThrashing looks for preemptions: vLLM frees the KV of a preempted request and computes
// it again later.
func kvCacheThrashing(f *figures) result {
	share := f.preemptionsPerRequest()
	if !share.known {
		return missing("%s", unknownOr(f.preemptions, f.finished, fmt.Sprintf("fewer than %d requests finished", minRequests)))
	}
	if share.x <= thrashingShare {
		return healthy
	}
	confidence := 0.9
	evidence := []schema.DiagnosisEvidence{share.is(">", thrashingShare)}
	if f.kvPeak.known && f.kvPeak.x >= nearlyFullKV {
		confidence = 0.95
		evidence = append(evidence, f.kvPeak.is(">=", nearlyFullKV))
	}
	r := found(schema.FindingWarning, confidence, fmt.Sprintf("running requests are preempted for lack of KV cache, %.2g times per finished request: their tokens are computed again", share.x), evidence...)
	r = r.because("more requests run at once than the KV cache holds at their full length")
	return fitToKVCache(f, r)
}

// fitToKVCache adds the changes that make the running requests fit into the KV cache.
func fitToKVCache(f *figures, r result) result {
	if n, why := f.fittingRequests(); n > 0 && (!f.runningLimit.known || float64(n)*f.engines < f.runningLimit.x) {
		r = r.fix("--max-num-seqs", int64(n), why, "preemptions fall to about none; requests wait in the queue instead, and inter-token latency falls")
	}
	r = r.fix("--watermark", 0.05, "keeps this fraction of the KV blocks free when requests are admitted, for the growth of those that run (vLLM 0.32 or later)", "fewer preemptions; slightly fewer requests at once")
	if dtype, ok := f.setting("kv_cache_dtype"); !ok || dtype == "auto" {
		r = r.fix("--kv-cache-dtype", "fp8", "halves the bytes of each token if the cache is in 16 bits", "up to twice as many requests fit; check the quality of the output")
	}
	if u, ok := f.setting("gpu_memory_utilization"); ok {
		if x, ok := u.(float64); ok && x < 0.92 {
			r = r.fix("--gpu-memory-utilization", 0.92, fmt.Sprintf("it is %v, and vLLM's default is 0.92", u), "a larger KV cache, if nothing else needs the memory")
		}
	}
	return r
}

// fittingRequests returns how many requests of the lengths seen one engine's KV cache holds at
// their full length, and how that was computed; 0 if it is unknown. Lengths vary: the sum of n
// of them exceeds n times the mean by two of its standard deviations in one case of 40. vLLM
// allocates whole blocks, of which a request's last is half empty on average, and uses all of
// them but one (BlockPool's null_block).
func (f *figures) fittingRequests() (n int, how string) {
	tokens := f.kvTokens()
	length, deviation := f.requestTokens()
	if !tokens.known || !length.known || length.x <= 0 {
		return 0, ""
	}
	capacity, needed := tokens.x/f.engines, length.x
	if k := f.engine.KVCache; k.BlockSize != nil {
		block := float64(*k.BlockSize)
		capacity, needed = capacity-block, needed+(block-1)/2
	}
	if capacity <= 0 {
		return 0, ""
	}
	// n*mean + 2*sqrt(n)*deviation = capacity, solved for sqrt(n).
	root := (math.Sqrt(deviation*deviation+needed*capacity) - deviation) / needed
	n = int(root * root)
	how = fmt.Sprintf("the KV cache holds %.0f tokens, and a request has %.0f of its own at its end on average", tokens.x/f.engines, length.x)
	if deviation > 0 {
		how += fmt.Sprintf(" (standard deviation about %.0f)", deviation)
	}
	return n, how
}

// concurrencyCap looks for requests that wait although the KV cache has room, because the
// engine runs as many as it may.
func concurrencyCap(f *figures) result {
	atCap := f.atCap()
	switch {
	case atCap == nil && !f.runningLimit.known:
		return missing("%s", unknown(f.runningLimit))
	case atCap == nil:
		return healthy
	case !f.waiting.known && !f.queueShare().known:
		return missing("%s", unknown(f.waiting))
	case !f.isQueueing():
		return healthy
	case f.binding != schema.BindingConcurrencyCap && f.binding != schema.BindingCapOrCompute:
		return healthy // something else binds
	}
	evidence := []schema.DiagnosisEvidence{*atCap, f.queueEvidence()}
	n, gain, why := f.higherCap()
	if n == 0 || f.binding != schema.BindingConcurrencyCap {
		if why == "" || f.binding != schema.BindingConcurrencyCap {
			why = "whether it would help cannot be told"
		}
		return found(schema.FindingInfo, 0.8, "as many requests run as --max-num-seqs allows, and others wait; no gain from a higher limit is predicted: "+why, evidence...).
			because("more load than the engine can take at once").
			settledBy("a run of the same load with --max-num-seqs a quarter higher, compared with this one by vobs compare")
	}
	step := f.tokensPerStep()
	if step.known {
		evidence = append(evidence, step.is("<", float64(weightsBoundTokens)))
	}
	r := found(schema.FindingWarning, 0.9, "requests wait although the KV cache has room, because --max-num-seqs allows no more to run", evidence...)
	return r.because("--max-num-seqs is lower than the GPU and the KV cache allow").
		fix("--max-num-seqs", int64(n), why, fmt.Sprintf("tokens per second rise, at most %.2g-fold; time in the queue falls; inter-token latency may rise", gain))
}

// higherCap returns a higher max_num_seqs for each engine, and by how much throughput rises at
// most; 0 if no gain is predicted. It is the least of what the load asks for, what the KV cache
// holds, and what a step computes at no cost; why says which.
func (f *figures) higherCap() (n int, gain float64, why string) {
	step := f.tokensPerStep()
	if !f.runningLimit.known || !step.known || step.x <= 0 {
		return 0, 0, ""
	}
	now := f.runningLimit.x / f.engines
	n = int(now * weightsBoundTokens / step.x)
	why = fmt.Sprintf("a step computes %.0f tokens, and up to about %d cost little more than reading the weights", step.x, weightsBoundTokens)
	if f.kvPeak.known && f.kvPeak.x > 0 {
		if room := int(now * nearlyFullKV / f.kvPeak.x); room < n {
			n, why = room, fmt.Sprintf("the KV cache is at most %.0f %% full with %.0f requests", 100*f.kvPeak.x, now)
		}
	} else if fits, how := f.fittingRequests(); fits > 0 && fits < n {
		n, why = fits, how
	}
	if f.waitingPeak.known {
		if wanted := int(math.Ceil(now + f.waitingPeak.x/f.engines)); wanted < n {
			n, why = wanted, fmt.Sprintf("at most %.0f more requests waited", f.waitingPeak.x)
		}
	}
	if float64(n) < raiseShare*now {
		return 0, 0, why
	}
	return n, float64(n) / now, why
}

// tokenBudgetBound looks for steps that are full of tokens while requests wait.
func tokenBudgetBound(f *figures) result {
	if !f.stepLimit.known {
		return missing("%s", unknown(f.stepLimit))
	}
	full, confidence := f.fullSteps()
	if full == nil {
		if step := f.tokensPerStep(); !step.known {
			return missing("%s", unknown(step))
		}
		return healthy
	}
	if !f.isQueueing() {
		return healthy
	}
	now := f.stepLimit.x
	next := max(2048, 2*int64(now))
	r := found(schema.FindingWarning, confidence, fmt.Sprintf("steps compute nearly as many tokens as --max-num-batched-tokens allows (%.0f), and requests wait for their prefill", now), *full, f.queueEvidence())
	r = r.because("prompts bring more tokens than a step may compute", "--max-num-batched-tokens is lower than vLLM's default, which is 2048 to 16384 for a server, depending on the GPU")
	if now < 8192 {
		return r.fix("--max-num-batched-tokens", next, fmt.Sprintf("twice %.0f, and at least vLLM's lowest default", now), "more prompt tokens per second and a shorter queue; inter-token latency rises while prompts are computed")
	}
	return r.because("the load's prompts need more compute than the engine has").
		fix("", nil, "steps of this size are bound by compute: a larger budget does not help", "more replicas, shorter prompts, or a shared prefix that the prefix cache finds")
}

// prefillDecodeInterference looks for output that stutters because steps with long prompts take
// many times as long as the others.
func prefillDecodeInterference(f *figures) result {
	const (
		ratio       = 5   // of the 99th percentile to the median
		noticeable  = 0.1 // seconds: what users see as stuttering
		longPrompts = 512 // tokens
	)
	d := f.latency("inter_token_latency")
	if d == nil || d.Count < 100 {
		return missing("engine.latency_seconds.inter_token_latency has fewer than 100 observations")
	}
	if s := f.engine.Speculative; s != nil && s.Drafts != nil && *s.Drafts > 0 {
		return missing("with speculative decoding a step returns several tokens, and the inter-token latency is per step")
	}
	low, ok1 := lowerBound(d.P99Bounds)
	high, ok2 := d.P50Bounds.High()
	prompt := figure{field: "engine.tokens.prompt_per_request.mean"}
	if t := f.engine.Tokens; t != nil && t.PromptPerRequest != nil {
		prompt = from(prompt.field, t.PromptPerRequest.Mean)
	}
	if !ok1 || !ok2 || !prompt.known {
		return missing("%s", unknown(figure{field: "engine.latency_seconds.inter_token_latency.p50_bounds", known: ok1 && ok2}, prompt))
	}
	spread := figure{field: "engine.latency_seconds.inter_token_latency.p99_bounds.0 / engine.latency_seconds.inter_token_latency.p50_bounds.1", x: low / high, known: high > 0}
	if !spread.known || spread.x < ratio || low < noticeable || prompt.x < longPrompts || !f.mixedSteps() {
		return healthy
	}
	r := found(schema.FindingWarning, 0.7, fmt.Sprintf("one in a hundred tokens comes after at least %.0f ms, the median one within %.0f ms: steps with prompts hold up the output of the other requests", 1000*low, 1000*high),
		spread.is(">=", float64(ratio)), prompt.is(">=", float64(longPrompts)))
	r = r.because("long prompts are computed in large chunks between the steps of the requests that generate")
	if f.stepLimit.known && f.stepLimit.x > 512 {
		// The time of such a step is about proportional to its tokens.
		n := max(512, int64(f.stepLimit.x*ratio*high/low)/256*256)
		if float64(n) < f.stepLimit.x {
			r = r.fix("--max-num-batched-tokens", n, fmt.Sprintf("it is %.0f, and the steps that hold up others take %.1f times as long as is tolerable", f.stepLimit.x, low/(ratio*high)), "inter-token latency becomes even; time to first token and prompt tokens per second get worse")
		}
	}
	return r.fix("", nil, "servers for prefill apart from those for decoding", "both latencies become even; it takes a KV connector, and another server")
}

// mixedSteps reports whether some steps compute many times as many tokens as the median one; it
// returns true if that is unknown.
func (f *figures) mixedSteps() bool {
	t := f.engine.Tokens
	if t == nil || t.PerIteration == nil {
		return true
	}
	low, ok1 := lowerBound(t.PerIteration.P99Bounds)
	high, ok2 := t.PerIteration.P50Bounds.High()
	return !ok1 || !ok2 || low >= 2*high
}

// queueSaturation looks for a queue that grows throughout the run, and for requests that a
// limit of the queue refused.
func queueSaturation(f *figures) result {
	var refused figure
	if q := f.engine.Requests; q != nil {
		refused = sumOf("engine.requests.rejected", q.Rejected)
	}
	const grown = 5 // requests
	t, why := f.trend(curveWaiting)
	var r result
	switch {
	case refused.known && refused.x > 0:
		r = found(schema.FindingWarning, 0.95, fmt.Sprintf("%.0f requests were refused because the queue was full", refused.x), refused.is(">", 0.0))
	case why != "":
		return missing("%s", why)
	case t.isRising(trendAlpha) && t.rise >= grown:
		r = found(schema.FindingWarning, 0.9, fmt.Sprintf("the queue grew by about %.0f requests during the run: more arrive than the engine serves", t.rise), t.evidence(curveWaiting))
	default:
		return healthy
	}
	return r.because("more requests arrive than the engine serves").
		fix("", nil, "what binds the engine is in the verdict", "more replicas, or less load")
}

// unknownOr is unknown, or otherwise if all figures are known.
func unknownOr(a, b figure, otherwise string) string {
	if text := unknown(a, b); text != "" {
		return text
	}
	return otherwise
}
