package diagnose

import (
	"fmt"
	"math"
	"slices"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

const (
	// errorShare is the share of requests that end in an error from which that is critical.
	errorShare = 0.01
	// abortedShare is the share of aborted requests that is worth knowing, and manyAbortedShare
	// the one that wastes work.
	abortedShare, manyAbortedShare = 0.01, 0.1
	// busyFrontend is the share of a core from which the API server's process, which runs most
	// of its Python on one, is busy.
	busyFrontend = 0.85
	// idleFrontend is the share of a core below which the process's own work is not the limit.
	idleFrontend = busyFrontend / 2
)

// engineErrors looks for requests that ended in an error of the engine or of its server.
func engineErrors(f *figures) result {
	if f.isNoted(schema.CodeEngineDied) {
		return found(schema.FindingCritical, 1, "an engine core died while its server was running", noted(schema.CodeEngineDied)).
			because("the server's log has the reason: lack of GPU memory or host memory, a CUDA error, a bug")
	}
	if f.engineLost() {
		return found(schema.FindingCritical, 0.8, "the engine, which ran before, no longer answered at the end", noted(schema.CodeFinalReadingLost)).
			because("the engine or its server crashed: the server's log has the reason", "it was stopped, or the network was lost")
	}
	var finished, responses map[string]int64
	if f.engine.Requests != nil {
		finished = f.engine.Requests.Finished
	}
	responses = f.engine.HTTP
	if finished == nil && responses == nil {
		return missing("%s", unknown(figure{field: "engine.requests.finished"}, figure{field: "engine.http"}))
	}
	failed := figure{field: "engine.requests.finished.error", x: float64(finished["error"]), known: finished != nil}
	serverErrors := figure{field: "engine.http.5xx", x: float64(responses["5xx"]), known: responses != nil}
	worst, total := failed, sumOf("engine.requests.finished", finished)
	if serverErrors.x > failed.x {
		worst, total = serverErrors, sumOf("engine.http", responses)
	}
	if worst.x == 0 {
		return healthy
	}
	severity, share := schema.FindingWarning, worst.over(total)
	if share.known && share.x > errorShare {
		severity = schema.FindingCritical
	}
	return found(severity, 0.95, fmt.Sprintf("%.0f requests ended in an error of the server", worst.x), worst.is(">", 0.0), share.is(">", errorShare)).
		because("the server's log has the reason")
}

// engineLost reports whether an engine that was there before the run was gone at its end. One that
// the command started may end with it.
func (f *figures) engineLost() bool {
	w := f.engine.Window
	return w != nil && w.Base == "scraped" && f.isNoted(schema.CodeFinalReadingLost)
}

// isNoted reports whether the event has a validity note with a code.
func (f *figures) isNoted(code schema.Code) bool {
	return slices.ContainsFunc(f.event.Validity, func(v schema.Validity) bool { return v.Code == code })
}

// noted returns such a note as evidence.
func noted(code schema.Code) schema.DiagnosisEvidence {
	return schema.DiagnosisEvidence{Field: "validity", Value: string(code), Operator: "==", Threshold: string(code)}
}

// engineRestarts looks for engines whose counters started anew.
func engineRestarts(f *figures) result {
	w := f.engine.Window
	if w == nil {
		return missing("%s", unknown(figure{field: "engine.window.resets"}))
	}
	resets := from("engine.window.resets", &w.Resets)
	if resets.x == 0 {
		return healthy
	}
	return found(schema.FindingCritical, 0.95, fmt.Sprintf("the engine restarted during the run (%s): requests in flight were lost", render.Count(int(resets.x), "time")), resets.is(">", 0.0)).
		because("the engine crashed, or was killed for lack of memory", "it was redeployed")
}

// abortedRequests looks for requests whose clients went away.
func abortedRequests(f *figures) result {
	q := f.engine.Requests
	if q == nil || q.Finished == nil {
		return missing("%s", unknown(figure{field: "engine.requests.finished"}))
	}
	aborted, total := figure{field: "engine.requests.finished.abort", x: float64(q.Finished["abort"]), known: true}, f.finished
	if lost := from("engine.requests.unaccounted_min", q.UnaccountedMin); lost.known && lost.x > 0 {
		aborted = figure{field: "(" + aborted.field + " + " + lost.field + ")", x: aborted.x + lost.x, known: true}
		total = figure{field: "(" + total.field + " + " + lost.field + ")", x: total.x + lost.x, known: true}
	}
	share := aborted.over(total)
	switch {
	case !share.known:
		return missing("no request finished")
	case share.x < abortedShare:
		return healthy
	}
	severity := schema.FindingInfo
	if share.x >= manyAbortedShare {
		severity = schema.FindingWarning
	}
	return found(severity, 0.9, fmt.Sprintf("%.0f requests were aborted: what was computed for them is lost", aborted.x), share.is(">=", abortedShare)).
		because("clients time out or disconnect before the answer is complete", "users stop the output")
}

// clientLimited notes an engine that could have taken more.
func clientLimited(f *figures) result {
	if f.binding != schema.BindingClient {
		if !f.waiting.known && !f.queueShare().known {
			return missing("%s", unknown(f.waiting, f.queueShare()))
		}
		return healthy
	}
	b := f.bindsClient()
	return found(schema.FindingInfo, float64(b.Confidence), "the load did not ask for more than the engine served: its throughput is not the engine's limit", b.Evidence...).
		because("low traffic", "the load generator's concurrency or rate is too low, or it is itself the bottleneck")
}

// frontendTime returns the part of the time to first token that is neither queue nor prefill:
// as a share of all requests' sums, and its mean in seconds. vLLM counts the time to first token
// when it comes, and the others when the request ends: with requests in flight at an end of the
// window they are about different requests, and nothing is known if these are many.
func (f *figures) frontendTime() (share, seconds figure) {
	const inFlight = 0.05 // of the requests
	ttft, queue, prefill := f.latencySum("time_to_first_token"), f.latencySum("request_queue_time"), f.latencySum("request_prefill_time")
	rest := figure{field: fmt.Sprintf("(%s - %s - %s)", ttft.field, queue.field, prefill.field), x: max(0, ttft.x-queue.x-prefill.x), known: ttft.known && queue.known && prefill.known}
	share = rest.over(ttft)
	first, ended := f.latencyCount("time_to_first_token"), f.latencyCount("request_queue_time")
	if rest.known && math.Abs(first.x-ended.x) > inFlight*min(first.x, ended.x) {
		share.known, rest.known = false, false
	}
	return share, rest.over(first)
}

// latencyCount returns the number of observations of a latency.
func (f *figures) latencyCount(key string) figure {
	a := figure{field: "engine.latency_seconds." + key + ".count"}
	if d := f.latency(key); d != nil {
		return from(a.field, &d.Count)
	}
	return a
}

// frontendBound looks for time to first token that is spent in the API server.
func frontendBound(f *figures) result {
	share, seconds := f.frontendTime()
	if !share.known {
		if text := unknown(f.latencySum("time_to_first_token"), f.latencySum("request_queue_time"), f.latencySum("request_prefill_time")); text != "" {
			return missing("%s", text)
		}
		return missing("many requests were in flight at an end of the window: their times to first token and in the queue are about different requests")
	}
	if share.x < frontendShare || seconds.x < frontendSeconds {
		return healthy
	}
	confidence, cpu := f.frontendConfidence()
	r := found(schema.FindingWarning, confidence, fmt.Sprintf("%.0f %% of the time to first token is neither queue nor prefill: %.0f ms on average", 100*share.x, 1000*seconds.x),
		share.is(">=", frontendShare), seconds.is(">=", frontendSeconds), cpu)
	r = r.settledBy(f.frontendSettledBy()...)
	if f.isFrontendIdle() {
		return r.because("the API server's process waits for a CPU: see the finding cpu_bound_host", "slow clients that do not read their streams")
	}
	return r.because("the API server's process is busy: long prompts to tokenize, many streams to write, multimodal inputs", "slow clients that do not read their streams").
		fix("--api-server-count", 2, "each API server is a process of its own, with its own Python", "time to first token falls if the API server's CPU was the limit")
}

// isFrontendIdle reports whether the API server's process is known to use so little of a core
// that its own work is not the limit.
func (f *figures) isFrontendIdle() bool {
	cpu := f.frontendCPU()
	return cpu.known && cpu.x < idleFrontend
}

// frontendConfidence returns how sure it is that the front-end binds, by the CPU time of the API
// server's process, and that CPU time as evidence.
func (f *figures) frontendConfidence() (float64, schema.DiagnosisEvidence) {
	cpu := f.frontendCPU()
	switch {
	case cpu.known && cpu.x >= busyFrontend:
		return 0.9, cpu.is(">=", busyFrontend)
	case f.isFrontendIdle():
		return 0.4, cpu.is("<", idleFrontend)
	}
	return 0.6, cpu.is("<", busyFrontend)
}

// frontendSettledBy returns what would settle whether the front-end binds; nil if its CPU time
// does.
func (f *figures) frontendSettledBy() []string {
	switch cpu := f.frontendCPU(); {
	case !cpu.known:
		return []string{"the CPU time of the API server's process (" + cpu.field + "): near one core of a Python process it is the limit"}
	case f.isFrontendIdle():
		return []string{"a run on a host whose CPUs are free: the API server's process is not busy itself, so it may only wait for a CPU"}
	}
	return nil
}

// replicaImbalance looks for engines that get much more of the load than others.
func replicaImbalance(f *figures) result {
	const (
		ratio     = 1.5 // of the busiest engine to the mean
		perEngine = 100 // requests
	)
	var tokens []float64
	requests, known := 0.0, true
	for _, in := range f.engine.Instances {
		if !sameStage(in.Stage, f.engine.Stage) || !decodes(f.engine, in.Endpoint) {
			continue
		}
		if in.RequestsFinished == nil || in.PromptTokens == nil || in.GenerationTokens == nil {
			known = false
			continue
		}
		requests += float64(*in.RequestsFinished)
		tokens = append(tokens, float64(*in.PromptTokens+*in.GenerationTokens))
	}
	switch {
	case !known:
		return missing("the counters of an engine are unknown: see engine.instances")
	case len(tokens) < 2:
		return healthy
	case requests < perEngine*float64(len(tokens)):
		return missing("fewer than %d requests per engine finished", perEngine)
	}
	busiest := figure{field: "engine.instances: most tokens of an engine / mean", x: slices.Max(tokens) / mean(tokens), known: mean(tokens) > 0}
	if !busiest.known || busiest.x < ratio {
		return healthy
	}
	return found(schema.FindingWarning, 0.9, fmt.Sprintf("one of %d engines has %.2g times as many tokens as the mean", len(tokens), busiest.x), busiest.is(">=", ratio)).
		because("the router sends requests by session or prefix, and few have most of the load", "the router counts requests, not tokens").
		fix("", nil, "a router that knows each engine's running and waiting requests", "the busiest engine's latency falls, and all together serve more")
}

// longRunningRequests is the production document's check for requests that run for over 300 s.
func longRunningRequests(*figures) result {
	return missing("requests that run for over 300 s cannot be seen from outside the engine: its histograms have only those that finished")
}

// frontendCPU is the share of one core that the busiest API server's process used while the
// engines worked.
func (f *figures) frontendCPU() figure {
	busiest := figure{field: "engine.endpoints.*.cpu_seconds"}
	for _, e := range f.engine.Endpoints {
		if cpu := from(busiest.field, e.CPUSeconds); cpu.known && (!busiest.known || cpu.x > busiest.x) {
			busiest = cpu
		}
	}
	return busiest.over(f.activeSeconds())
}
