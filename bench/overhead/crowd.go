//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/bench/internal/report"
)

// crowdParts are the parts that measure vobs on a machine with many processes, sockets or
// engines. Whatever there is many of beside the command is made before the run and is not
// measured.
func (b *bench) crowdParts() []part {
	return []part{{"outside", b.outside}, {"silent", b.silent}, {"engines", b.engines}, {"children", b.children}, {"orphans", b.orphans}}
}

// crowdNames are those of the crowdParts that run if no others are chosen.
const crowdNames = "outside,engines,children,orphans"

// crowdRun is what one run in a crowd cost.
type crowdRun struct {
	wall, cpu, own float64 // seconds: of the run, of vobs without its command, and what the event reports
	rss            float64 // MiB
	end            float64 // seconds from the command's end to that of vobs
	treePeak       float64 // MiB
	found          int     // engines
}

// crowd runs vobs around a command for each of several rounds, and prints the medians.
func (b *bench) crowd(what string, options []string, command ...string) error {
	rounds, before := report.Pick(b.long, 3, 1), report.Load()
	if err := os.WriteFile(b.dir+"/script", []byte("devices 0\n"), 0o600); err != nil {
		return err
	}
	var runs []crowdRun
	for range rounds {
		r, err := b.crowdRun(options, command)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	of := func(figure func(crowdRun) float64) float64 {
		list := make([]float64, len(runs))
		for i, r := range runs {
			list[i] = figure(r)
		}
		return middle(list)
	}
	share := of(func(r crowdRun) float64 { return 100 * r.cpu / r.wall })
	end := of(func(r crowdRun) float64 { return r.end })
	report.Table(fmt.Sprintf("%s, %.0f s: medians of %d; load average %s to %s", what, runs[0].wall, rounds, before, report.Load()), [][]string{
		{"", "share of one core", "CPU ms in the event", "peak RSS MiB", "end s", "engines", "tree's peak MiB"},
		{"vobs", fmt.Sprintf("%.2f %%", share), fmt.Sprintf("%.0f", of(func(r crowdRun) float64 { return 1e3 * r.own })),
			fmt.Sprintf("%.1f", of(func(r crowdRun) float64 { return r.rss })), fmt.Sprintf("%.2f", end),
			fmt.Sprint(of(func(r crowdRun) float64 { return float64(r.found) })), fmt.Sprintf("%.0f", of(func(r crowdRun) float64 { return r.treePeak }))},
	})
	report.Target(share <= 1, "vobs takes %.2f %% of one core (target: at most 1 %%)", share)
	report.Target(end <= 2.1, "vobs ends %.2f s after its command (target: at most 2 s)", end)
	return nil
}

// crowdRun runs vobs once. Its CPU time is read while it is a zombie, because what wait4
// returns includes that of the command.
func (b *bench) crowdRun(options, command []string) (r crowdRun, err error) {
	file := b.dir + "/report"
	os.Remove(file)
	argv := append(append([]string{b.vobs, "run", "-q", "-o", file}, options...), append([]string{"--"}, command...)...)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return r, err
	}
	defer null.Close()
	start := time.Now()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: b.env, Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}})
	if err != nil {
		return r, fmt.Errorf("start %s: %w", argv[0], err)
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	}
	ended := time.Now()
	stat, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	var status syscall.WaitStatus
	for waitErr := error(syscall.EINTR); errors.Is(waitErr, syscall.EINTR); {
		_, waitErr = syscall.Wait4(pid, &status, 0, nil)
	}
	if err = errors.Join(err, readErr); err == nil && status != 0 {
		err = fmt.Errorf("%s: wait status %#x", strings.Join(argv, " "), int(status))
	}
	if err != nil {
		return r, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, f := range fields[11:13] { // utime and stime
		ticks, _ := strconv.ParseFloat(f, 64)
		r.cpu += ticks / 100
	}
	r.wall = ended.Sub(start).Seconds()
	text, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	var e struct {
		Run struct {
			EndedAt time.Time `json:"ended_at"`
		}
		Overhead struct {
			CPUSeconds  float64 `json:"cpu_seconds"`
			MaxRSSBytes float64 `json:"max_rss_bytes"`
		}
		Host struct {
			TreePeakRSSBytes float64 `json:"tree_peak_rss_bytes"`
		}
		Engine *struct{ Instances []struct{} }
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return r, err
	}
	r.own, r.rss, r.treePeak = e.Overhead.CPUSeconds, e.Overhead.MaxRSSBytes/(1<<20), e.Host.TreePeakRSSBytes/(1<<20)
	r.end = ended.Sub(e.Run.EndedAt).Seconds()
	if e.Engine != nil {
		r.found = len(e.Engine.Instances)
	}
	return r, nil
}

// idle starts so many processes, each with 20 descriptors, that do nothing until stop is
// called.
func idle(n int) (stop func(), err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	var pids []int
	stop = func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, pid := range pids {
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
	files := make([]uintptr, 20)
	for i := range files {
		files[i] = null.Fd()
	}
	for range n {
		pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "1000"}, &syscall.ProcAttr{Files: files})
		if err != nil {
			stop()
			return nil, fmt.Errorf("start an idle process: %w", err)
		}
		pids = append(pids, pid)
	}
	return stop, nil
}

// page returns a page of vLLM that requests to many other paths have made as large as wanted.
func page(size int) ([]byte, error) {
	text, err := os.ReadFile("testdata/expositions/serve_default_post.prom")
	if err != nil {
		return nil, err
	}
	for i := 0; len(text) < size; i++ {
		text = fmt.Appendf(text, "http_request_duration_seconds_bucket{handler=\"/v1/tenants/%d/completions\",le=\"%d.5\",method=\"POST\"} %d.0\n", i/20, i%20, i)
	}
	return text, nil
}

// serveVariable holds what a process of this program serves instead of measuring: a number of
// ports and the size of the page there; with -1 it never answers.
const serveVariable = "VOBS_BENCH_SERVE"

// serve starts a process that serves a page of a size at n ports, and returns the options
// for them.
func serve(n, size int) (options []string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	server := exec.Command(self)
	server.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", serveVariable, n, size))
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		return nil, nil, err
	}
	stop = func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}
	for lines := bufio.NewScanner(out); len(options) < 2*n; {
		if !lines.Scan() {
			stop()
			return nil, nil, errors.New("the simulated engines did not start")
		}
		options = append(options, "--metrics-url", lines.Text())
	}
	return options, stop, nil
}

// serveIfAsked serves for ever if the environment has serveVariable.
func serveIfAsked() {
	var n, size int
	if _, err := fmt.Sscan(os.Getenv(serveVariable), &n, &size); err != nil {
		return
	}
	var text []byte
	if size >= 0 {
		var err error
		if text, err = page(size); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" && r.URL.Path != "/metrics/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(text)
	})
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		if size >= 0 {
			go func() { _ = http.Serve(l, handler) }()
		}
		fmt.Println("http://" + l.Addr().String())
	}
	time.Sleep(time.Hour)
	os.Exit(1)
}

// seconds is the length of a run in a crowd.
func (b *bench) seconds() string { return report.Pick(b.long, "60", "20") }

// outside measures a host with many processes that are not the command's, and eight engines.
func (b *bench) outside() error {
	n := report.Pick(b.long, 2500, 1000)
	options, stopServers, err := serve(8, 0)
	if err != nil {
		return err
	}
	defer stopServers()
	stop, err := idle(n)
	if err != nil {
		return err
	}
	defer stop()
	return b.crowd(fmt.Sprintf("%d idle processes with 20 descriptors each beside the command, 8 engines", n), options, "/bin/sleep", b.seconds())
}

// silent measures addresses that accept connections and never answer.
func (b *bench) silent() error {
	options, stop, err := serve(200, -1)
	if err != nil {
		return err
	}
	defer stop()
	return b.crowd("200 addresses that do not answer", options, "/bin/sleep", b.seconds())
}

// engines measures engines whose pages are large and cannot be filtered.
func (b *bench) engines() error {
	n := report.Pick(b.long, 64, 16)
	options, stop, err := serve(n, 317<<10)
	if err != nil {
		return err
	}
	defer stop()
	return b.crowd(fmt.Sprintf("%d engines with pages of 317 KiB that cannot be filtered", n), options, "/bin/sleep", b.seconds())
}

// children measures a command with many living children.
func (b *bench) children() error {
	return b.crowd("1,500 children of the command", nil, "/bin/sh", "-c",
		"i=0; while [ $i -lt 1500 ]; do sleep "+b.seconds()+" & i=$((i+1)); done; wait")
}

// orphans measures a command that leaves 200 processes a second to vobs.
func (b *bench) orphans() error {
	return b.crowd("200 orphans a second", nil, "/bin/sh", "-c",
		`sleep `+b.seconds()+` & while kill -0 $! 2>/dev/null; do
			i=0; while [ $i -lt 30 ]; do (sleep 0.3 &); i=$((i+1)); done
			sleep 0.1
		done`)
}
