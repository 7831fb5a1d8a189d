package probe

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/scrape"
)

// cannedServer serves fixed bytes on kept connections. It allocates nothing for a
// request, so that a benchmark counts the client's allocations only.
func cannedServer(b *testing.B, full, filtered string) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	response := func(page string) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 23:23:55 GMT\r\nserver: uvicorn\r\ncontent-length: %d\r\ncontent-type: text/plain; version=1.0.0; charset=utf-8\r\n\r\n%s", len(page), page)
	}
	fullResponse, filteredResponse := response(full), response(filtered)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						return
					}
					out := fullResponse
					if strings.Contains(string(line), "name") { // does not escape: no allocation
						out = filteredResponse
					}
					for len(line) > 2 {
						if line, err = r.ReadSlice('\n'); err != nil {
							return
						}
					}
					if _, err := conn.Write(out); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

// BenchmarkPoll measures one poll, from the request to the counters, over a kept loopback
// connection. cpu-µs/op includes the canned server.
func BenchmarkPoll(b *testing.B) {
	page := testkit.Recorded(b, "serve_default_post")
	address := cannedServer(b, page, filteredPage(page))
	for _, c := range []struct {
		name string
		full bool
	}{{"full", true}, {"filtered", false}} {
		b.Run(c.name, func(b *testing.B) {
			p := New(Config{})
			p.Add(target(b, address))
			p.started = time.Now()
			e := p.endpoints[0]
			defer e.client.Close()
			for _, full := range []bool{true, false, true, false} {
				if _, err := e.read(context.Background(), full, phaseDuring); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if _, err := e.read(context.Background(), c.full, phaseDuring); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkReading measures reading a full page, from its bytes to the counters.
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
				readPage(b, e, body, now, true)
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

// BenchmarkFiles measures one reading of an engine's files, up to the counters: of the
// metrics that polls need, and of all.
func BenchmarkFiles(b *testing.B) {
	for name, full := range map[string]bool{"poll": false, "full": true} {
		b.Run(name, func(b *testing.B) {
			p := New(Config{})
			p.Add(Directory("multiproc/testdata/serve_dp2/db", true))
			e := p.endpoints[0]
			if _, err := e.read(context.Background(), true, phaseDuring); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.read(context.Background(), full, phaseDuring); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHour simulates an hour of readings of 64 engines twice a second, every tenth of
// a full page. It reports the reachable memory after the first minute and at the end, and
// the process's memory from the system.
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
			of := min(i, 1) // the load comes before the second reading
			if body := filtered[of]; i%10 != 0 {
				readPage(b, e, bytes.NewReader(body), now, false)
			} else {
				readPage(b, e, bytes.NewReader(pages[of]), now, true)
			}
			e.schedule.Record(scrape.Poll{Began: now, Latency: time.Millisecond, Full: i%10 == 0})
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

// readPage parses and ingests a page as an endpoint does, without HTTP.
func readPage(tb testing.TB, e *endpoint, page *bytes.Reader, at time.Time, full bool) {
	tb.Helper()
	if err := e.parse(page); err != nil {
		tb.Fatal(err)
	}
	if _, err := e.ingest(at, scrape.Response{Latency: time.Millisecond}, full, phaseDuring); err != nil {
		tb.Fatal(err)
	}
}

// cpuTime returns the process's user and system time.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
