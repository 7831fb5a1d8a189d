package demo

import "time"

// record updates one engine's series with the result of a step.
func (m *metrics) record(rank int, st *stepRecord) {
	s := m.engines[rank]
	s.running.value = float64(st.running)
	s.waiting.value = float64(st.waiting)
	s.waitingCapacity.value = float64(st.waiting)
	s.usage.value = st.usage

	s.queries.value += float64(st.queries)
	s.hits.value += float64(st.hits)
	s.deviceHits.value += float64(st.hits)
	s.preemptions.value += float64(st.preemptions)
	s.prompt.value += float64(st.prompt)
	s.computed.value += float64(st.computed)
	s.cacheHit.value += float64(st.cached)
	s.cached.value += float64(st.cached)
	s.generated.value += float64(st.generated)
	if s.drafts != nil {
		s.drafts.value += float64(st.drafts)
		s.drafted.value += float64(st.drafted)
		s.accepted.value += float64(st.accepted)
		for i, n := range st.acceptedAt {
			s.acceptedAt[i].value += float64(n)
		}
	}
	if st.outputs > 0 { // a step that only prefilled a part of a prompt reports nothing
		s.iteration.observe(float64(st.computed + st.generated))
	}
	for _, r := range st.firstTokens {
		s.ttft.observe((r.first - r.arrival) * r.scale)
	}
	for _, d := range st.interTokenLatency {
		s.itl.observe(d)
	}
	for _, r := range st.finished {
		m.finish(s, r)
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
	s.prefillComputed.observe(float64(r.prompt - r.cached))
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

	const body = 180 // bytes of a completion request besides the prompt
	took := time.Duration((r.finished - r.arrival) * scale * float64(time.Second))
	m.http("POST", "/v1/completions", body+5*r.prompt, 0, took)
}

// http counts a request as prometheus-fastapi-instrumentator does; a streamed
// response has no length.
func (m *metrics) http(method, handler string, in, out int, took time.Duration) {
	m.httpRequests.with("method", method, "status", "2xx", "handler", handler).value++
	m.httpRequestSize.with("handler", handler).observe(float64(in))
	m.httpResponseSize.with("handler", handler).observe(float64(out))
	m.httpHighr.observe(took.Seconds())
	m.httpByHandler.with("method", method, "handler", handler).observe(took.Seconds())
}
