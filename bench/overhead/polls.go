//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/bench/internal/report"
	"github.com/vobs/vobs/bench/internal/venv"
)

// polls measures what polling an engine at work costs its server, and vobs itself, which reads
// a GPU and keeps every reading meanwhile.
func (b *bench) polls() error {
	python := venv.With(b.dir, "prometheus_client", "prometheus-client==0.23.1", "the polled server")
	if python == "" {
		return nil
	}
	server := exec.Command(python, "bench/server.py", "testdata/expositions/serve_default_during.prom")
	server.Stderr = os.Stderr
	end, err := server.StdinPipe()
	if err != nil {
		return err
	}
	out, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start %s: %w", python, err)
	}
	defer server.Wait() //nolint:errcheck // it ends when stdin does, and has nothing to report
	defer end.Close()
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("%s prints no port: %w", python, err)
	}
	address := "http://127.0.0.1:" + strings.TrimSpace(port)
	url := address + "/metrics"
	if err := get(url, 20); err != nil { // warms the server up
		return err
	}
	const length, otherLength = 60, 6 // seconds: vobs polls less often after a while
	before, alone := report.Load(), 0.0
	if r, err := run(b.env, []string{"/bin/sleep", "0.1"}, false); err == nil {
		alone = r.cpu
	}
	if err := os.WriteFile(b.dir+"/script", []byte("devices 1\nused 5GiB\n"), 0o600); err != nil {
		return err
	}
	rows := [][]string{{"", "server: share of one core", "itself", "period ms"}}
	measure := func(name string, length int, poll func() (own, period float64, err error)) (served, own float64, err error) {
		if err := get(fmt.Sprintf("%s/work?seconds=%d", address, length), 1); err != nil {
			return 0, 0, err
		}
		before, err := processCPU(server.Process.Pid)
		if err != nil {
			return 0, 0, err
		}
		start := time.Now()
		own, period, err := poll()
		if err != nil {
			return 0, 0, err
		}
		after, err := processCPU(server.Process.Pid)
		wall := time.Since(start).Seconds()
		served, own = 100*(after-before)/wall, 100*own/wall
		itself := "–"
		if own > 0 {
			itself = fmt.Sprintf("%.2f %%", own)
		}
		rows = append(rows, []string{name, fmt.Sprintf("%.2f %%", served), itself, fmt.Sprintf("%.0f", period)})
		return served, own, err
	}
	served, own, err := measure("vobs --series FILE", length, func() (float64, float64, error) {
		path := b.dir + "/report"
		r, err := run(b.env, []string{b.vobs, "run", "-q", "-o", path, "--series", b.dir + "/series", "--metrics-url", url, "--", "/bin/sleep", strconv.Itoa(length)}, false)
		if err != nil {
			return 0, 0, err
		}
		e, err := load(path)
		if err == nil && (e.Engine == nil || e.Engine.Source != "http") {
			err = fmt.Errorf("%s: the engine was not polled", path)
		}
		if err != nil {
			return 0, 0, err
		}
		return r.cpu - alone, 1e3 * e.Engine.Scrapes.PeriodSeconds, nil
	})
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name   string
		period time.Duration
	}{{"a whole page every 333 ms", time.Second / 3}, {"a whole page every second", time.Second}} {
		if _, _, err := measure(c.name, otherLength, func() (float64, float64, error) {
			for range otherLength * int(time.Second/c.period) {
				if err := get(url, 1); err != nil {
					return 0, 0, err
				}
				time.Sleep(c.period)
			}
			return 0, 1e3 * c.period.Seconds(), nil
		}); err != nil {
			return err
		}
	}
	report.Table(fmt.Sprintf("Polling an engine at work for %d s, beside 1 GPU: load average %s to %s", length, before, report.Load()), rows)
	report.Target(served <= 1, "the polls of vobs take %.2f %% of a core of the server (target: at most 1 %%)", served)
	report.Target(own <= 1, "vobs takes %.2f %% of one core (target: at most 1 %%)", own)
	return nil
}

// get requests a page a number of times.
func get(url string, times int) error {
	for range times {
		response, err := http.Get(url)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err != nil {
			return fmt.Errorf("read %s: %w", url, err)
		}
	}
	return nil
}

// processCPU returns the CPU time that a process has used, in seconds: its clock has the
// number that clock_getcpuclockid(3) computes.
func processCPU(pid int) (float64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, fmt.Errorf("the CPU time of process %d: %w", pid, err)
	}
	return float64(t.Nano()) / 1e9, nil
}
