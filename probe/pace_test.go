package probe

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/exposition"
)

// plan follows the polls of an engine over a time on a clock of its own. cost
// gives each request's wall time and whether it fails.
type planned struct {
	spent, elapsed time.Duration
	filtered, full int
	// oldest is the greatest age of the last good full page, longestGap the
	// longest time between two good polls.
	oldest, longestGap time.Duration
	worst              float64 // the greatest share of the time that was spent, the last request left out
}

func simulate(p *pace, length time.Duration, drained bool, cost func(at time.Duration, full bool) (wall time.Duration, failed bool)) (r planned) {
	start := time.Unix(1e9, 0)
	now := start
	p.at = start
	full := p.filter == filterRefused
	goodFull, good := start, start
	for now.Sub(start) < length {
		if now.After(start) {
			r.worst = max(r.worst, float64(r.spent)/float64(now.Sub(start)))
		}
		wall, failed := cost(now.Sub(start), full)
		if !full && !failed && p.filter == filterUntried {
			p.filter = filterWorks
		}
		p.asked(now, wall, full, failed)
		r.spent += wall
		now = now.Add(wall)
		if !failed {
			r.longestGap, good = max(r.longestGap, now.Sub(good)), now
		}
		if full {
			r.full++
			if !failed {
				goodFull = now
			}
		} else {
			r.filtered++
		}
		var wait time.Duration
		wait, full = p.next(now, standing{up: true, drained: drained && !full})
		now = now.Add(wait)
		r.oldest = max(r.oldest, now.Sub(goodFull))
	}
	r.elapsed = now.Sub(start)
	return r
}

// What the polls cost the server stays within 1 % of its time, over ten hours,
// whatever a request costs.
func TestPlanKeepsTheBudget(t *testing.T) {
	const ms = time.Millisecond
	steady := func(filtered, full time.Duration) func(time.Duration, bool) (time.Duration, bool) {
		return func(_ time.Duration, isFull bool) (time.Duration, bool) {
			if isFull {
				return full, false
			}
			return filtered, false
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name    string
		filter  filterState
		drained bool
		cost    func(time.Duration, bool) (time.Duration, bool)
		oldest  time.Duration // of the last good full page, at most
		gap     time.Duration // between two good polls, at most
	}{
		{"cheap", filterUntried, false, steady(1*ms, 9*ms), 7 * time.Second, 2 * time.Second},
		{"cheap, drained time and again", filterUntried, true, steady(1*ms, 9*ms), 7 * time.Second, 2 * time.Second},
		{"dear filtered polls", filterUntried, false, steady(10*ms, 50*ms), 20 * time.Second, 8 * time.Second},
		{"dear full pages", filterUntried, false, steady(1*ms, 800*ms), 4 * time.Minute, 90 * time.Second},
		{"slow", filterUntried, false, steady(800*ms, 800*ms), 8 * time.Minute, 3 * time.Minute},
		{"full pages alone", filterRefused, false, steady(0, 9*ms), 2 * time.Second, 2 * time.Second},
		{"slow full pages alone", filterRefused, false, steady(0, 800*ms), 82 * time.Second, 82 * time.Second},
		{"hiccups", filterUntried, false, func(_ time.Duration, full bool) (time.Duration, bool) {
			if random.IntN(1000) == 0 {
				return 2 * time.Second, true
			}
			return steady(1*ms, 9*ms)(0, full)
		}, 10 * time.Minute, 10 * time.Minute},
		{"uneven", filterUntried, false, func(time.Duration, bool) (time.Duration, bool) {
			return time.Duration(random.ExpFloat64() * float64(20*ms)), false
		}, 10 * time.Minute, 10 * time.Minute},
		{"hangs", filterUntried, false, func(time.Duration, bool) (time.Duration, bool) { return 2 * time.Second, true }, 11 * time.Hour, 11 * time.Hour},
		{"grows slow", filterUntried, false, func(at time.Duration, full bool) (time.Duration, bool) {
			return steady(1*ms+at/10000, 9*ms+at/10000)(at, full)
		}, time.Hour, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &pace{filter: c.filter}
			length := 10 * time.Hour
			if raceEnabled {
				length /= 4
			}
			r := simulate(p, length, c.drained, c.cost)
			t.Logf("%d filtered, %d full; spent %.3f %%, at worst %.3f %%; the last page at most %v old, polls at most %v apart", r.filtered, r.full, 100*float64(r.spent)/float64(r.elapsed), 100*r.worst, r.oldest, r.longestGap)
			// The first request is there before there was time to spend anything of.
			if share := float64(r.spent) / float64(r.elapsed); share > 0.01 || r.worst > 0.0101 {
				t.Errorf("%.3f %% of the server's time, at worst %.3f %%", 100*share, 100*r.worst)
			}
			if r.oldest > c.oldest || r.longestGap > c.gap {
				t.Errorf("the last good page is up to %v old, the polls %v apart", r.oldest, r.longestGap)
			}
			if r.filtered+r.full < 40 {
				t.Errorf("%d polls in all that time", r.filtered+r.full)
			}
		})
	}
}

func TestPlanOfTheUnproven(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := &pace{}
	if wait, full := p.next(now, standing{stranger: true}); wait != strangerInterval || !full {
		t.Errorf("a stranger: %v %v", wait, full)
	}
	p.asked(now, 100*time.Microsecond, true, true)
	if wait, full := p.next(now, standing{}); wait != minInterval || !full {
		t.Errorf("nobody listens: %v %v", wait, full)
	}
	p.asked(now, 2*time.Second, true, true)
	if wait, full := p.next(now, standing{}); wait != downInterval || !full {
		t.Errorf("it hangs: %v %v", wait, full)
	}
	p.interval = 100 * time.Millisecond
	if wait, _ := p.next(now, standing{up: true}); wait != p.interval {
		t.Errorf("the user's interval: %v", wait)
	}
}

// tenHoursOfPolls are those of `auto`.
const tenHoursOfPolls = 72000

// tenHours gives an endpoint the pages of ten hours, without a server: each is a
// poll as auto makes them, every tenth a full page.
func tenHours(t *testing.T, e *endpoint, polls int, page func(i int) string) {
	t.Helper()
	start := time.Unix(1.8e9, 0)
	e.p.started = start
	for i := range polls {
		full := i%10 == 0
		if err := e.parser.ParseReader(strings.NewReader(page(i)), &e.page); err != nil {
			t.Fatal(err)
		}
		at := start.Add(time.Duration(i) * 500 * time.Millisecond)
		e.p.mu.Lock()
		if _, err := e.take(at, answer{wall: time.Millisecond}, full, during); err != nil {
			t.Fatal(err)
		}
		e.pace.asked(at, time.Millisecond, full, false)
		e.p.mu.Unlock()
	}
}

// Ten hours of polls keep no more than ten minutes of them: load that comes and
// goes, restarts, and labels that change for ever.
func TestMemoryDoesNotGrow(t *testing.T) {
	// In short: two hours, for maxSeries to be reached.
	polls := testkit.Scale(tenHoursOfPolls, tenHoursOfPolls/5)
	if raceEnabled {
		polls = tenHoursOfPolls / 20 // half an hour will do
	}
	most := testkit.Scale[int64](200<<10, 100<<10) // 8 bytes for each poll exceed it
	line := func(b *strings.Builder, name, labels string, value int) {
		fmt.Fprintf(b, "%s{engine=\"0\",model_name=\"tiny\"%s} %d\n", name, labels, value)
	}
	basic := func(i int, more func(b *strings.Builder)) string {
		var b strings.Builder
		line(&b, "vllm:kv_cache_usage_perc", "", i/2%2)
		line(&b, "vllm:num_requests_running", "", i/2%2)
		line(&b, "vllm:generation_tokens_total", "", i/4*4)
		if i%10 == 0 {
			line(&b, "vllm:e2e_request_latency_seconds_bucket", `,le="+Inf"`, i)
			line(&b, "vllm:e2e_request_latency_seconds_count", "", i)
		}
		more(&b)
		return b.String()
	}
	for name, c := range map[string]struct {
		page func(i int) string
		most int64 // bytes that more time may keep
	}{
		"load comes and goes": {func(i int) string { return basic(i, func(*strings.Builder) {}) }, most},
		"restarts": {func(i int) string {
			return basic(i%5000, func(b *strings.Builder) { fmt.Fprintf(b, "process_start_time_seconds %d\n", 1_700_000_000+i/5000) })
		}, most},
		"labels that change for ever": {func(i int) string {
			return basic(i, func(b *strings.Builder) {
				for k := range 6 {
					line(b, "vllm:request_success_total", fmt.Sprintf(",finished_reason=\"%d-%d\"", i, k), 1)
				}
			})
		}, 80 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			keep := func(n int) (bytes int64, e *endpoint) {
				before := heapInUse()
				p := New(Config{})
				defer p.cancel()
				p.Add(target(t, "http://127.0.0.1:1"))
				e = p.endpoints[0]
				tenHours(t, e, n, c.page)
				bytes = heapInUse() - before
				runtime.KeepAlive(p)
				return bytes, e
			}
			short, _ := keep(polls / 60)
			long, e := keep(polls)
			t.Logf("%d polls keep %d KiB, %d keep %d KiB", polls/60, short>>10, polls, long>>10)
			if long-short > c.most {
				t.Errorf("%d polls keep %d KiB, %d keep %d KiB", polls, long>>10, polls/60, short>>10)
			}
			if n := len(e.ledger.series); n > maxSeries {
				t.Errorf("%d series", n)
			}
			if n := len(e.p.activity[e.target.Origin].open); n > maxOpenSpans {
				t.Errorf("%d intervals", n)
			}
			if seconds := e.p.activity[e.target.Origin].seconds(); seconds < 0.4*float64(polls)/2 || seconds > float64(polls)/2 {
				t.Errorf("active for %v s of %d", seconds, polls/2)
			}
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A flood of 64 MiB passes through a small room.
func TestFloodCostsNoMemory(t *testing.T) {
	for _, f := range faults() {
		if f.name != "gzip bomb" && f.name != "503 without end" {
			continue
		}
		engine, server := newFaulty(t, "")
		engine.serve(f.answer)
		cfg := Config{}
		var before, behind runtime.MemStats
		runtime.ReadMemStats(&before)
		err := Check(context.Background(), cfg, target(t, server.URL))
		runtime.ReadMemStats(&behind)
		if got := behind.TotalAlloc - before.TotalAlloc; err == nil || got > 16<<20 {
			t.Errorf("%s: %d KiB were allocated; %v", f.name, got>>10, err)
		}
	}
}

// A page of the same series again allocates nothing in the books.
func TestBooksAllocateNothing(t *testing.T) {
	body := recording(t, "serve_default_post")
	if raceEnabled {
		t.Skip("the race detector allocates on its own")
	}
	l, g := newLedger(), newGauges()
	parser, page := exposition.NewParser(isWanted), exposition.Page{}
	at := time.Unix(1e9, 0)
	poll := func() {
		if err := parser.Parse([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		l.open(&page, true)
		g.add(0, at, l.apply(&page, true, false).gauges, true, true, false)
	}
	poll()
	if n := testing.AllocsPerRun(20, poll); n > 3 {
		t.Errorf("a poll allocates %v times", n)
	}
}

// The body of a page that a server begins to send and never ends must not be
// waited for by the one who ends the run.
func TestFinishDuringAPoll(t *testing.T) {
	engine, server := newFaulty(t, recording(t, "serve_default_pre"))
	p := New(quick)
	p.Add(target(t, server.URL))
	p.Base(context.Background())
	p.Start(time.Now())
	engine.await("filtered", 1)
	engine.serve(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		<-r.Context().Done()
	})
	engine.awaitHits(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // INT ends the settling
	within(t, "Finish", 0, func() {
		if report := p.Finish(ctx, time.Now()); report.Engine == nil || report.Engine.Window.Final != "last_good" {
			t.Errorf("%+v", report.Notes)
		}
	})
}

// Seen with a real vLLM: the first page of a fresh server takes 100 ms and more,
// everything being cold, and a script ends the server soon after its last request.
// The page that has the whole figures must be read before.
func TestDrainedAfterAColdStart(t *testing.T) {
	p := pace{credit: firstCredit}
	now := time.Unix(1000, 0)
	p.asked(now, 120*time.Millisecond, true, false)
	now = now.Add(120 * time.Millisecond)
	p.filter = filterWorks
	for load := now.Add(10 * time.Second); now.Before(load); { // under load a filtered poll takes 5 ms
		wait, full := p.next(now, standing{up: true})
		now = now.Add(wait)
		wall := 5 * time.Millisecond
		if full {
			wall = 12 * time.Millisecond
		}
		p.asked(now, wall, full, false)
		now = now.Add(wall)
	}
	if wait, full := p.next(now, standing{up: true, drained: true}); !full || wait > 2*time.Second {
		t.Errorf("drained: full page %v after %v", full, wait)
	}
	if p.full.n < 2 {
		t.Errorf("%d full pages in 10 s of load: a last good one would be old", p.full.n)
	}
}

// Cheap full pages come often, so that a recent one exists if the server goes away;
// dear ones every five seconds at most.
func TestFullPagesByCost(t *testing.T) {
	for cost, want := range map[time.Duration]time.Duration{
		time.Millisecond:       time.Second,
		5 * time.Millisecond:   time.Second,
		10 * time.Millisecond:  2 * time.Second,
		20 * time.Millisecond:  4 * time.Second,
		100 * time.Millisecond: 5 * time.Second,
	} {
		began := time.Unix(1e9, 0)
		p := pace{filter: filterWorks, credit: maxCredit, at: began, fullAt: began}
		for range knownPages {
			p.full.add(cost)
		}
		if p.nextFull(began.Add(want-time.Millisecond), standing{up: true}) || !p.nextFull(began.Add(want), standing{up: true}) {
			t.Errorf("a page of %v is not read every %v", cost, want)
		}
	}
}

// What vobs has overspent puts polls off, but no longer than they are worth: a small
// page is read ten times a second for 0.2 % of a core, one of 2 MB every three seconds.
func TestOwnBudgetPutsPollsOff(t *testing.T) {
	p := New(Config{Wait: func() time.Duration { return 4 * time.Second }})
	defer p.cancel()
	target, err := ParseTarget("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	p.Add(target)
	e := p.endpoints[0]
	e.up, e.pace.filter, e.pace.fullAt = true, filterWorks, time.Now()
	for bytes, want := range map[int64]time.Duration{0: minInterval, 1000: minInterval, 50_000: minInterval, 2 << 20: 3 * time.Second, 1 << 30: 4 * time.Second} {
		e.bytes = bytes
		if wait, _ := e.plan(); wait < want || wait > want+500*time.Millisecond {
			t.Errorf("after an answer of %d bytes the next poll waits %v, want %v and up to two beats", bytes, wait, want)
		}
	}
}
