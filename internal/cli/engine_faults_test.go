package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vobs/vobs/schema"
)

const (
	// maxStartDelay and maxExitDelay bound how much vobs delays the command's start and
	// its own exit.
	maxStartDelay, maxExitDelay = time.Second, 2 * time.Second
	// machineSlack is what a busy machine may add; a later run is repeated. It is less
	// than one more hanging request takes.
	machineSlack = 900 * time.Millisecond
	// commandCode is the exit code of the command.
	commandCode = 7
	// waitForLine is a command that runs until the test writes a line to its stdin.
	waitForLine = "echo started; read line; exit 7"
)

// controlledRun is a run of the real program. Its command reports when it has started,
// and ends when the test says so.
type controlledRun struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	stderr  bytes.Buffer
	dir     string
	startup time.Duration // until the command ran
	exit    time.Duration // from the end of the command to that of vobs
	slow    string        // why the machine was too slow for the case

	raw   []byte // the event
	event schema.GenerationObservability
}

// startControlled starts `vobs run -o e.json FLAGS -- COMMAND`, and waits until the
// command runs.
func startControlled(t *testing.T, flags, command []string) *controlledRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	r := &controlledRun{t: t, dir: t.TempDir()}
	r.cmd = exec.CommandContext(ctx, "vobs", slices.Concat([]string{"run", "-o", "e.json"}, flags, []string{"--"}, command)...)
	r.cmd.Dir, r.cmd.Stderr = r.dir, &r.stderr
	r.cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+brokenNVML(t))
	var err error
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.stdout = bufio.NewReader(stdout)
	began := time.Now()
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.expect("started\n")
	r.startup = time.Since(began)
	return r
}

// expect waits for a line of the command.
func (r *controlledRun) expect(want string) {
	r.t.Helper()
	if line, err := r.stdout.ReadString('\n'); err != nil || line != want {
		rest, _ := io.ReadAll(r.stdout)
		_ = r.cmd.Wait()
		r.t.Fatalf("the command wrote %q (%v), want %q; then %q, stderr %q", line, err, want, rest, r.stderr.String())
	}
}

// sendLine writes a line to the command.
func (r *controlledRun) sendLine() {
	r.t.Helper()
	if _, err := io.WriteString(r.stdin, "\n"); err != nil {
		r.t.Fatal(err)
	}
}

// finish ends the command and waits for vobs. It checks what holds for every run: the
// command's exit code and output, and an event in which every null is explained.
func (r *controlledRun) finish() {
	t := r.t
	t.Helper()
	r.sendLine()
	ended := time.Now()
	rest, err := io.ReadAll(r.stdout)
	if err != nil || len(rest) > 0 {
		t.Errorf("the command's stdout: %q, %v", rest, err)
	}
	err = r.cmd.Wait()
	r.exit = time.Since(ended)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != commandCode {
		t.Fatalf("vobs ended with %v, want %d; stderr %q", err, commandCode, r.stderr.String())
	}
	if s := r.stderr.String(); regexp.MustCompile(`panic|goroutine |DATA RACE|error in vobs`).MatchString(s) {
		t.Errorf("stderr: %s", s)
	}
	if r.raw, err = os.ReadFile(filepath.Join(r.dir, "e.json")); err != nil {
		t.Fatal(err)
	}
	events, problems, err := schema.ValidateStream(bytes.NewReader(r.raw), schema.Options{Strict: true})
	if err != nil || events != 1 || len(problems) > 0 {
		t.Fatalf("%d events, problems %v, %v: %s", events, problems, err, r.raw)
	}
	if err := json.Unmarshal(r.raw, &r.event); err != nil {
		t.Fatal(err)
	}
	if nulls := schema.UnexplainedNulls(&r.event); len(nulls) > 0 {
		t.Errorf("nulls without a reason: %v", nulls)
	}
	if code := r.event.Run.ExitCode; code == nil || *code != commandCode || r.event.Partial {
		t.Errorf("exit code %v in the event, partial %t", text(code), r.event.Partial)
	}
	if rss := r.event.Overhead.MaxRSSBytes; rss == nil || *rss > maxMemory() {
		t.Errorf("vobs took %s bytes of memory at most, may take %d", text(rss), maxMemory())
	}
}

// maxMemory bounds vobs's resident memory, in bytes: input is read as a stream. The race
// detector needs several times what the program does.
func maxMemory() int64 {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 160 << 20
	}
	return 80 << 20
}

// late returns what was too late in the run, compared with a plain run without an engine
// on this machine; "" if nothing was.
func (r *controlledRun) late(plain controlledRun) string {
	switch {
	case r.slow != "":
		return r.slow
	case r.startup > plain.startup+maxStartDelay+machineSlack:
		return fmt.Sprintf("the command started after %v, without an engine after %v", r.startup, plain.startup)
	case r.exit > plain.exit+maxExitDelay+machineSlack:
		return fmt.Sprintf("vobs ended %v after the command, without an engine %v after", r.exit, plain.exit)
	}
	return ""
}

// reason returns the reason for a field of the event; "" if there is none.
func (r *controlledRun) reason(field string) string {
	for _, u := range r.event.Unavailable {
		if u.Field == field {
			return u.Reason
		}
	}
	return ""
}

// doubt returns the message of a validity code; "" if there is none.
func (r *controlledRun) doubt(code string) string {
	for _, v := range r.event.Validity {
		if string(v.Code) == code {
			return v.Message
		}
	}
	return ""
}

// noEngine checks that the event has no figure of an engine, and says why.
func (r *controlledRun) noEngine(want string) {
	r.t.Helper()
	e := &r.event
	if e.Engine != nil || e.KVCacheUsagePerc != nil || e.PrefixCacheHitRate != nil || e.SpecAcceptRate != nil || e.EngineRuntimeConfig != (schema.EngineRuntimeConfig{}) {
		r.t.Errorf("figures although there is no engine: %s", r.raw)
	}
	if why := r.reason("engine"); strings.Contains(why, "timed out") && !strings.Contains(want, "timed out") {
		r.slow = why
		return
	}
	for _, field := range []string{"engine", "kv_cache_usage_perc", "prefix_cache_hit_rate", "spec_accept_rate", "engine_runtime_config"} {
		if why := r.reason(field); !strings.Contains(why, want) || len(why) > 1000 {
			r.t.Errorf("%s is null: %q, want a reason with %q", field, why, want)
		}
	}
}

// figures are what the tests compare; -1 is null.
type figures struct {
	generated, prompt, finished, observed int64
	ttft                                  float64 // its sum, in seconds
	hits, queries                         int64
}

// recordedRun is what the recorded run counted between its first and last page, fromZero
// what its engine had counted in total.
var (
	recordedRun = figures{5737, 14518, 60, 60, 2.8157277107238770, 7168, 14518}
	fromZero    = figures{5753, 14570, 62, 62, 2.9073173999786377, 7168, 14570}
)

func (f figures) plus(g figures) figures {
	return figures{f.generated + g.generated, f.prompt + g.prompt, f.finished + g.finished, f.observed + g.observed, f.ttft + g.ttft, f.hits + g.hits, f.queries + g.queries}
}

func figuresOf(e *schema.GenerationObservability) figures {
	f := figures{-1, -1, -1, -1, -1, -1, -1}
	g := e.Engine
	set := func(to *int64, from *int64) {
		if from != nil {
			*to = *from
		}
	}
	set(&f.generated, g.Tokens.Generation)
	set(&f.prompt, g.Tokens.Prompt)
	if g.Requests.Finished != nil {
		f.finished = g.Requests.Finished["length"]
	}
	if d := g.LatencySeconds.TimeToFirstToken; d != nil {
		f.observed, f.ttft = d.Count, float64(d.Sum)
	}
	if c := g.PrefixCache.Local; c != nil {
		f.hits, f.queries = c.Hits, c.Queries
	}
	return f
}

// checkFigures compares the engine's figures to the last digit.
func (r *controlledRun) checkFigures(want figures) {
	r.t.Helper()
	if r.event.Engine == nil {
		r.t.Fatalf("no engine: %s; stderr %s", r.reason("engine"), r.stderr.String())
	}
	if late := r.doubt("late_base"); late != "" {
		r.slow = late // the first page took longer than the second before the start
		return
	}
	got := figuresOf(&r.event)
	if math.Abs(got.ttft-want.ttft) <= 1e-9*math.Abs(want.ttft) {
		got.ttft = want.ttft
	}
	if got != want {
		r.t.Errorf("figures %+v, want %+v", got, want)
	}
	if rate := r.event.PrefixCacheHitRate; want.queries > 0 && (rate == nil || math.Abs(float64(*rate)-float64(want.hits)/float64(want.queries)) > 1e-12) {
		r.t.Errorf("prefix_cache_hit_rate %s", text(rate))
	}
	if last := r.event.KVCacheUsagePerc; last == nil || *last != 0 {
		r.t.Errorf("kv_cache_usage_perc %s: it is 0 on every page that counts", text(last))
	}
	// No poll saw the engine at work.
	if peak := r.event.Engine.KVCache.Usage.Peak; want.generated > 0 && peak != nil {
		r.t.Errorf("the peak usage is %s although only idle pages were served", text(peak))
	}
}

// checkUndoubted checks that nothing is in doubt but what is true of each of these runs: the
// command fails, and the engine had served requests before, or came up. A short run may have
// few polls and requests, and the machine may be busy.
func (r *controlledRun) checkUndoubted(base string) {
	r.t.Helper()
	w := r.event.Engine.Window
	if each, ok := r.event.Engine.Scrapes.MedianSeconds.Value(); ok && w.Final == "unsettled" && each > 0.5 {
		r.slow = fmt.Sprintf("each reading of the engine took %.2f s: three do not fit into the time for settling", each)
		return
	}
	if w.Base != base || w.Final != "settled" || w.Resets != 0 || r.event.Engine.Scrapes.Errors != 0 {
		r.t.Errorf("window %s, scrapes %s", asJSON(w), asJSON(r.event.Engine.Scrapes))
	}
	wanted := map[schema.Code]bool{"nonzero_exit": true, "warm_prefix_cache": base == "scraped", "engine_warmed_up_inside": base == "zero"}
	for _, v := range r.event.Validity {
		switch v.Code {
		case "short_window", "few_requests", "tree_cpu_incomplete", "busy_host":
			continue
		}
		if !wanted[v.Code] {
			r.t.Errorf("doubt %s: %s", v.Code, v.Message)
		}
		delete(wanted, v.Code)
	}
	for code, missing := range wanted {
		if missing {
			r.t.Errorf("no doubt %s", code)
		}
	}
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// othersRunning is held by cases that run beside others, and exclusively by one that is
// repeated.
var othersRunning sync.RWMutex

// retryIfSlow repeats a case that was late, up to twice and alone: the machine may have
// been slow, but a fault of vobs shows every time.
func retryIfSlow(t *testing.T, try func(t *testing.T) *controlledRun) {
	t.Helper()
	first := func() *controlledRun {
		othersRunning.RLock()
		defer othersRunning.RUnlock()
		return try(t)
	}
	late := first().late(controlledRun{})
	for range 2 {
		if late == "" || t.Failed() {
			break
		}
		t.Logf("%s; repeating it", late)
		again := func() string {
			othersRunning.Lock()
			defer othersRunning.Unlock()
			plain := startControlled(t, nil, []string{"sh", "-c", waitForLine})
			plain.finish()
			return try(t).late(controlledRun{startup: plain.startup, exit: plain.exit})
		}
		late = again()
	}
	if late != "" {
		t.Error(late)
	}
}

// slots limits how many cases of all tests run at once, so that a busy machine has time for
// each.
var slots = make(chan struct{}, 10)

// runConcurrently runs cases at once that mostly wait.
func runConcurrently(t *testing.T, cases map[string]func(*testing.T)) {
	t.Helper()
	var wg sync.WaitGroup
	for name, run := range cases {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(name, run)
		})
	}
	wg.Wait()
}

// verbosity returns the flag for more or fewer messages, in turn.
func verbosity(i int) []string { return [][]string{nil, {"-v"}, {"-q"}}[i%3] }

func (r *controlledRun) checkQuiet(flags []string) {
	r.t.Helper()
	if slices.Contains(flags, "-q") && r.stderr.Len() > 0 {
		r.t.Errorf("-q, and stderr has %q", r.stderr.String())
	}
}

// A server that never answers as an engine: there is no figure, a reason that names the
// trouble, and a command that does not notice.
func TestFaultFromTheStart(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T){}
	for i, f := range faults() {
		cases[f.name] = func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, recorded(t, "serve_default_pre"))
				s.serve(f.answer)
				flags := append([]string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, verbosity(i)...)
				r := startControlled(t, flags, []string{"sh", "-c", waitForLine})
				s.awaitHits(max(2, f.hits)) // one of them during the run
				r.finish()
				r.noEngine(f.want)
				r.checkQuiet(flags)
				return r
			})
		}
	}
	runConcurrently(t, cases)
}

// An engine that answers wrongly from some time on: its last good page counts, nothing
// after it does, and the event says what happened.
func TestFaultAtTheEnd(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T){}
	for i, f := range faults() {
		cases[f.name] = func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, recorded(t, "serve_default_pre"))
				flags := append([]string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, verbosity(i+1)...)
				r := startControlled(t, flags, []string{"sh", "-c", waitForLine})
				s.set(recorded(t, "serve_default_post"))
				s.awaitIngested()
				s.serve(f.answer)
				s.awaitHits(max(1, f.hits))
				r.finish()
				r.checkFigures(recordedRun)
				if r.slow != "" {
					return r
				}
				w := r.event.Engine.Window
				if w.Base != "scraped" || w.Final != "last_good" || w.FinalAgeSeconds <= 0 || w.SettleSeconds != 0 || f.hits > 0 && r.event.Engine.Scrapes.Errors == 0 {
					t.Errorf("window %s, scrapes %s", asJSON(w), asJSON(r.event.Engine.Scrapes))
				}
				for code, sure := range map[string]bool{"final_reading_lost": true, "scrapes_failed": f.hits > 0} {
					if got := r.doubt(code); !strings.Contains(got, f.want) && (sure || got != "") {
						t.Errorf("%s: %q, want one with %q", code, got, f.want)
					}
				}
				r.checkQuiet(flags)
				return r
			})
		}
	}
	runConcurrently(t, cases)
}

// A page that is too large or has no end: vobs's memory stays bounded (finish checks it),
// and so does the time.
func TestFlood(t *testing.T) {
	t.Parallel()
	for _, f := range floods(t) {
		t.Run(f.name, func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, "")
				s.serve(f.answer)
				flags := []string{"-v", "--metrics-url", s.listen()}
				r := startControlled(t, flags, []string{"sh", "-c", waitForLine})
				r.finish()
				// Either bound may come first.
				want := f.want
				if strings.Contains(r.reason("engine"), "timed out") {
					want = "timed out"
				}
				r.noEngine(want)
				t.Logf("start %v, exit %v, %d MiB: %s", r.startup, r.exit, *r.event.Overhead.MaxRSSBytes>>20, r.reason("engine"))
				return r
			})
		})
	}
	// An engine that begins to do so: the last good page counts.
	t.Run("at the end", func(t *testing.T) {
		retryIfSlow(t, func(t *testing.T) *controlledRun {
			s := newPageServer(t, recorded(t, "serve_default_pre"))
			r := startControlled(t, []string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, []string{"sh", "-c", waitForLine})
			s.set(recorded(t, "serve_default_post"))
			s.awaitIngested()
			s.serve(floods(t)[0].answer)
			s.awaitHits(1)
			r.finish()
			r.checkFigures(recordedRun)
			if got := r.doubt("final_reading_lost"); r.slow == "" && !strings.Contains(got, "the page is larger than 64 MiB") && !strings.Contains(got, "timed out: an incomplete response of") {
				t.Errorf("validity %s", asJSON(r.event.Validity))
			}
			return r
		})
	})
}

// Unusual servers that can be read: every figure is right and nothing is in doubt.
func TestUnusualServers(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T){}
	for i, o := range unusualServers(t) {
		cases[o.name] = func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, recorded(t, "serve_default_pre"))
				s.wrap, s.prepare, s.tls = o.wrap, o.prepare, o.tls
				flags := slices.Concat([]string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, verbosity(i), o.flags)
				if o.ca {
					flags = append(flags, "--metrics-ca", s.caFile())
				}
				r := startControlled(t, flags, []string{"sh", "-c", waitForLine})
				s.awaitIngested()
				s.set(recorded(t, "serve_default_post"))
				s.awaitIngested()
				r.finish()
				r.checkFigures(recordedRun)
				if r.slow != "" {
					return r
				}
				r.checkUndoubted("scraped")
				if bytes.Contains(r.raw, []byte(secret)) || strings.Contains(r.stderr.String(), secret) {
					t.Errorf("the header's value is shown: %s %s", r.raw, r.stderr.String())
				}
				r.checkQuiet(flags)
				return r
			})
		}
	}
	runConcurrently(t, cases)
}

// Credentials are missing, and the reason names the flag for them.
func TestMissingCredentials(t *testing.T) {
	t.Parallel()
	const noCA = "give the CA that signed it with --metrics-ca"
	cases := map[string]func(*testing.T){}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, s *pageServer)
		flags   func(t *testing.T, address string) []string
		want    string
	}{
		{"no header", func(_ *testing.T, s *pageServer) { s.wrap = needsHeader }, nil, "401 Unauthorized: give its credentials with --metrics-header"},
		{"another header", func(_ *testing.T, s *pageServer) { s.wrap = needsHeader }, func(_ *testing.T, address string) []string {
			return []string{"--metrics-url", address, "--metrics-header", "X-Key: not-" + secret}
		}, "401 Unauthorized: give its credentials with --metrics-header"},
		// Without the flag, a server on this host is not verified, one on another host is.
		{"no CA", func(t *testing.T, s *pageServer) { s.tls, s.host = true, outsideAddress(t) }, nil, noCA},
		{"another CA", func(_ *testing.T, s *pageServer) { s.tls = true }, func(t *testing.T, address string) []string {
			other := newPageServer(t, "")
			other.tls = true
			other.listen()
			return []string{"--metrics-url", address, "--metrics-ca", other.caFile()}
		}, noCA},
		{"http for https", func(_ *testing.T, s *pageServer) { s.tls = true }, func(_ *testing.T, address string) []string {
			return []string{"--metrics-url", strings.Replace(address, "https", "http", 1)}
		}, "the server answers 400 Bad Request"},
		{"https for http", func(*testing.T, *pageServer) {}, func(_ *testing.T, address string) []string {
			return []string{"--metrics-url", strings.Replace(address, "http", "https", 1)}
		}, "the server does not speak TLS: use http://"},
	} {
		cases[c.name] = func(t *testing.T) {
			retryIfSlow(t, func(t *testing.T) *controlledRun {
				s := newPageServer(t, recorded(t, "serve_default_pre"))
				c.prepare(t, s)
				flags := []string{"--metrics-url", s.listen()}
				if c.flags != nil {
					flags = c.flags(t, s.server.URL)
				}
				r := startControlled(t, append(flags, "--scrape-interval", "20ms"), []string{"sh", "-c", waitForLine})
				s.awaitRequests(3)
				r.finish()
				r.noEngine(c.want)
				if bytes.Contains(r.raw, []byte(secret)) || strings.Contains(r.stderr.String(), secret) {
					t.Errorf("the header's value is shown: %s %s", r.raw, r.stderr.String())
				}
				return r
			})
		}
	}
	runConcurrently(t, cases)
}
