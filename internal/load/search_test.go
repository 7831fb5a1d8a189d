package load

import (
	"context"
	"math"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/load/findmax"
	"github.com/vobs/vobs/internal/load/loadtest"
	"github.com/vobs/vobs/internal/slo"
)

// A server that takes so many requests per second and refuses the others: the search over HTTP
// finds about that rate.
func TestFindMaxOverHTTP(t *testing.T) {
	t.Parallel()
	const taken, burst = 200., 40.
	var mu sync.Mutex
	tokens, last := burst, time.Now()
	s := loadtest.New(func(a *loadtest.Answer, number int) {
		mu.Lock()
		now := time.Now()
		tokens = min(burst, tokens+taken*now.Sub(last).Seconds())
		last = now
		if tokens < 1 {
			mu.Unlock()
			http.Error(a, "too many requests", http.StatusTooManyRequests)
			return
		}
		tokens--
		mu.Unlock()
		a.All()
	})
	defer s.Close()
	server, err := NewServer(s.URL, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o := &Options{
		Endpoint: Completions, Model: "tiny", Vocab: 1000, Timeout: time.Minute, Requests: 250, Settings: map[string]any{},
		SLO: []slo.Objective{{Metric: slo.TTFT, Percentile: 90, Seconds: 30}}, // a busy machine does not miss it
	}
	o.Seed, o.Rate, o.Arrivals = 1, 50, Poisson
	o.PromptTokens, _ = ParseLengths("8")
	o.OutputTokens, _ = ParseLengths("2")
	f := findmax.Options{Targets: []findmax.Target{{Name: "ttft", Seconds: 30, Share: 0.9}}, Start: 50, Highest: 1e4, Resolution: 0.25, Requests: 250}
	result, found, err := FindMax(context.Background(), server, o, &f)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range found.Steps {
		t.Logf("%v: %d requests, met %v, proven %v, %.3f", step.Rate, step.Judged, step.Met, step.Proven, step.Shares[0].Met)
	}
	if !found.Confirmed || found.StoppedBy != findmax.Resolved || math.Abs(math.Log2(found.Rate/taken)) > 1 {
		t.Errorf("%v requests/s, confirmed %v, %s; the server takes %v", found.Rate, found.Confirmed, found.StoppedBy, taken)
	}
	if result.Client.Settings["rate"] != found.Rate {
		t.Errorf("the figures are those at %v, not at %v", result.Client.Settings["rate"], found.Rate)
	}
	seen := map[int]bool{} // the prompts of steps differ
	bodies, _ := s.Requests()
	for _, b := range bodies {
		at := 0
		for _, id := range b.Prompt[4:] {
			at = 1000*at + id
		}
		if seen[at] {
			t.Fatal("a prompt was sent twice")
		}
		seen[at] = true
	}
}
