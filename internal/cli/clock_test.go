package cli

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/demo"
	"github.com/vobs/vobs/schema"
)

// A clock replaces the time of the Go programs under test: see testdata/clock.
type clock struct {
	library, file           string
	wall, monotonic, frozen int64 // nanoseconds
}

// newClock returns one that still shows the true time.
func newClock(t *testing.T) *clock {
	t.Helper()
	if !cgo {
		t.Skip("SKIPPED: needs cgo: a static program preloads nothing")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("SKIPPED: the clock needs gcc: install it (apt-get install gcc libc6-dev)")
	}
	dir := t.TempDir()
	c := &clock{library: filepath.Join(dir, "clock.so"), file: filepath.Join(dir, "clock")}
	if out, err := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", c.library, "testdata/clock/clock.c").CombinedOutput(); err != nil {
		t.Fatalf("building the clock: %v\n%s", err, out)
	}
	c.write(t)
	return c
}

func (c *clock) write(t *testing.T) {
	t.Helper()
	var text []byte
	for _, v := range []int64{c.wall, c.monotonic, c.frozen} {
		text = binary.NativeEndian.AppendUint64(text, uint64(v))
	}
	// In place, and never shorter: the programs have it mapped.
	f, err := os.OpenFile(c.file, os.O_WRONLY|os.O_CREATE, 0o666)
	if err == nil {
		_, err = f.WriteAt(text, 0)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// drive makes the process use this clock.
func (c *clock) drive(p *process) {
	p.Env = append(p.Env, "LD_PRELOAD="+c.library, "VOBS_TEST_CLOCK="+c.file)
}

// jump sets the wall clock.
func (c *clock) jump(t *testing.T, by time.Duration) {
	t.Helper()
	c.wall += int64(by)
	c.write(t)
}

// pass advances both clocks at once.
func (c *clock) pass(t *testing.T, d time.Duration) {
	t.Helper()
	c.wall += int64(d)
	c.monotonic += int64(d)
	c.write(t)
}

// freeze stops the monotonic clock.
func (c *clock) freeze(t *testing.T) {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	c.frozen = now.Nano() + c.monotonic
	c.write(t)
}

// untilGo is a command that ends with code 5 once the file go exists.
var untilGo = []string{"sh", "-c", ": >up; until [ -e go ]; do sleep 0.05; done; exit 5"}

// FILE.partial holds the partial event every 60 s, and is what remains if vobs is killed.
func TestPartialEveryMinute(t *testing.T) {
	t.Parallel()
	clock := newClock(t)
	p := prepare(t, append([]string{"vobs", "run", "-o", "e.json", "--"}, untilGo...)...)
	clock.drive(p)
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	p.waitFile(t, "up")
	partial := filepath.Join(p.Dir, "e.json.partial")
	passed := 0.0 // seconds
	for minute := 1.0; minute <= 2; minute++ {
		// In steps: the first minute may begin a little after the command did, and a file
		// that appears too early is noticed.
		there := false
		for deadline := time.Now().Add(patience); !there; {
			if time.Now().After(deadline) {
				t.Fatalf("no partial event after %v s; vobs said:\n%s", passed, &p.output)
			}
			clock.pass(t, 20*time.Second)
			passed += 20
			for wait := time.Now().Add(200 * time.Millisecond); !there && time.Now().Before(wait); time.Sleep(5 * time.Millisecond) {
				_, err := os.Stat(partial)
				there = err == nil
			}
		}
		e := p.event(t, "e.json.partial")
		wantRun(t, e, "nothing", false)
		if d := float64(e.Run.DurationSeconds); !e.Partial || d < 60*minute || d > passed+patience.Seconds() {
			t.Errorf("number %v: partial %v, after %v s", minute, e.Partial, d)
		}
		if minute == 1 {
			if err := os.Remove(partial); err != nil { // to see the next one
				t.Fatal(err)
			}
		}
	}
	p.send(t, syscall.SIGKILL)
	if got := p.finish(t); got != "SIGKILL" {
		t.Errorf("vobs ended with %s", got)
	}
	p.touch(t, "go") // the command outlived it
	if e := p.event(t, "e.json.partial"); !e.Partial {
		t.Error("what stays does not say that it is partial")
	}
	if _, err := os.Stat(filepath.Join(p.Dir, "e.json")); err == nil {
		t.Error("there is a whole event of a vobs that was killed")
	}
}

// Setting the wall clock during the run changes no duration, and keeps the times of an
// event consistent.
func TestClockJumps(t *testing.T) {
	for name, by := range map[string]time.Duration{"back": -26 * time.Hour, "forward": 1000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newClock(t)
			const ahead = 5 * 365 * 24 * time.Hour // shows that the clock is ours
			clock.wall = int64(ahead)
			clock.write(t)
			p := prepare(t, append([]string{"vobs", "run", "-o", "e.json", "--"}, untilGo...)...)
			clock.drive(p)
			before := time.Now()
			if err := p.launch(t); err != nil {
				t.Fatal(err)
			}
			p.waitFile(t, "up")
			clock.jump(t, by)
			p.touch(t, "go")
			if got := p.finish(t); got != "5" {
				t.Errorf("vobs ended with %s", got)
			}
			lasted := time.Since(before)
			e := p.event(t, "e.json")
			wantTimes(t, e, before.Add(ahead), lasted)
			if got := doubts(e, schema.CodeClockJump); len(got) != 1 || !strings.Contains(got[0], name+" by ") {
				t.Errorf("clock_jump: %q", got)
			}
		})
	}
}

// wantTimes compares an event's times with those that the test took around the run.
func wantTimes(t *testing.T, e schema.GenerationObservability, from time.Time, lasted time.Duration) {
	t.Helper()
	started, err := time.Parse(time.RFC3339, e.Run.StartedAt)
	if err != nil || !strings.HasSuffix(e.Run.StartedAt, "Z") {
		t.Fatalf("started at %q: %v", e.Run.StartedAt, err)
	}
	if started.Before(from.Add(-time.Second)) || started.After(from.Add(lasted+time.Second)) {
		t.Errorf("started at %v, which is not within %v after %v", started, lasted, from)
	}
	if e.Run.EndedAt == nil {
		t.Fatal("no end")
	}
	ended, err := time.Parse(time.RFC3339, *e.Run.EndedAt)
	if err != nil {
		t.Fatal(err)
	}
	d := time.Duration(float64(e.Run.DurationSeconds) * float64(time.Second))
	if d <= 0 || d > lasted {
		t.Errorf("the command took %v, the whole run %v", d, lasted)
	}
	if diff := ended.Sub(started) - d; diff.Abs() > 2*time.Millisecond {
		t.Errorf("from %s to %s is not %v", e.Run.StartedAt, *e.Run.EndedAt, d)
	}
	if e.Host == nil || e.Host.Sampling == nil {
		t.Fatal("the host was not sampled")
	}
	for name, gap := range map[string]*schema.Float{"period": e.Host.Sampling.PeriodSeconds, "gap": e.Host.Sampling.MaxGapSeconds} {
		if gap != nil && (*gap < 0 || float64(*gap) > lasted.Seconds()) {
			t.Errorf("the host's sampling %s is %v s in a run of %v", name, *gap, lasted)
		}
	}
}

// What is counted and timed while the wall clock is set back by a day is what the client
// counted: the engine uses the true clock, like one on another host.
func TestClockJumpsOverAnEngine(t *testing.T) {
	t.Parallel()
	clock := newClock(t)
	server := prepare(t, "vllm", "serve", "a-model", "--ready", "ready")
	if err := server.launch(t); err != nil {
		t.Fatal(err)
	}
	server.waitFile(t, "ready")
	address, err := os.ReadFile(filepath.Join(server.Dir, "ready"))
	if err != nil {
		t.Fatal(err)
	}
	p := prepare(t, "vobs", "run", "-o", "e.json", "--scrape-interval", "50ms", "--metrics-url", string(address), "--",
		"sh", "-c", ": >up; until [ -e go ]; do sleep 0.05; done; exec client -totals totals "+string(address))
	clock.drive(p)
	before := time.Now()
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	p.waitFile(t, "up")
	clock.jump(t, -24*time.Hour)
	p.touch(t, "go")
	p.waitFile(t, "totals")
	clock.jump(t, 48*time.Hour)
	if got := p.finish(t); got != "0" {
		t.Fatalf("vobs ended with %s; it said:\n%s", got, &p.output)
	}
	lasted := time.Since(before)
	e := p.event(t, "e.json")
	wantTimes(t, e, before, lasted)
	text, err := os.ReadFile(filepath.Join(p.Dir, "totals"))
	if err != nil {
		t.Fatal(err)
	}
	var want demo.Totals
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if problems := compareTotals(&e, want); len(problems) > 0 {
		t.Error(strings.Join(problems, "\n"))
	}
	if w := e.Engine.Window; w == nil || w.DurationSeconds <= 0 || float64(w.DurationSeconds) > lasted.Seconds() {
		t.Errorf("the window: %+v, the whole run took %v", w, lasted)
	}
}
