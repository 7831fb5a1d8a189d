package diagnose

import (
	"math"

	"github.com/vobs/vobs/schema"
)

// Thresholds of the verdict; docs/diagnosis.md says where each comes from.
const (
	// thrashingShare is the number of preemptions per finished request from which the KV cache
	// binds.
	thrashingShare = 0.05
	// fullKV is the usage of a full KV cache, nearlyFullKV that of one that leaves no room for
	// more requests on average.
	fullKV, nearlyFullKV = 0.95, 0.9
	// atCapShare is the share of max_num_seqs at which the engine is at the cap.
	atCapShare = 0.95
	// fullStepShare is the share of max_num_batched_tokens at which steps are full.
	fullStepShare = 0.8
	// shortQueueShare and longQueueShare bound the share of the requests' time in the queue
	// below which none waited, and from which they waited.
	shortQueueShare, longQueueShare = 0.01, 0.05
	// waitingRequests is the mean number of waiting requests from which requests waited.
	waitingRequests = 1
	// roomyShare is the share of the cap, and of the KV cache, below which there is room.
	roomyShare = 0.8
	// weightsBoundTokens is the number of tokens per step below which a step takes as long as
	// reading the weights, so that more requests per step cost little: the ratio of a GPU's
	// arithmetic to its memory bandwidth, in 2-byte weights, is 156 (A100) to 403 (L4).
	weightsBoundTokens = 256
	// stallSeconds is how long no counter moves while requests wait, for a stall.
	stallSeconds = 30
	// stallShare is the share of the run from which a stall is what binds.
	stallShare = 0.2
	// frontendShare is the share of the time to first token outside of queue and prefill from
	// which the front-end binds, and frontendSeconds the least such time.
	frontendShare, frontendSeconds = 0.5, 0.1
	// transferShare is the share of the waiting requests that wait for their KV, or of the time
	// to first token that look-ups take, from which transfers bind.
	transferShare = 0.5
)

// bindingResource returns the verdict: the first of these that the figures show.
func (f *figures) bindingResource() schema.BindingResource {
	for _, verdict := range []func() *schema.BindingResource{
		f.bindsStall, f.bindsKVCache, f.bindsTransfers, f.bindsTokenBudget, f.bindsCap, f.bindsFullKVCache, f.bindsFrontend, f.bindsClient,
	} {
		if b := verdict(); b != nil {
			return *b
		}
	}
	return f.undecided()
}

// binds returns a verdict.
func binds(code schema.BindingCode, confidence float64, evidence ...schema.DiagnosisEvidence) *schema.BindingResource {
	return &schema.BindingResource{Code: code, Confidence: schema.Float(confidence), Evidence: holding(evidence)}
}

func (f *figures) bindsStall() *schema.BindingResource {
	stalled, why := f.stalledSeconds()
	share := stalled.over(f.duration)
	if why != "" || stalled.x < stallSeconds || !share.known || share.x < stallShare {
		return nil
	}
	return binds(schema.BindingStalled, 0.9, stalled.is(">=", float64(stallSeconds)), share.is(">=", stallShare))
}

// bindsKVCache looks for preemptions: running requests do not fit into the KV cache.
func (f *figures) bindsKVCache() *schema.BindingResource {
	share := f.preemptionsPerRequest()
	if !share.known || share.x <= thrashingShare {
		return nil
	}
	confidence := 0.8
	switch {
	case f.kvPeak.known && f.kvPeak.x >= nearlyFullKV:
		confidence = 0.95
	case f.kvPeak.known: // the polls missed the peak, or something else preempts
		confidence = 0.6
	}
	return binds(schema.BindingKVCache, confidence, share.is(">", thrashingShare), f.kvPeak.is(">=", nearlyFullKV))
}

// bindsTransfers looks for requests that wait for their KV to arrive.
func (f *figures) bindsTransfers() *schema.BindingResource {
	code := schema.BindingKVTransfer
	switch {
	case f.engine.KVOffload != nil:
		code = schema.BindingOffload
	case len(f.engine.KVConnectors) == 0:
		return nil // what is deferred waits for something else, such as a LoRA adapter's turn
	}
	if deferred := f.deferredShare(); deferred.known && deferred.x >= transferShare && f.isQueueing() {
		return binds(code, 0.9, deferred.is(">=", transferShare), f.queueEvidence())
	}
	if delay := f.lookupShare(); delay.known && delay.x >= transferShare {
		return binds(schema.BindingOffload, 0.8, delay.is(">=", transferShare))
	}
	return nil
}

// isQueueing reports whether requests waited.
func (f *figures) isQueueing() bool {
	share := f.queueShare()
	return f.waiting.known && f.waiting.x >= waitingRequests || share.known && share.x >= longQueueShare
}

// queueEvidence returns what shows that requests waited.
func (f *figures) queueEvidence() schema.DiagnosisEvidence {
	if f.waiting.known {
		return f.waiting.is(">=", float64(waitingRequests))
	}
	return f.queueShare().is(">=", longQueueShare)
}

// bindsTokenBudget looks for steps that are full.
func (f *figures) bindsTokenBudget() *schema.BindingResource {
	full, confidence := f.fullSteps()
	if full == nil || !f.isQueueing() {
		return nil
	}
	if f.atCap() != nil {
		confidence -= 0.2 // a request less would run as well
	}
	return binds(schema.BindingTokenBudget, confidence, *full, f.queueEvidence(), f.utilization().is("<", atCapShare))
}

// fullSteps returns what shows that most steps compute max_num_batched_tokens; nil if nothing
// does.
func (f *figures) fullSteps() (*schema.DiagnosisEvidence, float64) {
	if !f.stepLimit.known {
		return nil, 0
	}
	var median figure
	if t := f.engine.Tokens; t != nil && t.PerIteration != nil && t.PerIteration.Count > 0 {
		median = from("engine.tokens.per_iteration.p50_est", t.PerIteration.P50Est)
		if low, ok := lowerBound(t.PerIteration.P50Bounds); ok && low >= fullStepShare*f.stepLimit.x {
			e := figure{field: "engine.tokens.per_iteration.p50_bounds.0 / " + f.stepLimit.field, x: low / f.stepLimit.x, known: true}.is(">=", fullStepShare)
			return &e, 0.95
		}
	}
	// A bucket is wide: the mean, which is exact, may lie higher than an estimated median.
	for _, tokens := range []figure{median, f.tokensPerStep()} {
		if share := tokens.over(f.stepLimit); share.known && share.x >= fullStepShare {
			e := share.is(">=", fullStepShare)
			return &e, 0.85
		}
	}
	return nil, 0
}

func lowerBound(b *schema.Bounds) (float64, bool) {
	if b == nil || b[0] == nil {
		return 0, false
	}
	return float64(*b[0]), true
}

// atCap returns what shows that the engines run as many requests as they may; nil if nothing
// does.
func (f *figures) atCap() *schema.DiagnosisEvidence {
	for _, share := range []figure{f.utilization(), f.busiestEngine()} {
		if share.known && share.x >= atCapShare {
			e := share.is(">=", atCapShare)
			return &e
		}
	}
	if f.utilization().known {
		return nil
	}
	if q := f.engine.Requests; q != nil {
		if share := from("engine.requests.batch_utilization", q.BatchUtilization); share.known && share.x >= atCapShare {
			e := share.is(">=", atCapShare)
			return &e
		}
	}
	return nil
}

// busiestEngine is the share of its max_num_seqs that the busiest of several engines used.
func (f *figures) busiestEngine() figure {
	busiest := figure{field: "engine.instances.*.requests_running_peak"}
	for _, in := range f.engine.Instances {
		if !sameStage(in.Stage, f.engine.Stage) || !decodes(f.engine, in.Endpoint) || f.engines < 2 {
			continue
		}
		if peak := from(busiest.field, in.RequestsRunningPeak); peak.known && (!busiest.known || peak.x > busiest.x) {
			busiest = peak
		}
	}
	each := f.runningLimit
	each.field, each.x = "("+each.field+" / engines)", each.x/f.engines
	return busiest.over(each)
}

// bindsCap looks for a cap on running requests while others wait and the KV cache has room.
func (f *figures) bindsCap() *schema.BindingResource {
	atCap := f.atCap()
	if atCap == nil || !f.isQueueing() || f.kv.known && f.kv.x >= nearlyFullKV {
		return nil
	}
	evidence := []schema.DiagnosisEvidence{*atCap, f.queueEvidence(), f.kv.is("<", nearlyFullKV)}
	step := f.tokensPerStep()
	gain, decided := f.throughputRises()
	switch {
	case decided && !gain.rises:
		return binds(schema.BindingCompute, 0.85, append(evidence, gain.figure.is("<", gain.threshold))...)
	case decided:
		return binds(schema.BindingConcurrencyCap, 0.9, append(evidence, gain.figure.is(">=", gain.threshold))...)
	case step.known && step.x < weightsBoundTokens:
		return binds(schema.BindingConcurrencyCap, 0.9, append(evidence, step.is("<", float64(weightsBoundTokens)))...)
	}
	b := binds(schema.BindingCapOrCompute, 0.8, append(evidence, step.is(">=", float64(weightsBoundTokens)))...)
	b.WouldSettle = []string{
		"a run of the same load with --max-num-seqs a quarter higher, compared with this one by vobs compare: at the cap more tokens per second, at the compute limit none",
		"a run whose load rises slowly, so that the series show whether tokens per second still rise with running requests",
	}
	return b
}

// rise is how the rate of tokens depends on the number of running requests.
type rise struct {
	figure
	threshold float64
	rises     bool
}

// throughputRises compares the slots of the series in which many requests ran with those in
// which about half as many did. known is false if there are too few of either, or if the answer
// is not clear.
func (f *figures) throughputRises() (r rise, known bool) {
	const minSlots = 4
	s := f.series
	if s.missing(curveRunning, curveWaiting, curveGenerationRate, curvePromptRate) != "" {
		return r, false
	}
	var peak float64
	for _, x := range s.means(curveRunning) {
		peak = max(peak, x)
	}
	type group struct{ running, tokens, prompt []float64 }
	var many, fewer group
	for i := range s.length() {
		running, ok1 := s.mean(curveRunning, i)
		generated, ok2 := s.mean(curveGenerationRate, i)
		prompt, ok3 := s.mean(curvePromptRate, i)
		if !ok1 || !ok2 || !ok3 {
			continue
		}
		g := &many
		switch {
		case running < 0.3*peak || running > 0.6*peak && running < 0.9*peak:
			continue
		case running <= 0.6*peak:
			// With requests that wait, the engine runs as many in the next step: the poll came
			// between the end of one request and the admission of another.
			if waiting, ok := s.mean(curveWaiting, i); !ok || waiting >= waitingRequests {
				continue
			}
			g = &fewer
		}
		g.running, g.tokens, g.prompt = append(g.running, running), append(g.tokens, generated+prompt), append(g.prompt, prompt)
	}
	if len(many.running) < minSlots || len(fewer.running) < minSlots {
		return r, false
	}
	// A step that only decodes has fewer tokens: the two must be alike.
	if mixes := mean(many.prompt)/mean(many.tokens) - mean(fewer.prompt)/mean(fewer.tokens); !(math.Abs(mixes) <= 0.15) {
		return r, false
	}
	requests, tokens := mean(many.running)/mean(fewer.running), mean(many.tokens)/mean(fewer.tokens)
	// The share of the additional requests that became additional throughput.
	r.figure = figure{field: "rise of " + curveGenerationRate + " + " + curvePromptRate + " per rise of " + curveRunning, x: (tokens - 1) / (requests - 1), known: true}
	switch {
	case r.x >= 0.4:
		r.threshold, r.rises = 0.4, true
	case r.x <= 0.15:
		r.threshold = 0.15
	default:
		return r, false
	}
	return r, true
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, x := range values {
		sum += x
	}
	return sum / float64(len(values))
}

// bindsFullKVCache looks for requests that wait because the KV cache is full, without
// preemptions.
func (f *figures) bindsFullKVCache() *schema.BindingResource {
	if !f.isQueueing() || !f.kvPeak.known || f.kvPeak.x < fullKV && (!f.kv.known || f.kv.x < nearlyFullKV) {
		return nil
	}
	return binds(schema.BindingKVCache, 0.7, f.kvPeak.is(">=", fullKV), f.kv.is(">=", nearlyFullKV), f.queueEvidence())
}

// bindsFrontend looks for time to first token that neither the queue nor prefill explains.
func (f *figures) bindsFrontend() *schema.BindingResource {
	share, seconds := f.frontendTime()
	if !share.known || share.x < frontendShare || seconds.x < frontendSeconds {
		return nil
	}
	confidence, cpu := f.frontendConfidence()
	b := binds(schema.BindingFrontend, confidence, share.is(">=", frontendShare), seconds.is(">=", frontendSeconds), cpu)
	b.WouldSettle = f.frontendSettledBy()
	return b
}

// bindsClient looks for an engine that could have taken more.
func (f *figures) bindsClient() *schema.BindingResource {
	share := f.queueShare()
	if f.isQueueing() || !share.known && !f.waiting.known || f.engineLost() {
		return nil
	}
	evidence := []schema.DiagnosisEvidence{share.is("<", shortQueueShare), f.waiting.is("<", float64(waitingRequests))}
	confidence := 0.9
	if share.known && share.x >= shortQueueShare {
		evidence[0] = share.is("<", longQueueShare)
		confidence = 0.6
	}
	switch used := f.utilization(); {
	case !used.known:
		confidence = min(confidence, 0.8)
	case used.x >= roomyShare:
		confidence = min(confidence, 0.6)
	default:
		evidence = append(evidence, used.is("<", roomyShare))
	}
	if f.kvPeak.known && f.kvPeak.x >= roomyShare {
		confidence = min(confidence, 0.6)
	} else {
		evidence = append(evidence, f.kvPeak.is("<", roomyShare))
	}
	b := binds(schema.BindingClient, confidence, evidence...)
	if confidence < 0.9 {
		b.WouldSettle = []string{"a run with more load: if requests wait then, the verdict names what binds"}
	}
	return b
}

// undecided is the verdict if no other one is shown: it says what would settle it.
func (f *figures) undecided() schema.BindingResource {
	b := schema.BindingResource{Code: schema.BindingUnknown}
	if f.engineLost() {
		b.WouldSettle = []string{"the server's log: the engine stopped answering, and its last figures are not those of a working one"}
		return b
	}
	if !f.runningLimit.known {
		b.WouldSettle = append(b.WouldSettle, "max_num_seqs, which no metric reports: start the server with VLLM_SERVER_DEV_MODE=1 in its environment or with --max-num-seqs, or pass vobs diagnose --max-num-seqs")
	}
	if !f.stepLimit.known {
		b.WouldSettle = append(b.WouldSettle, "max_num_batched_tokens, which no metric reports: start the server with VLLM_SERVER_DEV_MODE=1 in its environment or with --max-num-batched-tokens, or pass vobs diagnose --max-num-batched-tokens")
	}
	if text := unknown(f.waiting, f.runningPeak, f.kvPeak, f.queueShare()); text != "" {
		b.WouldSettle = append(b.WouldSettle, "a longer run in which the gauges are polled while the engine works: "+text)
	}
	if f.isQueueing() {
		b.Evidence = holding([]schema.DiagnosisEvidence{f.queueEvidence()})
	}
	if len(b.WouldSettle) == 0 {
		b.WouldSettle = []string{"a longer run at full load, or a profile of the engine: the figures show requests that wait, and nothing that they wait for"}
	}
	return b
}
