package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/vobs/vobs/internal/load/loadtest"
	"github.com/vobs/vobs/internal/load/sse"
	"github.com/vobs/vobs/internal/slo"
	"github.com/vobs/vobs/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func lengths(t testing.TB, text string) Lengths {
	t.Helper()
	l, err := ParseLengths(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// options returns a closed loop of short requests.
func options(t testing.TB) *Options {
	return &Options{
		Plan:     Plan{Seed: 1, PromptTokens: lengths(t, "20"), OutputTokens: lengths(t, "8"), Arrivals: Poisson},
		Endpoint: Completions, IgnoreEOS: true, Concurrency: 4, Requests: 40, Timeout: 20 * time.Second, Settings: map[string]any{},
	}
}

func mustRun(t testing.TB, url string, o *Options) *Result {
	t.Helper()
	s, err := NewServer(url, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// simulated returns a server that answers at once, unless stream says otherwise.
func simulated(t testing.TB, stream func(a *loadtest.Answer, number int)) *loadtest.Server {
	s := loadtest.New(stream)
	t.Cleanup(s.Close)
	return s
}

func bodies(s *loadtest.Server) []loadtest.Body {
	b, _ := s.Requests()
	return b
}

func seconds(t testing.TB, f *schema.Float) float64 {
	t.Helper()
	x, ok := f.Value()
	if !ok {
		t.Fatal("a figure is null")
	}
	return x
}

// What the client counts is what the server counts.
func TestCounts(t *testing.T) {
	for _, endpoint := range []Endpoint{Completions, Chat} {
		t.Run(string(endpoint), func(t *testing.T) {
			s := simulated(t, nil)
			o := options(t)
			o.Endpoint, o.PromptTokens, o.OutputTokens = endpoint, lengths(t, "10..60"), lengths(t, "lognormal:6,0.5")
			c := mustRun(t, s.URL, o).Client
			if *c.Requests.Started != 40 || *c.Requests.Completed != 40 || len(c.Requests.Failed) != 0 || *c.Requests.Cancelled != 0 {
				t.Errorf("requests: %+v", c.Requests)
			}
			want := s.Totals()
			if got := (loadtest.Totals{Requests: *c.Requests.Completed, PromptTokens: *c.Tokens.Prompt, GenerationTokens: *c.Tokens.Generation}); got != want || *c.Tokens.From != "usage" {
				t.Errorf("%+v, by %s; at the server %+v", got, *c.Tokens.From, want)
			}
			if n := *c.LatencySeconds.InterTokenLatency.Count; n != want.GenerationTokens-40 {
				t.Errorf("%d times between chunks of %d tokens", n, want.GenerationTokens)
			}
			if n := *c.LatencySeconds.TimeToFirstToken.Count; n != 40 {
				t.Errorf("%d first tokens", n)
			}
			if c.Settings["model"] != "tiny" {
				t.Errorf("settings: %v", c.Settings)
			}
			for _, b := range bodies(s) {
				if !b.Stream || !b.StreamOptions.IncludeUsage || !b.IgnoreEOS || b.MinTokens != b.MaxTokens || b.Model != "tiny" {
					t.Fatalf("request %+v", b)
				}
			}
		})
	}
}

// The same seed makes the same requests, in whatever order they are sent; another one does not.
func TestSeed(t *testing.T) {
	sent := func(seed uint64, concurrency int) []string {
		s := simulated(t, nil)
		o := options(t)
		o.Seed, o.Concurrency, o.PromptTokens, o.OutputTokens, o.SharedPrefix = seed, concurrency, lengths(t, "30..50"), lengths(t, "1..9"), 0.5
		mustRun(t, s.URL, o)
		var out []string
		for _, b := range bodies(s) {
			out = append(out, fmt.Sprint(b.Prompt, b.MaxTokens))
		}
		slices.Sort(out)
		return out
	}
	one, again, two := sent(1, 1), sent(1, 8), sent(2, 1)
	if d := cmp.Diff(one, again); d != "" {
		t.Error(d)
	}
	if slices.Equal(one, two) {
		t.Error("another seed makes the same requests")
	}
	if len(slices.Compact(slices.Clone(one))) != 40 {
		t.Error("a prompt was sent twice")
	}
}

// Every prompt begins with the shared part, and no two go on alike.
func TestSharedPrefix(t *testing.T) {
	s := simulated(t, nil)
	o := options(t)
	o.SharedPrefix = 0.75
	mustRun(t, s.URL, o)
	rest := map[string]bool{}
	for _, b := range bodies(s) {
		if !slices.Equal(b.Prompt[:15], bodies(s)[0].Prompt[:15]) || len(b.Prompt) != 20 {
			t.Fatalf("prompt %v", b.Prompt)
		}
		rest[fmt.Sprint(b.Prompt[15:])] = true
	}
	if len(rest) != 40 {
		t.Errorf("%d different ends", len(rest))
	}
}

// Each way to fail has its kind, and what failed is in no latency.
func TestFailures(t *testing.T) {
	s := simulated(t, func(a *loadtest.Answer, number int) {
		switch number % 10 {
		case 0:
			http.Error(a, `{"error":{"message":"too  many\nrequests","code":429}}`, http.StatusTooManyRequests)
		case 1: // cut within a chunk
			a.Start()
			a.Token()
			a.Send(`data: {"choi`)
			a.Abort()
		case 2: // an orderly end, but not of the stream
			a.Start()
			a.Token()
		case 3:
			a.Start()
			a.Token()
			a.Send(`data: {"error":{"message":"engine is dead","type":"Internal"}}` + "\n\n")
		case 4: // vLLM before 0.10
			a.Start()
			a.Send(`data: {"object":"error","message":"engine is dead","code":500}` + "\n\ndata: [DONE]\n\n")
		case 5:
			a.Start()
			a.Send("event: error\ndata: overloaded\n\n")
		case 6:
			a.Start()
			a.Send("data: hello\n\n")
		case 7:
			io.WriteString(a, `{"choices":[{"text":"x"}]}`)
		case 8:
			a.Start()
			a.Send("data: [DONE]\n\n")
		default:
			a.All()
		}
	})
	r := mustRun(t, s.URL, options(t))
	c := r.Client
	want := map[string]int64{"http_429": 4, "cut": 8, "stream": 12, "format": 8, "empty": 4}
	if d := cmp.Diff(want, c.Requests.Failed); d != "" {
		t.Error(d)
	}
	if *c.Requests.Started != 40 || *c.Requests.Completed != 4 || *c.Tokens.Generation != 32 || *c.LatencySeconds.E2ERequestLatency.Count != 4 {
		t.Errorf("%+v %+v", c.Requests, c.Tokens)
	}
	if r.Failures["http_429"] != "too many requests" {
		t.Errorf("messages: %v", r.Failures)
	}
	cut := []string{"the connection broke within the answer", "the stream ended without [DONE]"}
	if !slices.Contains(cut, r.Failures["cut"]) {
		t.Errorf("messages: %v", r.Failures)
	}
}

func TestTimeoutAndConnect(t *testing.T) {
	s := simulated(t, func(a *loadtest.Answer, number int) {
		a.Start()
		a.Token()
		<-a.Request.Context().Done()
	})
	o := options(t)
	o.Requests, o.Timeout = 4, 50*time.Millisecond
	if r := mustRun(t, s.URL, o); r.Client.Requests.Failed["timeout"] != 4 || r.Failures["timeout"] != "no complete answer within 50ms" {
		t.Errorf("%v: %v", r.Client.Requests.Failed, r.Failures)
	}
	o = options(t)
	o.Model, o.Vocab, o.Requests, o.Concurrency = "tiny", 1000, 3, 1
	if failed := mustRun(t, "http://127.0.0.1:1", o).Client.Requests.Failed; failed["connect"] != 3 {
		t.Errorf("%v", failed)
	}
}

// A closed loop does not flood a server that refuses its requests.
func TestRefused(t *testing.T) {
	s := simulated(t, func(a *loadtest.Answer, _ int) { http.Error(a, "busy", http.StatusServiceUnavailable) })
	o := options(t)
	o.Requests, o.Concurrency = 3, 1
	var ended, intended []time.Duration
	o.Done = func(r *Request) { ended, intended = append(ended, r.End), append(intended, r.Intended) }
	mustRun(t, s.URL, o)
	for i := 1; i < len(ended); i++ {
		if intended[i] != ended[i-1]+retryPause {
			t.Errorf("request %d was due at %v, the one before ended at %v", i, intended[i], ended[i-1])
		}
	}
}

// Chunks may be cut anywhere, inside a character too, come with comments between them, or
// several at once.
func TestPieces(t *testing.T) {
	s := simulated(t, func(a *loadtest.Answer, number int) {
		a.Start()
		text := ": ping\r\n\r\ndata: {\"choices\":[{\"text\":\" é漢😀\",\"finish_reason\":null}]}\r\n\r\n" +
			"data: {\"choices\":\ndata: [{\"text\":\"\",\"finish_reason\":null}]}\n\n" + // a token that ends within a character
			"data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
		for i := range len(text) {
			if number == 0 {
				a.Send(text[i : i+1])
			}
		}
		if number > 0 {
			a.Send(text)
		}
	})
	o := options(t)
	o.Requests = 2
	c := mustRun(t, s.URL, o).Client
	if *c.Requests.Completed != 2 || *c.Tokens.From != "chunks" || *c.Tokens.Generation != 4 || *c.Tokens.Prompt != 40 {
		t.Errorf("%+v, %d tokens from %s", c.Requests, *c.Tokens.Generation, *c.Tokens.From)
	}
}

// A last chunk without a text has a token if the server counted one more than there are chunks
// with a text: vLLM's does, if generation stops at a stop token.
func TestStopToken(t *testing.T) {
	const last = 30 * time.Millisecond
	s := simulated(t, func(a *loadtest.Answer, number int) {
		a.Start()
		texts := number % 3 // 0: the stop token is the only one
		for range texts {
			a.Token()
		}
		a.Pause(last)
		a.Send("data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n")
		generated := texts + 1
		if number >= 3 { // a server that sends a chunk of its own at the end
			generated = max(1, texts)
		}
		a.Send(fmt.Sprintf("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n", generated))
	})
	o := options(t)
	o.Requests, o.Concurrency = 6, 1
	c := mustRun(t, s.URL, o).Client
	if *c.Requests.Completed != 6 || *c.Tokens.Generation != 1+2+3+1+1+2 || *c.LatencySeconds.TimeToFirstToken.Count != 6 {
		t.Errorf("%+v, %d tokens, %d first tokens", c.Requests, *c.Tokens.Generation, *c.LatencySeconds.TimeToFirstToken.Count)
	}
	// The gaps: 1 and 2 of requests 1 and 2, whose last one is that before the stop token; 1 of request 5.
	if l := c.LatencySeconds.InterTokenLatency; *l.Count != 4 || float64(*l.Max) < last.Seconds() {
		t.Errorf("inter-token latency: %d, at most %v", *l.Count, *l.Max)
	}
}

// A request ends with [DONE], though its body may go on.
func TestOpenBody(t *testing.T) {
	s := simulated(t, func(a *loadtest.Answer, number int) {
		a.All()
		if number < 4 {
			<-a.Request.Context().Done()
		}
	})
	o := options(t)
	o.Requests, o.Timeout = 8, time.Minute
	o.Done = func(r *Request) {
		if r.End-r.Last > o.Timeout/2 {
			t.Errorf("request %d ended %v after its last token", r.Number, r.End-r.Last)
		}
	}
	if c := mustRun(t, s.URL, o).Client; *c.Requests.Completed != 8 || *c.Tokens.Generation != 64 {
		t.Errorf("%+v, %+v", c.Requests, c.Tokens)
	}
}

// The end is the arrival of [DONE]: nothing after it is awaited.
func TestEnd(t *testing.T) {
	now := time.Duration(0)
	source := iotest.OneByteReader(strings.NewReader(`data: {"choices":[{"text":"a"}]}` + "\n\ndata: [DONE]\n\n"))
	arrivals := &timedReader{Reader: io.MultiReader(source, iotest.ErrReader(errors.New("read on"))), now: func() time.Duration { now += time.Second; return now }}
	r := &Request{plan: planned{cancelAfter: -1}}
	if err := new(client).stream(sse.NewReader(arrivals), arrivals, r); err != nil || r.End != now || r.Chunks != 1 {
		t.Errorf("%v; ended at %v of %v with %d chunks", err, r.End, now, r.Chunks)
	}
}

// While the server stalls, an open loop's requests are due, and their latency counts from
// then: the stall is in the percentiles of all that came meanwhile.
func TestStall(t *testing.T) {
	const stall = 500 * time.Millisecond
	var until atomic.Int64
	s := simulated(t, func(a *loadtest.Answer, number int) {
		if number == 20 {
			until.Store(time.Now().Add(stall).UnixNano())
		}
		a.Pause(time.Until(time.Unix(0, until.Load())))
		a.All()
	})
	o := options(t)
	o.Concurrency, o.Rate, o.Requests = 0, 100, 100
	o.Arrivals, _ = ParseArrivals("constant")
	l := mustRun(t, s.URL, o).Client.LatencySeconds
	// 50 of 100 requests are due during the stall, evenly spread over it.
	if p90 := seconds(t, l.TimeToFirstToken.P90); p90 < 0.3 {
		t.Errorf("p90 %.3f s, though half of the requests met a stall of %v", p90, stall)
	}
	if p99 := seconds(t, l.TimeToFirstToken.P99); p99 < 0.45 {
		t.Errorf("p99 %.3f s", p99)
	}
}

// Times are those of the server's pace.
func TestPace(t *testing.T) {
	s := simulated(t, func(a *loadtest.Answer, _ int) { a.Paced(60*time.Millisecond, 20*time.Millisecond) })
	o := options(t)
	o.Requests = 12
	o.SLO = []slo.Objective{{Metric: slo.TTFT, Percentile: 95, Seconds: 10}, {Metric: slo.ITL, Percentile: 95, Seconds: 10}, {Metric: slo.E2E, Percentile: 95, Seconds: 10}}
	c := mustRun(t, s.URL, o).Client
	l := c.LatencySeconds
	for _, f := range []struct {
		name    string
		x       *schema.Float
		atLeast float64
	}{
		{"ttft", l.TimeToFirstToken.P50, 0.06}, {"itl", l.InterTokenLatency.P50, 0.018}, {"tpot", l.TimePerOutputToken.P50, 0.018},
		{"e2e", l.E2ERequestLatency.P50, 0.19}, {"duration", c.DurationSeconds, 3 * 0.19},
	} {
		if x := seconds(t, f.x); x < f.atLeast || x > 20*f.atLeast {
			t.Errorf("%s is %.4f s, want at least %.3f", f.name, x, f.atLeast)
		}
	}
	if *c.SLO != "ttft=10s,itl=10s,e2e=10s" || seconds(t, c.Goodput) != seconds(t, c.Throughput.RequestsPerSecond) {
		t.Errorf("goodput %v of %v for %s", *c.Goodput, *c.Throughput.RequestsPerSecond, *c.SLO)
	}
	o.SLO[1].Seconds = 0.001
	if c := mustRun(t, s.URL, o).Client; seconds(t, c.Goodput) != 0 {
		t.Errorf("goodput %v", *c.Goodput)
	}
}

// Some requests are cancelled, as planned; the server sees them go.
func TestCancel(t *testing.T) {
	s := simulated(t, func(a *loadtest.Answer, _ int) { a.Paced(0, time.Millisecond) })
	o := options(t)
	o.Cancel = 0.5
	want := int64(0)
	for i := range o.Requests {
		if o.request(i).cancelAfter >= 0 {
			want++
		}
	}
	c := mustRun(t, s.URL, o).Client
	if *c.Requests.Cancelled != want || *c.Requests.Completed != 40-want || want < 10 || want > 30 {
		t.Errorf("%d cancelled of %d, %d completed", *c.Requests.Cancelled, want, *c.Requests.Completed)
	}
}

func TestWarmup(t *testing.T) {
	s := simulated(t, nil)
	o := options(t)
	o.Warmup = 10
	var warm, counted int
	o.Done = func(r *Request) {
		if r.Warmup {
			warm++
		} else {
			counted++
		}
	}
	c := mustRun(t, s.URL, o).Client
	if len(bodies(s)) != 50 || warm != 10 || counted != 40 || *c.Requests.Started != 40 || *c.LatencySeconds.InterTokenLatency.Count != 40*7 {
		t.Errorf("%d requests, %d in the warm-up, %d counted; %+v", len(bodies(s)), warm, counted, c.Requests)
	}
	// Together with the warm-up, the counts are the server's.
	w := c.Warmup
	sum := loadtest.Totals{Requests: *c.Requests.Completed + *w.Requests.Completed, PromptTokens: *c.Tokens.Prompt + *w.Tokens.Prompt, GenerationTokens: *c.Tokens.Generation + *w.Tokens.Generation}
	if sum != s.Totals() || *w.Requests.Completed != 10 || w.LatencySeconds.InterTokenLatency.Count != 10*7 || w.LatencySeconds.TimeToFirstToken.Count != 10 {
		t.Errorf("%+v with the warm-up, and %+v at the server", sum, s.Totals())
	}
	o.Warmup, o.Done = 0, nil
	if w := mustRun(t, s.URL, o).Client.Warmup; w != nil {
		t.Errorf("a warm-up without one: %+v", w)
	}
}

// A run by time ends by itself, and awaits what is under way.
func TestDuration(t *testing.T) {
	for _, rate := range []float64{0, 200} {
		s := simulated(t, func(a *loadtest.Answer, _ int) { a.Paced(time.Millisecond, time.Millisecond) })
		o := options(t)
		o.Requests, o.Duration, o.WarmupTime, o.Ramp, o.Rate = 0, 300*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond, rate
		if rate > 0 {
			o.Concurrency = 0
		}
		reports := 0
		o.Report, o.ReportEvery = func(Status) { reports++ }, 50*time.Millisecond
		first, last := time.Hour, time.Duration(0) // of the counted requests
		o.Done = func(r *Request) {
			if last = max(last, r.Intended); !r.Warmup {
				first = min(first, r.Intended)
			}
		}
		c := mustRun(t, s.URL, o).Client
		if *c.Requests.Completed != *c.Requests.Started || *c.Requests.Started == 0 || first < 100*time.Millisecond || last > first+400*time.Millisecond || reports == 0 {
			t.Errorf("rate %v: %+v, sent from %v to %v, %d reports", rate, c.Requests, first, last, reports)
		}
	}
}

// Ctrl-C ends a run with what was measured.
func TestInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	s := simulated(t, func(a *loadtest.Answer, number int) {
		if number < 6 {
			a.All()
			return
		}
		a.Start()
		if number == 9 {
			interrupt()
		}
		<-a.Request.Context().Done()
	})
	server, err := NewServer(s.URL, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(ctx, server, options(t))
	if err != nil || !r.Interrupted || *r.Client.Requests.Completed != 6 || *r.Client.Requests.Cancelled != 4 || len(r.Client.Requests.Failed) != 0 {
		t.Errorf("%v: %+v", err, r.Client.Requests)
	}
	if _, err := Run(ctx, server, options(t)); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
}

func TestSocketAndKey(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	s := simulated(t, func(a *loadtest.Answer, number int) {
		if number%2 > 0 {
			http.Error(a, `{"error":"the key sk-secret-1 is wrong"}`, http.StatusUnauthorized)
			return
		}
		a.All()
	})
	socket := filepath.Join(t.TempDir(), "s")
	closeSocket, err := s.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer closeSocket()
	for _, address := range []string{"unix://" + socket, s.URL + "/v1/"} {
		server, err := NewServer(address, ServerOptions{Key: "sk-secret-1"})
		if err != nil {
			t.Fatal(err)
		}
		o := options(t)
		o.Requests = 2
		r, err := Run(t.Context(), server, o)
		_, headers := s.Requests()
		if err != nil || *r.Client.Requests.Completed != 1 || headers[len(headers)-1].Get("Authorization") != "Bearer sk-secret-1" {
			t.Fatalf("%v: %+v", err, r)
		}
		text, err := json.Marshal(r)
		if err != nil || strings.Contains(string(text), "secret") || !strings.Contains(string(text), "the key \\u003credacted\\u003e is wrong") {
			t.Errorf("%s, %v", text, err)
		}
	}
}

// Errors of the network say what happened.
func TestClean(t *testing.T) {
	for err, want := range map[error]string{
		&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}: "too many open files: raise its limit, ulimit -n",
		io.EOF:                   "closed the connection without an answer",
		io.ErrUnexpectedEOF:      "broke within the answer",
		context.DeadlineExceeded: "no complete answer within 3s",
	} {
		if got := new(Server).clean(&url.Error{Op: "Post", URL: "http://me:secret@x", Err: err}, 3*time.Second).Error(); !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%v: %s", err, got)
		}
	}
}

func TestSetupErrors(t *testing.T) {
	s := simulated(t, nil)
	s.NoTokenizer = true
	server, _ := NewServer(s.URL, ServerOptions{})
	if _, err := Run(t.Context(), server, options(t)); err == nil || err.Error() != "the server has no /tokenize (status 404: 404 page not found)" {
		t.Errorf("%v", err)
	}
	o := options(t)
	o.Endpoint = Chat // words can do without
	if c := mustRun(t, s.URL, o).Client; *c.Requests.Completed != 40 {
		t.Errorf("%+v", c.Requests)
	}
	for address, want := range map[string]string{
		"127.0.0.1:8000": "not a valid URL", "localhost:8000": "does not begin with", "ftp://x": "does not begin with", "http://": "has no host", "http://me:secret@": "has no host", "unix://me:secret@x/y": "unix:///PATH",
		"http://x/?a=b": "has a query", "unix://x": "unix:///PATH", "": "does not begin with",
	} {
		if _, err := NewServer(address, ServerOptions{}); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
