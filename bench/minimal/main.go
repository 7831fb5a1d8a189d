//go:build linux && cgo

// Minimal is the smallest wrapper of a command that samples the GPUs through go-nvml;
// ../overhead compares `vobs run` with it. It starts the command, initialises NVML
// meanwhile, reads the memory of all devices on a ticker, and exits with the command's
// code. It handles no signals, writes no event and keeps no budget.
//
//	minimal INTERVAL REPORT COMMAND…
//
// REPORT is a file for "samples period max-gap peak…" (seconds, bytes), or "-" for none.
// COMMAND is a path: PATH is not searched.
package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// readings is what has been sampled so far.
type readings struct {
	mu          sync.Mutex
	samples     int
	first, last time.Time
	gap         time.Duration
	peaks       []uint64
}

// sample reads all devices at once and then at each tick, until the process ends.
func (r *readings) sample(interval time.Duration) {
	if nvml.Init() != nvml.SUCCESS {
		return // nothing may be called after a failed init
	}
	n, _ := nvml.DeviceGetCount()
	devices := make([]nvml.Device, n)
	for i := range devices {
		devices[i], _ = nvml.DeviceGetHandleByIndex(i)
	}
	r.mu.Lock()
	r.peaks = make([]uint64, n)
	r.mu.Unlock()
	for ticker := time.NewTicker(interval); ; <-ticker.C {
		r.mu.Lock()
		for i, d := range devices {
			if m, rc := d.GetMemoryInfo(); rc == nvml.SUCCESS {
				r.peaks[i] = max(r.peaks[i], m.Used)
			}
		}
		now := time.Now()
		if r.samples == 0 {
			r.first = now
		} else {
			r.gap = max(r.gap, now.Sub(r.last))
		}
		r.last = now
		r.samples++
		r.mu.Unlock()
	}
}

func main() {
	interval, err := time.ParseDuration(os.Args[1])
	check(err)
	var r readings
	go r.sample(interval)
	p, err := os.StartProcess(os.Args[3], os.Args[3:], &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	check(err)
	state, err := p.Wait()
	check(err)
	if os.Args[2] != "-" {
		r.mu.Lock()
		line := fmt.Sprint(r.samples, " ", r.last.Sub(r.first).Seconds()/float64(max(r.samples-1, 1)), " ", r.gap.Seconds())
		for _, peak := range r.peaks {
			line += fmt.Sprint(" ", peak)
		}
		check(os.WriteFile(os.Args[2], []byte(line+"\n"), 0o600))
	}
	os.Exit(state.ExitCode())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "minimal:", err)
		os.Exit(125)
	}
}
