package loadtest

import (
	"fmt"
	"io"
	"time"
)

// metrics are what the server's page of metrics has, under vLLM's names. As in vLLM, a latency
// begins when the server has the request, and a request that the client gives up is in no count
// of finished ones.
type metrics struct {
	running                                 int
	ttft, interToken, perToken, e2e         histogram
	finished, promptTokens, generatedTokens int64
}

// histogram has a bucket up to 1 s beside that of all.
type histogram struct {
	count, short int64
	sum          float64
}

func (h *histogram) observe(d time.Duration) {
	h.count++
	if d <= time.Second {
		h.short++
	}
	h.sum += d.Seconds()
}

// timing is the progress of an answer.
type timing struct{ arrived, first, last time.Time }

// token takes up a token that is about to be sent.
func (m *metrics) token(t *timing, now time.Time) {
	if m.generatedTokens++; t.first.IsZero() {
		t.first = now
		m.ttft.observe(now.Sub(t.arrived))
	} else {
		m.interToken.observe(now.Sub(t.last))
	}
	t.last = now
}

// finish takes up an answer of some tokens that is complete.
func (m *metrics) finish(t *timing, prompt int64, tokens int) {
	m.finished++
	m.promptTokens += prompt
	m.e2e.observe(t.last.Sub(t.arrived))
	perToken := time.Duration(0) // as vLLM counts requests of one token
	if tokens > 1 {
		perToken = t.last.Sub(t.first) / time.Duration(tokens-1)
	}
	m.perToken.observe(perToken)
}

func (m *metrics) write(w io.Writer) {
	const labels = `engine="0",model_name="tiny"`
	sample := func(kind, name, more string, value any) {
		if kind != "" {
			fmt.Fprintf(w, "# TYPE vllm:%s %s\n", name, kind)
		}
		fmt.Fprintf(w, "vllm:%s{%s%s} %v\n", name, labels, more, value)
	}
	sample("gauge", "num_requests_running", "", m.running)
	sample("gauge", "num_requests_waiting", "", 0)
	sample("gauge", "kv_cache_usage_perc", "", 0)
	sample("counter", "prompt_tokens_total", "", m.promptTokens)
	sample("counter", "generation_tokens_total", "", m.generatedTokens)
	sample("counter", "request_success_total", `,finished_reason="length"`, m.finished)
	for _, h := range []struct {
		name string
		*histogram
	}{
		{"time_to_first_token_seconds", &m.ttft}, {"inter_token_latency_seconds", &m.interToken},
		{"request_time_per_output_token_seconds", &m.perToken}, {"e2e_request_latency_seconds", &m.e2e},
	} {
		fmt.Fprintf(w, "# TYPE vllm:%s histogram\n", h.name)
		sample("", h.name+"_bucket", `,le="1.0"`, h.short)
		sample("", h.name+"_bucket", `,le="+Inf"`, h.count)
		sample("", h.name+"_count", "", h.count)
		sample("", h.name+"_sum", "", h.sum)
	}
}
