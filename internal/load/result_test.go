package load

import (
	"math"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// ended returns a completed request of ten tokens.
func ended(intended, end float64) *Request {
	at := func(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }
	return &Request{
		Intended: at(intended), Sent: at(intended), First: at(intended + 0.1), Last: at(end), End: at(end),
		HasUsage: true, Prompt: 20, Generation: 10, Chunks: 10, plan: planned{prompt: 20, output: 10},
	}
}

func summed(o *Options, requests []*Request) *Result {
	c := &collector{gaps: newGapHistogram()}
	for _, r := range requests {
		c.begin()
		c.end(r)
	}
	return c.result(o, "tiny")
}

// The throughput of the steady part is that of a run that never ends.
func TestThroughput(t *testing.T) {
	var waves, open, short, warm, stopped []*Request
	for i := range 300 { // 64 at once, which all take 6.5 s
		waves = append(waves, ended(6.5*float64(i/64), 6.5*float64(i/64)+6.5))
	}
	for i := range 200 { // ten per second, which take 1 s
		open = append(open, ended(float64(i)/10, float64(i)/10+1))
		warm = append(warm, ended(float64(i)/10, float64(i)/10+1))
		warm[i].Warmup = i < 50
		stopped = append(stopped, ended(float64(i)/10, float64(i)/10+1))
		stopped[i].Cancelled, stopped[i].plan.cancelAfter = i >= 190, -1 // interrupted after 19.9 s
	}
	for i := range 5 {
		short = append(short, ended(float64(i), float64(i)+1))
	}
	for _, c := range []struct {
		name     string
		requests []*Request
		rate     float64
		over     string
	}{{"waves", waves, 64 / 6.5, "steady"}, {"open", open, 10, "steady"}, {"warm-up", warm, 10, "steady"}, {"interrupted", stopped, 10, "steady"}, {"short", short, 1, "all"}} {
		th := summed(options(t), c.requests).Client.Throughput
		got, prompt, generation := seconds(t, th.RequestsPerSecond), seconds(t, th.PromptTokensPerSecond), seconds(t, th.GenerationTokensPerSecond)
		if math.Abs(got/c.rate-1) > 1e-6 || math.Abs(prompt/got-20) > 1e-6 || math.Abs(generation/got-10) > 1e-6 || *th.Over != c.over {
			t.Errorf("%s: %v requests, %v and %v tokens per second over %s, want %v", c.name, got, prompt, generation, *th.Over, c.rate)
		}
	}
}

func TestClientLate(t *testing.T) {
	for late, want := range map[time.Duration]string{0: "", 3 * time.Millisecond: "", 6 * time.Millisecond: "client_late"} {
		var requests []*Request
		for i := range 200 {
			r := ended(float64(i), float64(i)+1)
			if i < 4 {
				r.Sent += late
			}
			requests = append(requests, r)
		}
		if got := testkit.Codes(summed(options(t), requests).Notes); got != want { // the median TTFT is 100 ms
			t.Errorf("%v late: %q, want %q", late, got, want)
		}
	}
}

// The result is a group of a valid event, and every null in it is explained.
func TestResultIsValid(t *testing.T) {
	one := ended(0, 1)
	one.Generation, one.Chunks = 1, 1
	failed := &Request{Failure: failedConnect, Message: "refused"}
	warm := &Request{Failure: failedConnect, Message: "refused", Warmup: true}
	noUsage := ended(0, 1)
	noUsage.HasUsage = false
	chat := options(t)
	chat.Endpoint = Chat
	for name, c := range map[string]struct {
		o        *Options
		requests []*Request
	}{
		"nothing": {options(t), nil}, "one token": {options(t), []*Request{one}}, "a failure": {options(t), []*Request{failed}},
		"no usage": {chat, []*Request{noUsage}}, "a failure in the warm-up": {options(t), []*Request{warm, ended(0, 1)}},
		"no usage in the warm-up": {chat, []*Request{{Warmup: true, Chunks: 2, Last: 1, End: 1}, ended(0, 1)}},
	} {
		r := summed(c.o, c.requests)
		var event schema.GenerationObservability
		event.Client, event.Validity, event.Unavailable = r.Client, r.Notes.Validity, r.Notes.Unavailable
		t.Run(name, func(t *testing.T) { testkit.AssertNullsExplained(t, &event, "client") })
	}
}
