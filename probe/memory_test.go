package probe

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/probe/window"
)

// Memory does not grow over ten hours of polls, twice a second, with every tenth of a full
// page and requests that come and go.
func TestTenHoursOfPolls(t *testing.T) {
	p := New(Config{})
	p.Add(target(t, "http://127.0.0.1:1"))
	e := p.endpoints[0]
	var pages [2]exposition.Page
	for i, text := range []string{testkit.Recorded(t, "serve_default_pre"), underLoad(t)} {
		if err := exposition.NewParser(metrics.IsWanted).Parse([]byte(text), &pages[i]); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	p.started = now
	poll := func(times int) {
		for i := range times {
			e.page = pages[i/20%2]
			now = now.Add(500 * time.Millisecond)
			if _, err := e.ingest(now, scrape.Response{Latency: time.Millisecond}, i%10 == 0, phaseDuring); err != nil {
				t.Fatal(err)
			}
			e.schedule.Record(scrape.Poll{Began: now, Latency: time.Millisecond, Full: i%10 == 0})
			e.schedule.Next(now, scrape.TargetStatus{Up: true})
		}
	}
	hour := testkit.Scale(7200, 720) // in short, the bound below is 5 bytes for each poll
	if testkit.RaceEnabled {
		hour = 400 // a poll costs ten times as much then
	}
	poll(hour)
	before := testkit.Heap()
	poll(9 * hour)
	if after := testkit.Heap(); after > before+32<<10 {
		t.Errorf("after one hour %d bytes were reachable, after ten %d", before, after)
	}
	if e.count != int64(10*hour) {
		t.Errorf("%d readings", e.count)
	}
}

// Memory does not grow with 64 engines either, parsing included. The time is short, because
// a page has 23 000 lines.
func TestMemoryOfManyEngines(t *testing.T) {
	pages := [2][]byte{[]byte(manyEngines(testkit.Recorded(t, "serve_default_pre"), 64)), []byte(manyEngines(testkit.Recorded(t, "serve_default_post"), 64))}
	filtered := []byte(filteredPage(string(pages[1])))
	p := New(Config{})
	p.Add(target(t, "http://127.0.0.1:1"))
	e, now := p.endpoints[0], time.Now()
	p.started = now
	poll := func(times int) {
		for i := range times {
			now = now.Add(500 * time.Millisecond)
			if i%10 != 0 {
				readPage(t, e, bytes.NewReader(filtered), now, false)
			} else {
				readPage(t, e, bytes.NewReader(pages[min(int(e.count), 1)]), now, true)
			}
		}
	}
	poll(22)
	before := testkit.Heap()
	poll(80)
	if after := testkit.Heap(); after > before+64<<10 {
		t.Errorf("after 22 readings %d bytes were reachable, after 102 %d", before, after)
	}
	_, bytes := e.counters.Size()
	if g := len(e.counters.Metrics()); g < 64*20 || bytes > window.MaxLabelBytes/4 {
		t.Errorf("%d groups, %d bytes of labels", g, bytes)
	}
}

// tenHoursOfPolls are those of `auto`.
const tenHoursOfPolls = 72000

// ingestPolls feeds polls pages to an endpoint without a server, at the intervals of
// `auto`, every tenth a full page.
func ingestPolls(t *testing.T, e *endpoint, polls int, page func(i int) string) {
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
		if _, err := e.ingest(at, scrape.Response{Latency: time.Millisecond}, full, phaseDuring); err != nil {
			t.Fatal(err)
		}
		e.schedule.Record(scrape.Poll{Began: at, Latency: time.Millisecond, Full: full})
		e.p.mu.Unlock()
	}
}

// Ten hours of polls hold no more memory than ten minutes: with load that comes and goes,
// restarts, and labels that change all the time.
func TestMemoryDoesNotGrow(t *testing.T) {
	// In short: two hours, so that window.MaxSeries is reached.
	polls := testkit.Scale(tenHoursOfPolls, tenHoursOfPolls/5)
	if testkit.RaceEnabled {
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
		"labels that change all the time": {func(i int) string {
			return basic(i, func(b *strings.Builder) {
				for k := range 6 {
					line(b, "vllm:request_success_total", fmt.Sprintf(",finished_reason=\"%d-%d\"", i, k), 1)
				}
			})
		}, 80 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			keep := func(n int) (bytes int64, e *endpoint) {
				before := int64(testkit.Heap())
				p := New(Config{})
				defer p.cancel()
				p.Add(target(t, "http://127.0.0.1:1"))
				e = p.endpoints[0]
				ingestPolls(t, e, n, c.page)
				bytes = int64(testkit.Heap()) - before
				runtime.KeepAlive(p)
				return bytes, e
			}
			short, _ := keep(polls / 60)
			long, e := keep(polls)
			t.Logf("%d polls keep %d KiB, %d keep %d KiB", polls/60, short>>10, polls, long>>10)
			if long-short > c.most {
				t.Errorf("%d polls keep %d KiB, %d keep %d KiB", polls, long>>10, polls/60, short>>10)
			}
			if n, _ := e.counters.Size(); n > window.MaxSeries {
				t.Errorf("%d series", n)
			}
			if n := e.p.active[e.target.Origin].Spans(); n > window.MaxOpenSpans {
				t.Errorf("%d intervals", n)
			}
			if seconds := e.p.active[e.target.Origin].Seconds(); seconds < 0.4*float64(polls)/2 || seconds > float64(polls)/2 {
				t.Errorf("active for %v s of %d s", seconds, polls/2)
			}
		})
	}
}

// Reading 64 MiB of a flood needs little memory.
func TestFloodNeedsLittleMemory(t *testing.T) {
	for _, f := range faults() {
		if f.name != "gzip bomb" && f.name != "503 without end" {
			continue
		}
		engine, server := newFaulty(t, "")
		engine.setFault(f.handler)
		cfg := Config{}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := Check(context.Background(), cfg, target(t, server.URL))
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 16<<20 {
			t.Errorf("%s: %d KiB were allocated; %v", f.name, got>>10, err)
		}
	}
}
