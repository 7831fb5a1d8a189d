package demo

import "time"

// record updates one engine's series with the result of a step.
func (m *metrics) record(rank int, st *stepRecord) {
	s := m.engines[rank]
	s.running.value = float64(st.running)
	s.waiting.value = float64(st.waiting)
	s.waitingCapacity.value = float64(st.waiting - st.deferred)
	s.waitingDeferred.value = float64(st.deferred)
	s.usage.value = st.usage

	s.queries.value += float64(st.queries)
	s.hits.value += float64(st.hits)
	s.deviceHits.value += float64(st.hits)
	s.preemptions.value += float64(st.preemptions)
	s.prompt.value += float64(st.prompt)
	s.computed.value += float64(st.computed)
	s.cacheHit.value += float64(st.cached)
	s.externalTransfer.value += float64(st.external)
	s.cached.value += float64(st.cached + st.external)
	s.generated.value += float64(st.generated)
	s.extQueries.value += float64(st.extQueries)
	s.extHits.value += float64(st.extHits)
	m.recordConnector(rank, st)
	m.recordResidency(rank, st)
	if s.drafts != nil {
		s.drafts.value += float64(st.drafts)
		s.drafted.value += float64(st.drafted)
		s.accepted.value += float64(st.accepted)
		for i, c := range s.acceptedAt {
			c.value += float64(st.acceptedAt[i])
		}
	}
	if st.outputs > 0 { // a step that only prefilled a part of a prompt reports nothing
		s.iteration.observe(float64(st.computed + st.generated))
	}
	for _, r := range st.firstTokens {
		s.ttft.observe((r.firstSeen - r.arrival) * r.scale)
	}
	for _, d := range st.interTokenLatency {
		s.itl.observe(d)
	}
	for _, r := range st.finished {
		m.finish(s, r)
	}
	for _, r := range st.disconnected { // vLLM forgets them; the HTTP response had begun
		m.http("POST", "/v1/completions", "2xx", completionBody+5*r.prompt, 0, seconds((r.disconnect-r.arrival)*r.scale))
	}
}

// finish records what vLLM records once per request, at its end, and the HTTP request
// that carried it.
func (m *metrics) finish(s *engineSeries, r *request) {
	scale := r.scale
	s.success[r.finishReason()].value++
	s.requestPrompt.observe(float64(r.prompt))
	s.requestGeneration.observe(float64(r.output))
	s.requestMaxGeneration.observe(float64(r.output))
	s.paramsN.observe(1)
	s.paramsMaxTokens.observe(float64(r.maxTokens))
	s.prefillComputed.observe(float64(r.prompt - r.cached - r.external))
	s.requestPreemptions.observe(float64(r.preemptions))

	decode := (r.last - r.first) * scale
	tpot := 0.0
	if r.output > 1 {
		tpot = decode / float64(r.output-1)
	}
	s.tpot.observe(tpot)
	s.e2e.observe((r.finished - r.arrival) * scale)
	s.queue.observe((r.scheduled - r.queued) * scale)
	s.prefill.observe((r.first - r.scheduled) * scale)
	s.decode.observe(decode)
	s.inference.observe((r.last - r.scheduled) * scale)

	took := seconds((r.finished - r.arrival) * scale)
	status := "2xx"
	if r.ends == "error" {
		status = "5xx"
	}
	m.http("POST", "/v1/completions", status, completionBody+5*r.prompt, 0, took)
}

// completionBody is the size of a completion request besides the prompt, in bytes.
const completionBody = 180

// seconds returns a duration of so many seconds.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// http counts a request as prometheus-fastapi-instrumentator does; a streamed
// response has no length.
func (m *metrics) http(method, handler, status string, in, out int, took time.Duration) {
	m.httpRequests.with("method", method, "status", status, "handler", handler).value++
	m.httpRequestSize.with("handler", handler).observe(float64(in))
	m.httpResponseSize.with("handler", handler).observe(float64(out))
	m.httpHighr.observe(took.Seconds())
	m.httpByHandler.with("method", method, "handler", handler).observe(took.Seconds())
}
