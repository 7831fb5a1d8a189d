package cli

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/demo"
)

// Nothing listens: from the start, or from some time on.
func TestRefused(t *testing.T) {
	t.Parallel()
	runConcurrently(t, map[string]func(*testing.T){
		"a port": func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				r := startControlled(t, []string{"--metrics-url", "http://127.0.0.1:" + freePort(t)}, []string{"sh", "-c", waitForLine})
				r.finish()
				r.noEngine("connection refused")
				return r
			})
		},
		"no socket": func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				r := startControlled(t, []string{"-v", "--metrics-url", "unix:///nowhere/vllm.sock"}, []string{"sh", "-c", waitForLine})
				r.finish()
				r.noEngine("dial unix /nowhere/vllm.sock: connect: no such file or directory")
				return r
			})
		},
		"it goes away": func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, recorded(t, "serve_default_pre"))
				r := startControlled(t, []string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, []string{"sh", "-c", waitForLine})
				s.set(recorded(t, "serve_default_post"))
				s.awaitIngested()
				s.close()
				r.finish()
				r.checkFigures(recordedRun)
				w := r.event.Engine.Window
				if w.Final != "last_good" || w.FinalAgeSeconds <= 0 || w.Resets != 0 || !strings.HasPrefix(r.doubt("final_reading_lost"), "the engine was gone when the command ended: ") {
					t.Errorf("window %s, validity %s", asJSON(w), asJSON(r.event.Validity))
				}
				return r
			})
		},
	})
}

// freePort returns a port that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// The engine dies and another process takes its place: what both have counted adds up, and
// the event notes the restart.
func TestEngineRestarts(t *testing.T) {
	t.Parallel()
	const start = "process_start_time_seconds 1.79530343511e+09\n"
	socket := filepath.Join(t.TempDir(), "s")
	retryIfSlow(t, func(t *testing.T) *controlledRun {
		post := recorded(t, "serve_default_post")
		first, second := newPageServer(t, recorded(t, "serve_default_pre")), newPageServer(t, "")
		first.socket, second.socket = socket, socket
		r := startControlled(t, []string{"--scrape-interval", "20ms", "--metrics-url", first.listen()}, []string{"sh", "-c", waitForLine})
		first.set(post)
		first.awaitIngested()
		first.close()
		if !strings.Contains(post, start) {
			t.Fatal("the recording has another start")
		}
		second.set(strings.Replace(post, start, "process_start_time_seconds 1.79530349e+09\n", 1))
		second.listen()
		second.awaitRequests(3)
		r.finish()
		second.close()
		r.checkFigures(recordedRun.plus(fromZero))
		w := r.event.Engine.Window
		if w.Base != "scraped" || w.Final != "settled" || w.Resets != 1 || !strings.Contains(r.doubt("counter_reset"), "restarted once inside the window") {
			t.Errorf("window %s, validity %s", asJSON(w), asJSON(r.event.Validity))
		}
		if at := r.event.Engine.Endpoints[0].ProcessStartTime; at == nil || *at != "2026-11-21T23:24:50Z" {
			t.Errorf("process_start_time %s", text(at))
		}
		return r
	})
}

// startsItself is a vllm that waits until the old server has ended, and then serves at the
// address in its command line.
const startsItself = `#!/bin/sh
echo started
read line
vllm "$@" --ready ready >/dev/null 2>&1 &
client -ready ready -totals totals.json -scraped
kill $!
wait
echo done
read line
exit 7
`

// An old server on the port that the command is going to use.
func TestOldServerOnPort(t *testing.T) {
	t.Parallel()
	vllm := func(t *testing.T, script string) string {
		file := filepath.Join(t.TempDir(), "vllm")
		if err := os.WriteFile(file, []byte(script), 0o777); err != nil {
			t.Fatal(err)
		}
		return file
	}
	page := recorded(t, "serve_default_post")
	runConcurrently(t, map[string]func(*testing.T){
		// It answers until the end: what it serves is not the command's.
		"stays": func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, page)
				s.serve(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, page) }) // counts
				_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.listen(), "http://"))
				r := startControlled(t, nil, []string{vllm(t, "#!/bin/sh\n"+waitForLine), "serve", "a-model", "--port", port})
				r.finish()
				r.noEngine("")
				r.checkForeign(s)
				return r
			})
		},
		// The command's own server takes its place. Since two vLLM servers can share a port,
		// what answers there still does not count as the command's.
		"is replaced": func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, page)
				s.serve(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, page) })
				_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.listen(), "http://"))
				r := startControlled(t, nil, []string{vllm(t, strings.Replace(startsItself, " -scraped", "", 1)), "serve", "a-model", "--port", port})
				s.close()
				r.sendLine()
				r.expect("done\n")
				r.finish()
				r.noEngine("")
				r.checkForeign(s)
				return r
			})
		},
		// The user gave the address: both are read, each from its beginning.
		"is replaced at the address that was given": func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, page)
				address := s.listen()
				_, port, _ := net.SplitHostPort(strings.TrimPrefix(address, "http://"))
				r := startControlled(t, []string{"--scrape-interval", "20ms", "--metrics-url", address}, []string{vllm(t, startsItself), "serve", "a-model", "--port", port})
				s.close()
				r.sendLine()
				r.expect("done\n")
				r.finish()
				var want demo.Totals
				served, err := os.ReadFile(filepath.Join(r.dir, "totals.json"))
				if err != nil || json.Unmarshal(served, &want) != nil {
					t.Fatalf("%v: %q", err, served)
				}
				if problems := compareTotals(&r.event, want); len(problems) > 0 {
					t.Error(strings.Join(problems, "\n"))
				}
				if w := r.event.Engine.Window; w.Base != "scraped" || w.Resets != 1 || r.doubt("counter_reset") == "" {
					t.Errorf("window %s, validity %s", asJSON(w), asJSON(r.event.Validity))
				}
				return r
			})
		},
	})
}

// checkForeign checks that the old server was noticed, reported, and never read.
func (r *controlledRun) checkForeign(s *pageServer) {
	r.t.Helper()
	const want = ", where the command is going to listen: it is not scraped"
	if got := r.doubt("engine_not_ours"); !strings.HasPrefix(got, "another server answers at http://127.0.0.1:") || !strings.HasSuffix(got, want) {
		r.t.Errorf("validity %s", asJSON(r.event.Validity))
	}
	if !strings.Contains(r.stderr.String(), "vobs: warning: another server answers at ") {
		r.t.Errorf("stderr %q", r.stderr.String())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hits > 0 {
		r.t.Errorf("the old server was read %d times", s.hits)
	}
}

// Pages that can be read but have something wrong: what is wrong is null, and everything
// else is right to the last digit.
func TestWrongFigures(t *testing.T) {
	t.Parallel()
	const (
		generated = `vllm:generation_tokens_total{engine="0",model_name="tiny"} `
		observed  = `vllm:time_to_first_token_seconds_count{engine="0",model_name="tiny"} `
		bucket    = `vllm:time_to_first_token_seconds_bucket{engine="0",le="0.04",model_name="tiny"} `
	)
	post := recorded(t, "serve_default_post")
	noTokens, noTTFT := recordedRun, recordedRun
	noTokens.generated = -1
	noTTFT.observed, noTTFT.ttft = -1, -1
	with := func(begins string, lines ...string) string {
		var out strings.Builder
		found := false
		for line := range strings.Lines(post) {
			if !strings.HasPrefix(line, begins) {
				out.WriteString(line)
				continue
			}
			found = true
			for _, l := range lines {
				out.WriteString(begins + l + "\n")
			}
		}
		if !found {
			t.Fatalf("the page has no line %s", begins)
		}
		return out.String()
	}
	cases := map[string]func(*testing.T){}
	for name, c := range map[string]struct {
		page              string
		want              figures
		field, why        string // what is null
		code, says, level string
	}{
		"a series twice":               {with(generated, "5753.0", "5753.0"), recordedRun, "", "", "duplicate_series", "it was counted once", "info"},
		"a series twice, two values":   {with(generated, "5753.0", "5754.0"), noTokens, "engine.tokens.generation", "two different values", "duplicate_series", "neither value was used", "warning"},
		"a counter is NaN":             {with(generated, "NaN"), noTokens, "engine.tokens.generation", "had an invalid value", "invalid_values", "vllm:generation_tokens_total", "warning"},
		"a counter is infinite":        {with(generated, "+Inf"), noTokens, "engine.tokens.generation", "had an invalid value", "invalid_values", "vllm:generation_tokens_total", "warning"},
		"a histogram's count is NaN":   {with(observed, "NaN"), noTTFT, "engine.latency_seconds.time_to_first_token", "had an invalid value", "invalid_values", "vllm:time_to_first_token_seconds", "warning"},
		"a histogram's bucket is -Inf": {with(bucket, "-Inf"), noTTFT, "engine.latency_seconds.time_to_first_token", "had an invalid value", "invalid_values", "vllm:time_to_first_token_seconds", "warning"},
		"a histogram lost its count":   {with(observed), noTTFT, "engine.latency_seconds.time_to_first_token", "vanished from the page inside the window", "", "", ""},
		"a histogram lost a bucket":    {with(bucket), noTTFT, "engine.latency_seconds.time_to_first_token", "vanished from the page inside the window", "", "", ""},
	} {
		cases[name] = func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, recorded(t, "serve_default_pre"))
				r := startControlled(t, []string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, []string{"sh", "-c", waitForLine})
				s.set(post)
				s.awaitIngested()
				s.set(c.page)
				s.await("a poll", func() bool { return s.polls > 1 })
				r.finish()
				r.checkFigures(c.want)
				if why := r.reason(c.field); c.field != "" && !strings.Contains(why, c.why) {
					t.Errorf("%s: %q, want %q", c.field, why, c.why)
				}
				if c.want == noTokens && (r.event.Engine.Throughput.GenerationTokensPerSecond != nil || r.event.Engine.Instances[0].GenerationTokens != nil) {
					t.Errorf("figures made of none: %s", r.raw)
				}
				for _, v := range r.event.Validity {
					if string(v.Code) == c.code && (!strings.Contains(v.Message, c.says) || string(v.Severity) != c.level) {
						t.Errorf("%s", asJSON(v))
					}
				}
				if c.code != "" && r.doubt(c.code) == "" {
					t.Errorf("validity %s", asJSON(r.event.Validity))
				}
				return r
			})
		}
	}
	// A body without a length that ends early, after a line: nothing shows it. What is
	// missing must be null then, and so must be what is there in part.
	cases["half a page that looks whole"] = func(t *testing.T) {
		retryIfSlow(t, func(t *testing.T) *controlledRun {
			s := newPageServer(t, recorded(t, "serve_default_pre"))
			s.wrap = rewritten(func(w http.ResponseWriter, r *http.Request, page string) {
				sendsRaw("HTTP/1.0 200 OK\r\n\r\n", page)(w, r)
			})
			r := startControlled(t, []string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, []string{"sh", "-c", waitForLine})
			s.set(post)
			s.awaitIngested()
			s.set(post[:strings.Index(post, bucket)])
			s.await("a poll", func() bool { return s.polls > 1 })
			r.finish()
			r.checkFigures(noTTFT)
			if why := r.reason("engine.latency_seconds.e2e_request_latency"); !strings.Contains(why, "vanished from the page inside the window") {
				t.Errorf("%q", why)
			}
			return r
		})
	}
	runConcurrently(t, cases)
}
