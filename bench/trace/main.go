//go:build linux

// Command trace measures what `vobs trace` costs on a large trace of torch.profiler, and beside
// it on a small one Python's json and HolisticTraceAnalysis, in turn:
//
//	go run ./bench/trace [-vobs PATH] [-trace FILE] [-mb 1000]
//
// The large trace is made of the small one, repeated with later times. Everything runs on one
// core. HolisticTraceAnalysis (500 MB with what it needs) is installed into .e2e/bench/trace;
// if that fails, it is skipped.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/bench/internal/report"
	"github.com/vobs/vobs/bench/internal/venv"
	"github.com/vobs/vobs/internal/trace/chrome"
)

func main() {
	vobs := flag.String("vobs", "bin/vobs", "the binary")
	file := flag.String("trace", "testdata/traces/torch/a100_nccl.json.gz", "the small trace")
	megabytes := flag.Int64("mb", 1000, "size of the large trace in MB of JSON")
	makeIn := flag.String("make-in", "", "only write the traces to `DIRECTORY`: used by the command itself")
	flag.Parse()
	var err error
	if *makeIn != "" {
		err = makeTraces(*makeIn, *file, *megabytes*1e6)
	} else {
		err = run(*vobs, *file, *megabytes)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/trace:", err)
		os.Exit(1)
	}
}

// Names of the traces.
const smallTrace, largeTrace = "small.json", "large.json"

// makeTraces writes both traces, without compression, to a directory.
func makeTraces(dir, file string, size int64) error {
	text, err := readText(file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, smallTrace), text, 0o600); err != nil {
		return err
	}
	return repeat(text, filepath.Join(dir, largeTrace), size)
}

func run(vobs, file string, megabytes int64) error {
	// Children inherit the one core.
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		return err
	}
	for cpu := range 1024 {
		if cpus.IsSet(cpu) {
			cpus.Zero()
			cpus.Set(cpu)
			break
		}
	}
	python := venv.With(".e2e/bench/trace", "hta", "HolisticTraceAnalysis==0.5.0", "HolisticTraceAnalysis 0.5.0, which needs python3 with venv, and PyPI")
	if err := unix.SchedSetaffinity(0, &cpus); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-trace-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// By another process: the memory of this one would count as that of its children, because
	// ru_maxrss outlives exec.
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := measure(nil, self, "-make-in", dir, "-trace", file, "-mb", fmt.Sprint(megabytes)); err != nil {
		return err
	}
	small, large := filepath.Join(dir, smallTrace), filepath.Join(dir, largeTrace)

	rows := [][]string{{"", "trace", "MB", "CPU s", "wall s", "MB a CPU second", "memory MB"}}
	add := func(name, of string, c cost) float64 {
		info, err := os.Stat(filepath.Join(dir, of+".json"))
		if err != nil {
			return 0
		}
		bytes := info.Size()
		speed := float64(bytes) / 1e6 / c.cpu.Seconds()
		rows = append(rows, []string{name, of, fmt.Sprint(bytes / 1e6), fmt.Sprintf("%.2f", c.cpu.Seconds()), fmt.Sprintf("%.2f", c.wall.Seconds()), fmt.Sprintf("%.0f", speed), fmt.Sprintf("%.0f", float64(c.memory)/1e6)})
		return speed
	}
	before := report.Load()
	out := filepath.Join(dir, "out.json")
	c, err := measure(nil, vobs, "trace", "--format", "json", "-o", out, large)
	if err != nil {
		return err
	}
	speed := add("vobs trace", "large", c)
	operations, err := countOps(out)
	if err != nil {
		return err
	}
	var own, reference float64
	for range 3 {
		ofSmall, err := measure(nil, vobs, "trace", "--format", "json", "-o", out, small)
		if err != nil {
			return err
		}
		own = max(own, add("vobs trace", "small", ofSmall))
		plain, err := measure(nil, "python3", "-c", "import json, sys; json.load(open(sys.argv[1]))", small)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: SKIPPED: Python's json:", err)
			continue
		}
		reference = max(reference, add("Python's json", "small", plain))
	}
	if python != "" {
		ofHTA, err := measure([]byte(hta), python, "-", small)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: SKIPPED: HolisticTraceAnalysis:", err)
		} else {
			add("HolisticTraceAnalysis", "small", ofHTA)
		}
	}
	report.Table("vobs trace on one core (load "+before+"); vobs reads a file twice, the others once", rows)
	bound := 64e6 + 24*float64(operations)
	report.Target(speed >= 100, "%.0f MB of JSON a CPU second on the large trace, want at least 100", speed)
	if reference > 0 {
		fmt.Printf("  Python's json reads %.0f MB a CPU second here: vobs is %.1f times as fast\n", reference, own/reference)
	}
	fits := float64(c.memory) <= bound
	report.Target(fits, "%.1f MB of memory for %d kernels and copies, want at most 64 MB + 24 bytes each: %.1f", float64(c.memory)/1e6, operations, bound/1e6)
	if !fits {
		return errors.New("too much memory")
	}
	return nil
}

// hta does with a trace what vobs trace does.
const hta = `
import os, sys, shutil, tempfile
from hta.trace_analysis import TraceAnalysis
d = tempfile.mkdtemp()
try:
    file = shutil.copy(sys.argv[1], os.path.join(d, "t.json"))
    a = TraceAnalysis(trace_files={0: file}, trace_dir=d)
    a.get_temporal_breakdown(visualize=False)
    a.get_gpu_kernel_breakdown(visualize=False)
    a.get_comm_comp_overlap(visualize=False)
    a.get_idle_time_breakdown(visualize=False)
finally:
    shutil.rmtree(d)
`

// cost is what a process took.
type cost struct {
	cpu, wall time.Duration
	memory    int64 // bytes, at most
}

func measure(stdin []byte, argv ...string) (cost, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return cost{}, fmt.Errorf("%s: %w\n%s", argv[0], err, out)
	}
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return cost{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), time.Since(start), usage.Maxrss << 10}, nil
}

func readText(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in, err := chrome.Decompress(f)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(in)
}

// repeat writes a trace that has the events of another one again and again, each time later, up to
// a size in bytes.
func repeat(text []byte, file string, size int64) error {
	const key = `"traceEvents":`
	begin := bytes.Index(text, []byte(key))
	if begin < 0 {
		return errors.New("the small trace has no traceEvents")
	}
	begin += bytes.IndexByte(text[begin:], '[') + 1
	end := bytes.LastIndexByte(text, ']')
	events, span := bytes.TrimSpace(text[begin:end]), spanOf(text[begin:end])
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	_, _ = w.Write(text[:begin]) // Flush returns the error
	written := int64(begin)
	for n := int64(0); written < size; n++ {
		if n > 0 {
			_ = w.WriteByte(',')
		}
		written += writeShifted(w, events, n*span)
	}
	_, _ = w.Write(text[end:])
	return errors.Join(w.Flush(), f.Close())
}

// spanOf returns the time from the first event to the last, in µs, and a little more.
func spanOf(events []byte) int64 {
	first, last := int64(1<<62), int64(0)
	eachNumber(events, "ts", func(_, _ int, n int64) { first, last = min(first, n), max(last, n) })
	return last - first + 1000
}

// writeShifted writes events later by a time in µs.
func writeShifted(w io.Writer, events []byte, later int64) (written int64) {
	at := 0
	put := func(b []byte) {
		n, _ := w.Write(b)
		written += int64(n)
	}
	eachNumber(events, "ts", func(from, to int, n int64) {
		put(events[at:from])
		put(strconv.AppendInt(nil, n+later, 10))
		at = to
	})
	put(events[at:])
	return written
}

// eachNumber calls add with the whole part of each number of a key and where it is.
func eachNumber(text []byte, key string, add func(from, to int, n int64)) {
	pattern := []byte(`"` + key + `": `)
	for at := 0; ; {
		i := bytes.Index(text[at:], pattern)
		if i < 0 {
			return
		}
		from := at + i + len(pattern)
		to := from
		for to < len(text) && text[to] >= '0' && text[to] <= '9' {
			to++
		}
		if n, err := strconv.ParseInt(string(text[from:to]), 10, 64); err == nil {
			add(from, to, n)
		}
		at = to
	}
}

// countOps returns the number of kernels, copies and sets in a result.
func countOps(file string) (n int64, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var r struct {
		Devices []struct {
			Classes map[string]struct{ Kernels int64 }
		}
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return 0, err
	}
	for _, d := range r.Devices {
		for _, c := range d.Classes {
			n += c.Kernels
		}
	}
	return n, nil
}
