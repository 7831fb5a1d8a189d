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
	// startLate and exitLate are how late the command's start and vobs's end may be
	// (design sections 3 and 6).
	startLate, exitLate = time.Second, 2 * time.Second
	// machineLate is what a machine with other things to do may add; a run that was
	// later is tried again. It is less than the time of one more hanging request.
	machineLate = 900 * time.Millisecond
	// heldCode is the exit code of the command.
	heldCode = 7
	// held is a command that the test holds by its stdin.
	held = "echo started; read line; exit 7"
)

// heldRun is one run of the real program. Its command tells when it started, and
// ends when it is told to.
type heldRun struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	stderr  bytes.Buffer
	dir     string
	startup time.Duration // until the command ran
	exit    time.Duration // from the command's end to vobs's
	slow    string        // what says that the machine was too slow for the case

	raw   []byte // the event
	event schema.GenerationObservability
}

// hold starts `vobs run -o e.json FLAGS -- COMMAND`, and waits until the command runs.
func hold(t *testing.T, flags, command []string) *heldRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	r := &heldRun{t: t, dir: t.TempDir()}
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
func (r *heldRun) expect(want string) {
	r.t.Helper()
	if line, err := r.stdout.ReadString('\n'); err != nil || line != want {
		rest, _ := io.ReadAll(r.stdout)
		_ = r.cmd.Wait()
		r.t.Fatalf("the command wrote %q (%v), want %q; then %q, stderr %q", line, err, want, rest, r.stderr.String())
	}
}

// tell gives the command a line.
func (r *heldRun) tell() {
	r.t.Helper()
	if _, err := io.WriteString(r.stdin, "\n"); err != nil {
		r.t.Fatal(err)
	}
}

// finish ends the command and waits for vobs. What holds for every run is checked
// here: the command's exit code and output, and an event without a hole.
func (r *heldRun) finish() {
	t := r.t
	t.Helper()
	r.tell()
	ended := time.Now()
	rest, err := io.ReadAll(r.stdout)
	if err != nil || len(rest) > 0 {
		t.Errorf("the command's stdout: %q, %v", rest, err)
	}
	err = r.cmd.Wait()
	r.exit = time.Since(ended)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != heldCode {
		t.Fatalf("vobs ended with %v, want %d; stderr %q", err, heldCode, r.stderr.String())
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
	if code := r.event.Run.ExitCode; code == nil || *code != heldCode || r.event.Partial {
		t.Errorf("exit code %v in the event, partial %t", text(code), r.event.Partial)
	}
	if rss := r.event.Overhead.MaxRSSBytes; rss == nil || *rss > mostMemory() {
		t.Errorf("vobs took %s bytes of memory at most, may take %d", text(rss), mostMemory())
	}
}

// mostMemory bounds vobs's resident memory, in bytes: whatever comes in is read
// as a stream. The race detector keeps several times what the program does.
func mostMemory() int64 {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 160 << 20
	}
	return 80 << 20
}

// late says what was too late in the run, on a machine that takes as long as plain
// did for a run without an engine; "" for nothing.
func (r *heldRun) late(plain heldRun) string {
	switch {
	case r.slow != "":
		return r.slow
	case r.startup > plain.startup+startLate+machineLate:
		return fmt.Sprintf("the command started after %v, without an engine after %v", r.startup, plain.startup)
	case r.exit > plain.exit+exitLate+machineLate:
		return fmt.Sprintf("vobs ended %v after the command, without an engine %v after", r.exit, plain.exit)
	}
	return ""
}

// reason is that of one field of the event; "" for none.
func (r *heldRun) reason(field string) string {
	for _, u := range r.event.Unavailable {
		if u.Field == field {
			return u.Reason
		}
	}
	return ""
}

// doubt is the message of one kind of doubt; "" for none.
func (r *heldRun) doubt(code string) string {
	for _, v := range r.event.Validity {
		if string(v.Code) == code {
			return v.Message
		}
	}
	return ""
}

// noEngine checks that there is not one figure of an engine, and why.
func (r *heldRun) noEngine(want string) {
	r.t.Helper()
	e := &r.event
	if e.Engine != nil || e.KVCacheUsagePerc != nil || e.PrefixCacheHitRate != nil || e.SpecAcceptRate != nil || e.EngineRuntimeConfig != (schema.EngineRuntimeConfig{}) {
		r.t.Errorf("figures of what is no engine: %s", r.raw)
	}
	if why := r.reason("engine"); strings.Contains(why, "in time") && !strings.Contains(want, "in time") {
		r.slow = why
		return
	}
	for _, field := range []string{"engine", "kv_cache_usage_perc", "prefix_cache_hit_rate", "spec_accept_rate", "engine_runtime_config"} {
		if why := r.reason(field); !strings.Contains(why, want) || len(why) > 1000 {
			r.t.Errorf("%s is null: %q, want a reason with %q", field, why, want)
		}
	}
}

// figures are what the tests look at; a value of -1 is null.
type figures struct {
	generated, prompt, finished, observed int64
	ttft                                  float64 // its sum, in seconds
	hits, queries                         int64
}

// recordedRun is what the recorded run counted between its first and last page,
// and fromZero what its engine had counted in all.
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

// exactly checks the engine's figures to the last digit.
func (r *heldRun) exactly(want figures) {
	r.t.Helper()
	if r.event.Engine == nil {
		r.t.Fatalf("no engine: %s; stderr %s", r.reason("engine"), r.stderr.String())
	}
	if late := r.doubt("late_base"); late != "" {
		r.slow = late // the first page took more than the second before the start
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
	if last := r.event.KVCacheUsagePerc; last == nil || *last != 0 || *r.event.Engine.KVCache.Usage.Peak != 0 {
		r.t.Errorf("kv_cache_usage_perc %s: no page that counts has another than 0", text(last))
	}
}

// wellMeasured checks a run in whose figures nothing is in doubt but the poll
// intervals, of which a short run has few.
func (r *heldRun) wellMeasured(base string) {
	r.t.Helper()
	w := r.event.Engine.Window
	if w.Base != base || w.Final != "settled" || w.Resets != 0 || r.event.Engine.Scrapes.Errors != 0 {
		r.t.Errorf("window %s, scrapes %s", asJSON(w), asJSON(r.event.Engine.Scrapes))
	}
	for _, v := range r.event.Validity {
		if v.Code != "short_window" && v.Code != "tree_cpu_incomplete" {
			r.t.Errorf("doubt %s: %s", v.Code, v.Message)
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

// crowd is held by those that run beside others, and alone by one that tries again.
var crowd sync.RWMutex

// tryThrice gives a case that was late two more tries, without the others: the
// machine may have been at fault, and vobs is so every time.
func tryThrice(t *testing.T, try func(t *testing.T) *heldRun) {
	t.Helper()
	first := func() *heldRun {
		crowd.RLock()
		defer crowd.RUnlock()
		return try(t)
	}
	late := first().late(heldRun{})
	for range 2 {
		if late == "" || t.Failed() {
			break
		}
		t.Logf("%s; once more", late)
		again := func() string {
			crowd.Lock()
			defer crowd.Unlock()
			plain := hold(t, nil, []string{"sh", "-c", held})
			plain.finish()
			return try(t).late(heldRun{startup: plain.startup, exit: plain.exit})
		}
		late = again()
	}
	if late != "" {
		t.Error(late)
	}
}

// room is for so many cases at once, of all tests, that a busy machine has time for each.
var room = make(chan struct{}, 10)

// sideBySide runs cases at once that wait for most of their time.
func sideBySide(t *testing.T, cases map[string]func(*testing.T)) {
	t.Helper()
	var wg sync.WaitGroup
	for name, run := range cases {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			t.Run(name, run)
		})
	}
	wg.Wait()
}

// noise gives a case the flag for more or fewer messages, in turn.
func noise(i int) []string { return [][]string{nil, {"-v"}, {"-q"}}[i%3] }

func (r *heldRun) checkQuiet(flags []string) {
	r.t.Helper()
	if slices.Contains(flags, "-q") && r.stderr.Len() > 0 {
		r.t.Errorf("-q, and stderr has %q", r.stderr.String())
	}
}

// A server that never answers as an engine: not one figure, a reason that names
// the trouble, and a command that does not notice.
func TestFaultFromTheStart(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T){}
	for i, f := range faults() {
		cases[f.name] = func(t *testing.T) {
			tryThrice(t, func(t *testing.T) *heldRun {
				s := newStage(t, recorded(t, "serve_default_pre"))
				s.serve(f.answer)
				flags := append([]string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, noise(i)...)
				r := hold(t, flags, []string{"sh", "-c", held})
				s.awaitHits(max(2, f.hits)) // one of them during the run
				r.finish()
				r.noEngine(f.want)
				r.checkQuiet(flags)
				return r
			})
		}
	}
	sideBySide(t, cases)
}

// An engine that answers wrongly from some time on: its last good page counts,
// nothing that came after it does, and the event says what happened.
func TestFaultAtTheEnd(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T){}
	for i, f := range faults() {
		cases[f.name] = func(t *testing.T) {
			tryThrice(t, func(t *testing.T) *heldRun {
				s := newStage(t, recorded(t, "serve_default_pre"))
				flags := append([]string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, noise(i+1)...)
				r := hold(t, flags, []string{"sh", "-c", held})
				s.set(recorded(t, "serve_default_post"))
				s.awaitTaken()
				s.serve(f.answer)
				s.awaitHits(max(1, f.hits))
				r.finish()
				r.exactly(recordedRun)
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
	sideBySide(t, cases)
}

// More than vobs reads, or without an end: its memory stays as it is (finish
// checks it), and the bounds in time hold.
func TestFlood(t *testing.T) {
	t.Parallel()
	for _, f := range floods(t) {
		t.Run(f.name, func(t *testing.T) {
			tryThrice(t, func(t *testing.T) *heldRun {
				s := newStage(t, "")
				s.serve(f.answer)
				flags := []string{"-v", "--metrics-url", s.listen()}
				r := hold(t, flags, []string{"sh", "-c", held})
				r.finish()
				// The one or the other bound comes first.
				want := f.want
				if strings.Contains(r.reason("engine"), "in time") {
					want = "in time"
				}
				r.noEngine(want)
				t.Logf("start %v, exit %v, %d MiB: %s", r.startup, r.exit, *r.event.Overhead.MaxRSSBytes>>20, r.reason("engine"))
				return r
			})
		})
	}
	// An engine that takes to it: the last good page counts.
	t.Run("at the end", func(t *testing.T) {
		tryThrice(t, func(t *testing.T) *heldRun {
			s := newStage(t, recorded(t, "serve_default_pre"))
			r := hold(t, []string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, []string{"sh", "-c", held})
			s.set(recorded(t, "serve_default_post"))
			s.awaitTaken()
			s.serve(floods(t)[0].answer)
			s.awaitHits(1)
			r.finish()
			r.exactly(recordedRun)
			if got := r.doubt("final_reading_lost"); r.slow == "" && !strings.Contains(got, "the page is larger than 64 MiB") && !strings.Contains(got, "timed out: an incomplete response of") {
				t.Errorf("validity %s", asJSON(r.event.Validity))
			}
			return r
		})
	})
}

// Odd servers that can be read: every figure is right and nothing is in doubt.
func TestOddAndRight(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T){}
	for i, o := range oddities(t) {
		cases[o.name] = func(t *testing.T) {
			tryThrice(t, func(t *testing.T) *heldRun {
				s := newStage(t, recorded(t, "serve_default_pre"))
				s.wrap, s.prepare, s.tls = o.wrap, o.prepare, o.tls
				flags := slices.Concat([]string{"--scrape-interval", "20ms", "--metrics-url", s.listen()}, noise(i), o.flags)
				if o.ca {
					flags = append(flags, "--metrics-ca", s.caFile())
				}
				r := hold(t, flags, []string{"sh", "-c", held})
				s.awaitTaken()
				s.set(recorded(t, "serve_default_post"))
				s.awaitTaken()
				r.finish()
				r.exactly(recordedRun)
				if r.slow != "" {
					return r
				}
				r.wellMeasured("scraped")
				if bytes.Contains(r.raw, []byte(secret)) || strings.Contains(r.stderr.String(), secret) {
					t.Errorf("the header's value is told: %s %s", r.raw, r.stderr.String())
				}
				r.checkQuiet(flags)
				return r
			})
		}
	}
	sideBySide(t, cases)
}

// What the server needs is missing, and the reason names the flag that gives it.
func TestLockedOut(t *testing.T) {
	t.Parallel()
	const noCA = "give the CA that signed it with --metrics-ca"
	cases := map[string]func(*testing.T){}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, s *stage)
		flags   func(t *testing.T, address string) []string
		want    string
	}{
		{"no header", func(_ *testing.T, s *stage) { s.wrap = needsHeader }, nil, "401 Unauthorized: give its credentials with --metrics-header"},
		{"another header", func(_ *testing.T, s *stage) { s.wrap = needsHeader }, func(_ *testing.T, address string) []string {
			return []string{"--metrics-url", address, "--metrics-header", "X-Key: not-" + secret}
		}, "401 Unauthorized: give its credentials with --metrics-header"},
		// A server on this host is not verified without the flag; one on another is.
		{"no CA", func(t *testing.T, s *stage) { s.tls, s.host = true, outsideAddress(t) }, nil, noCA},
		{"another CA", func(_ *testing.T, s *stage) { s.tls = true }, func(t *testing.T, address string) []string {
			other := newStage(t, "")
			other.tls = true
			other.listen()
			return []string{"--metrics-url", address, "--metrics-ca", other.caFile()}
		}, noCA},
		{"http for https", func(_ *testing.T, s *stage) { s.tls = true }, func(_ *testing.T, address string) []string {
			return []string{"--metrics-url", strings.Replace(address, "https", "http", 1)}
		}, "the server answers 400 Bad Request"},
		{"https for http", func(*testing.T, *stage) {}, func(_ *testing.T, address string) []string {
			return []string{"--metrics-url", strings.Replace(address, "http", "https", 1)}
		}, "the server does not speak TLS: use http://"},
	} {
		cases[c.name] = func(t *testing.T) {
			tryThrice(t, func(t *testing.T) *heldRun {
				s := newStage(t, recorded(t, "serve_default_pre"))
				c.prepare(t, s)
				flags := []string{"--metrics-url", s.listen()}
				if c.flags != nil {
					flags = c.flags(t, s.server.URL)
				}
				r := hold(t, append(flags, "--scrape-interval", "20ms"), []string{"sh", "-c", held})
				s.awaitAsked(3)
				r.finish()
				r.noEngine(c.want)
				if bytes.Contains(r.raw, []byte(secret)) || strings.Contains(r.stderr.String(), secret) {
					t.Errorf("the header's value is told: %s %s", r.raw, r.stderr.String())
				}
				return r
			})
		}
	}
	sideBySide(t, cases)
}
