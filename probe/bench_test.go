package probe

import (
	"bufio"
	"context"
	"fmt"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cannedServer answers every request on kept connections with ready bytes: it
// allocates nothing for a request, so that a benchmark counts the asking side.
func cannedServer(b *testing.B, full, filtered string) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	answer := func(page string) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 23:23:55 GMT\r\nserver: uvicorn\r\ncontent-length: %d\r\ncontent-type: text/plain; version=1.0.0; charset=utf-8\r\n\r\n%s", len(page), page)
	}
	fullAnswer, filteredAnswer := answer(full), answer(filtered)
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
					out := fullAnswer
					if strings.Contains(string(line), "name") { // does not escape: no allocation
						out = filteredAnswer
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

// filteredPage is what prometheus_client answers when asked for PollNames.
func filteredPage(page string) string {
	var out strings.Builder
	for line := range strings.Lines(page) {
		for _, name := range metrics.PollNames {
			if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
				out.WriteString(line)
			}
		}
	}
	return out.String()
}

// BenchmarkPoll is one poll, from the request to the books, over a kept
// connection of the loopback device. cpu-µs/op has the canned server in it.
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
				if _, err := e.read(context.Background(), full, during); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if _, err := e.read(context.Background(), c.full, during); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpuTime is the process's user and system time.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
