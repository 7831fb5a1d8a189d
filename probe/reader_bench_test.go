package probe

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
)

// manyEngines makes a page of n engines of a page of one, in the order in which
// prometheus_client writes them: family for family, engine for engine.
func manyEngines(page string, n int) string {
	var out, block strings.Builder
	flush := func() {
		for e := range n {
			out.WriteString(strings.ReplaceAll(block.String(), `engine="0"`, fmt.Sprintf(`engine="%d"`, e)))
		}
		block.Reset()
	}
	for line := range strings.Lines(page) {
		if strings.Contains(line, `engine="0"`) {
			block.WriteString(line)
			continue
		}
		flush()
		out.WriteString(line)
	}
	flush()
	return out.String()
}

// reading takes in a page as an endpoint does, without the way there.
func reading(tb testing.TB, e *endpoint, page *bytes.Reader, at time.Time, full bool) {
	tb.Helper()
	if err := e.parse(page); err != nil {
		tb.Fatal(err)
	}
	if _, err := e.ingest(at, scrape.Response{Latency: time.Millisecond}, full, during); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkReading is what a reading of a full page costs, from its bytes to the books.
func BenchmarkReading(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("%dengines", n), func(b *testing.B) {
			page := []byte(manyEngines(testkit.Recorded(b, "serve_default_post"), n))
			p := New(Config{})
			p.Add(target(b, "http://127.0.0.1:1"))
			p.started = time.Now()
			e, body, now := p.endpoints[0], bytes.NewReader(nil), p.started
			step := func() {
				body.Reset(page)
				now = now.Add(500 * time.Millisecond)
				reading(b, e, body, now, true)
			}
			step()
			step()
			b.SetBytes(int64(len(page)))
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				step()
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N)/1e3, "cpu-ms/op")
		})
	}
}

// BenchmarkHour is an hour of readings of 64 engines twice a second, every tenth of a
// full page, on a clock of its own: what is reachable after its first minute and at its
// end, and how much the process has from the system.
func BenchmarkHour(b *testing.B) {
	if !testkit.Long() {
		b.Skip("SKIPPED: it takes minutes: make bench-long runs it")
	}
	var pages [2][]byte
	for i, name := range []string{"serve_default_pre", "serve_default_post"} {
		pages[i] = []byte(manyEngines(testkit.Recorded(b, name), 64))
	}
	filtered := [2][]byte{[]byte(filteredPage(string(pages[0]))), []byte(filteredPage(string(pages[1])))}
	for b.Loop() {
		p := New(Config{})
		p.Add(target(b, "http://127.0.0.1:1"))
		p.started = time.Now()
		e, now := p.endpoints[0], p.started
		minute := uint64(0)
		for i := range 7200 {
			now = now.Add(500 * time.Millisecond)
			of := min(i, 1) // the load was before the second
			if body := filtered[of]; i%10 != 0 {
				reading(b, e, bytes.NewReader(body), now, false)
			} else {
				reading(b, e, bytes.NewReader(pages[of]), now, true)
			}
			e.schedule.Record(now, time.Millisecond, i%10 == 0, false)
			e.schedule.Next(now, scrape.TargetStatus{Up: true})
			if i == 120 {
				minute = testkit.Heap()
			}
		}
		b.ReportMetric(float64(minute)/(1<<20), "MiB-1min")
		b.ReportMetric(float64(testkit.Heap())/(1<<20), "MiB-1h")
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.Sys-m.HeapReleased)/(1<<20), "MiB-sys")
		runtime.KeepAlive(p)
	}
}
