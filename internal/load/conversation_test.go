package load

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/load/dataset"
	"github.com/vobs/vobs/internal/load/loadtest"
)

func times(t testing.TB, text string) Times {
	t.Helper()
	d, err := ParseTimes(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// talk returns options of conversations.
func talk(t testing.TB) *Options {
	o := options(t)
	o.Requests, o.Concurrency = 60, 3
	o.Turns, o.TurnTokens = lengths(t, "5"), lengths(t, "4..6")
	return o
}

func TestParseTimes(t *testing.T) {
	for _, text := range []string{"0s", "0", "2s", "1s..5s", "2s..2s", "lognormal:2s,0.8"} {
		if d, err := ParseTimes(text); err != nil || d.String() != text {
			t.Errorf("%s: %v, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "2", "-1s", "5s..1s", "1s..", "lognormal:2s", "lognormal:0s,1", "lognormal:2s,0", "lognormal:2s,NaN", "25h", "lognormal:2,1"} {
		if d, err := ParseTimes(text); err == nil || !strings.Contains(err.Error(), "lognormal:2s,0.8") {
			t.Errorf("%s: %v, %v", text, d, err)
		}
	}
	p := Plan{Seed: 1, ThinkTime: times(t, "lognormal:2s,0.8")}
	var all []time.Duration
	for i := range 10_001 {
		all = append(all, p.think(i, 2))
	}
	slices.Sort(all)
	if all[5000] < 1900*time.Millisecond || all[5000] > 2100*time.Millisecond || all[0] <= 0 {
		t.Errorf("median %v, least %v", all[5000], all[0])
	}
	p.ThinkTime = times(t, "1s..3s")
	for i := range 1000 {
		if x := p.think(i, 2); x < time.Second || x > 3*time.Second {
			t.Fatal(x)
		}
	}
}

// Every turn begins with exactly what was sent and answered before, and adds the user's tokens.
func TestTurns(t *testing.T) {
	for _, ids := range []bool{true, false} { // the server's own, and those of its text
		s := simulated(t, nil)
		s.NoTokenIDs = !ids
		o := talk(t)
		o.Concurrency = 1
		var turns []int
		o.Done = func(r *Request) { turns = append(turns, r.Turn) }
		c := mustRun(t, s.URL, o).Client
		if *c.Requests.Completed != 60 || *c.Tokens.Prompt != s.Totals().PromptTokens {
			t.Errorf("%+v", c.Requests)
		}
		var answered []int
		for i := range 8 {
			if ids {
				answered = append(answered, loadtest.FirstID+1+i)
			} else {
				answered = append(answered, 2) // é and a digit
			}
		}
		if !ids {
			answered = append([]int{0}, answered...) // the text begins with a blank
		}
		var before []int
		for i, b := range bodies(s) {
			if turns[i] != i%5+1 || !b.ReturnTokenIDs {
				t.Fatalf("request %d is turn %d", i, turns[i])
			}
			if i%5 == 0 {
				if len(b.Prompt) != 20 {
					t.Errorf("a conversation begins with %d tokens", len(b.Prompt))
				}
			} else if n := len(before); !slices.Equal(b.Prompt[:min(n, len(b.Prompt))], before) || len(b.Prompt)-n < 4 || len(b.Prompt)-n > 6 {
				t.Fatalf("turn %d: %v\ndoes not continue %v", i%5+1, b.Prompt, before)
			}
			before = append(slices.Clone(b.Prompt), answered...)
		}
	}
}

// On chat, the answers are messages of the assistant.
func TestChatTurns(t *testing.T) {
	s := simulated(t, func(a *loadtest.Answer, number int) {
		if number > 0 {
			a.All()
			return
		}
		a.Start()
		a.Send(`data: {"choices":[{"delta":{"role":"assistant","content":""}}]}` + "\n\n")
		a.Send(`data: {"choices":[{"delta":{"reasoning_content":"hidden"}}]}` + "\n\n")
		a.Send(`data: {"choices":[{"delta":{"content":"\"a\\\u00e9"}}]}` + "\n\n" + `data: {"choices":[{"delta":{"content":"b\n"},"finish_reason":"stop"}]}` + "\n\n")
		a.End()
	})
	o := talk(t)
	o.Endpoint, o.Concurrency, o.Requests = Chat, 1, 3
	mustRun(t, s.URL, o)
	b := bodies(s)
	var roles []string
	for _, m := range b[2].Messages {
		roles = append(roles, m.Role)
	}
	if d := cmp.Diff([]string{"user", "assistant", "user", "assistant", "user"}, roles); d != "" {
		t.Fatal(d)
	}
	if b[2].Messages[1].Content != "\"a\\éb\n" || b[2].Messages[3].Content != " é1 é2 é3 é4 é5 é6 é7 é8" {
		t.Errorf("%q", b[2].Messages)
	}
	if d := cmp.Diff(b[1].Messages, b[2].Messages[:3]); d != "" || len(strings.Fields(b[2].Messages[4].Content)) < 4 {
		t.Error(d)
	}
}

// A conversation of a dataset is replayed with the model's real answers.
func TestRecordedTurns(t *testing.T) {
	for turns, want := range map[string][]string{
		"1": {"What is a KV cache?", "Be brief.|2 + 2?"},
		"2": {"What is a KV cache?", "What is a KV cache?| é1 é2|And a \"prefix cache\" [of {blocks}]?", "Be brief.|2 + 2?"},
		"9": {"What is a KV cache?", "What is a KV cache?| é1 é2|And a \"prefix cache\" [of {blocks}]?",
			"What is a KV cache?| é1 é2|And a \"prefix cache\" [of {blocks}]?| é1 é2|Thanks.", "Be brief.|2 + 2?"},
	} {
		s := simulated(t, nil)
		o := replayed(t, "dataset/testdata/sharegpt.json", dataset.Options{Turns: true})
		o.Endpoint, o.Turns = Chat, lengths(t, turns)
		mustRun(t, s.URL, o)
		var got []string
		for _, b := range bodies(s) {
			var texts []string
			for _, m := range b.Messages {
				texts = append(texts, m.Content)
			}
			got = append(got, strings.Join(texts, "|"))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s turns: %s", turns, d)
		}
	}
}

// The latency of a turn counts from the end of the answer before it, and the time to think.
func TestThinkTime(t *testing.T) {
	s := simulated(t, nil)
	o := talk(t)
	o.Requests, o.Concurrency, o.ThinkTime = 12, 2, times(t, "30ms..60ms")
	last := map[int]*Request{}
	o.Done = func(r *Request) {
		switch before := last[r.Conversation]; {
		case before == nil && r.Turn != 1, before != nil && r.Turn != before.Turn+1:
			t.Errorf("turn %d of conversation %d", r.Turn, r.Conversation)
		case before != nil && r.Intended != before.End+o.think(r.Conversation, r.Turn):
			t.Errorf("intended %v after the end %v", r.Intended, before.End)
		case r.Sent < r.Intended:
			t.Error("sent before its time")
		}
		last[r.Conversation] = r
	}
	mustRun(t, s.URL, o)
}

// In an open loop, the rate is that of new conversations. Requests are those of turns.
func TestOpenConversations(t *testing.T) {
	s := simulated(t, nil)
	o := talk(t)
	o.Concurrency, o.Rate, o.Requests, o.Warmup, o.Turns = 0, 200, 40, 5, lengths(t, "1..4")
	var begun []time.Duration
	warm, numbers := 0, map[int]bool{}
	o.Done = func(r *Request) {
		if r.Turn <= 1 {
			begun = append(begun, r.Intended)
		}
		if r.Warmup {
			warm++
		}
		numbers[r.Number] = true
	}
	c := mustRun(t, s.URL, o).Client
	if *c.Requests.Started != 40 || warm != 5 || len(bodies(s)) != 45 || len(numbers) != 45 {
		t.Errorf("%+v, %d in the warm-up, %d requests, %d numbers", c.Requests, warm, len(bodies(s)), len(numbers))
	}
	slices.Sort(begun)
	p, next := o.Plan, o.arrivals()
	for i, at := range begun {
		if want := time.Duration(next() * float64(time.Second)); at != want {
			t.Errorf("conversation %d begins at %v, want %v", i, at, want)
		}
	}
	want := 0
	for i := range 100 {
		want += p.turns(i)
	}
	if want < 210 || want > 290 {
		t.Errorf("100 conversations of 1 to 4 turns have %d", want)
	}
}

// A turn that fails, or is cancelled, ends its conversation.
func TestFailedTurns(t *testing.T) {
	s := simulated(t, func(a *loadtest.Answer, number int) {
		if number%7 == 3 {
			http.Error(a, "no", http.StatusServiceUnavailable)
			return
		}
		a.All()
	})
	o := talk(t)
	o.Cancel = 0.2
	ended := map[int]bool{}
	o.Done = func(r *Request) {
		if ended[r.Conversation] {
			t.Errorf("conversation %d goes on with turn %d", r.Conversation, r.Turn)
		}
		ended[r.Conversation] = !r.completed()
	}
	c := mustRun(t, s.URL, o).Client
	if failed := c.Requests.Failed["http_503"]; *c.Requests.Started != 60 || failed == 0 || *c.Requests.Cancelled == 0 || *c.Requests.Completed != 60-failed-*c.Requests.Cancelled {
		t.Errorf("%+v", c.Requests)
	}
}

// The seed decides all turns, in whatever order they are sent.
func TestTurnSeed(t *testing.T) {
	sent := func(seed uint64, concurrency int) (out []string) {
		s := simulated(t, nil)
		o := talk(t)
		o.Seed, o.Concurrency, o.PromptTokens, o.OutputTokens = seed, concurrency, lengths(t, "20..30"), lengths(t, "1..9")
		mustRun(t, s.URL, o)
		for _, b := range bodies(s) {
			out = append(out, fmt.Sprint(b.Prompt, b.MaxTokens))
		}
		slices.Sort(out)
		return out
	}
	one, again, two := sent(1, 1), sent(1, 1), sent(2, 1)
	if d := cmp.Diff(one, again); d != "" {
		t.Error(d)
	}
	if slices.Equal(one, two) || len(slices.Compact(slices.Clone(one))) != 60 {
		t.Error("another seed makes the same turns, or a prompt was sent twice")
	}
	// 4 at once: 12 conversations of 5 turns are complete, unless a 13th has begun.
	common := 0
	for _, text := range sent(1, 4) {
		if slices.Contains(one, text) {
			common++
		}
	}
	if common < 40 {
		t.Errorf("%d turns of 60 are the same", common)
	}
}

// A server that returns no ids and has no tokenizer ends the run, with a reason. Ctrl-C while
// users think ends it, too, and so does its time.
func TestTurnsEnd(t *testing.T) {
	s := simulated(t, nil)
	s.NoTokenizer, s.NoTokenIDs = true, true
	server, err := NewServer(s.URL, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o := talk(t)
	o.Vocab = 32_000
	r, err := Run(t.Context(), server, o)
	if err == nil || err.Error() != "the server does not return the token ids of its answers, and they cannot be tokenized: the server has no /tokenize (status 404: 404 page not found)" || r == nil {
		t.Errorf("%+v, %v", r, err)
	}

	o = talk(t)
	o.ThinkTime = times(t, "1h")
	ctx, interrupt := context.WithCancel(t.Context())
	o.Done = func(*Request) { interrupt() }
	s.NoTokenizer = false
	if r, err = Run(ctx, server, o); err != nil || !r.Interrupted {
		t.Errorf("%+v, %v", r, err)
	}
	o.Done, o.Requests, o.Duration = nil, 0, 200*time.Millisecond
	if r, err = Run(t.Context(), server, o); err != nil || *r.Client.Requests.Completed != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}
