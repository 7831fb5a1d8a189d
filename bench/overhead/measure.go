//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vobs/vobs/bench/internal/process"
)

// A contender is one way to run a command.
type contender struct {
	name string
	argv func(report string, command ...string) []string // report is the file for what it sampled
	read func(report string) (result, error)             // reads that file; nil if there is none
}

// result is what one run cost, and what it sampled.
type result struct {
	wall, cpu   float64   // seconds of the process, with the CPU time of its command (wait4)
	rss         float64   // MiB: the highest VmHWM that was seen, or what the process reports if that is higher
	own         float64   // seconds: the CPU time that the process reports of itself
	period, gap float64   // ms: mean and longest time between two readings
	peaks       []float64 // bytes, per device
}

// run runs argv to its end and measures it. If watch is set, it reads the peak RSS every
// 20 ms: ru_maxrss would not do, because it starts at that of the process that forked,
// which is this one.
func run(env, argv []string, watch bool) (r result, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return r, err
	}
	defer null.Close()
	start := time.Now()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: env, Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}})
	if err != nil {
		return r, fmt.Errorf("start %s: %w", argv[0], err)
	}
	stop, highest := make(chan struct{}), make(chan float64, 1)
	if watch {
		go func() {
			rss := 0.0
			for {
				select {
				case <-stop:
					highest <- rss
					return
				case <-time.After(20 * time.Millisecond):
					rss = max(rss, process.PeakRSS(pid))
				}
			}
		}()
	}
	var status syscall.WaitStatus
	var ru syscall.Rusage
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		_, err = syscall.Wait4(pid, &status, 0, &ru)
	}
	r.wall, r.cpu = time.Since(start).Seconds(), float64(ru.Utime.Nano()+ru.Stime.Nano())/1e9
	if close(stop); watch {
		r.rss = <-highest
	}
	if err == nil && status != 0 {
		err = fmt.Errorf("wait status %#x", int(status))
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return r, err
}

// readReport reads the report of minimal or seed_sampler.py: samples, period, gap, peaks.
func readReport(path string) (result, error) {
	text, err := os.ReadFile(path)
	var numbers []float64
	for word := range strings.FieldsSeq(string(text)) {
		f, _ := strconv.ParseFloat(word, 64)
		numbers = append(numbers, f)
	}
	if err == nil && len(numbers) < 4 {
		err = fmt.Errorf("%s: no report: %q", path, text)
	}
	if err != nil {
		return result{}, err
	}
	return result{period: 1e3 * numbers[1], gap: 1e3 * numbers[2], peaks: numbers[3:]}, nil
}

// event is the part of vobs's event that is needed here.
type event struct {
	Overhead struct {
		CPUSeconds  float64 `json:"cpu_seconds"`
		MaxRSSBytes float64 `json:"max_rss_bytes"`
	}
	GPUs []struct {
		PeakBytes float64 `json:"peak_bytes"`
		Sampling  readings
	}
	Engine *struct {
		Source  string
		Scrapes readings
	}
}

type readings struct {
	PeriodSeconds float64 `json:"period_seconds"`
	MaxGapSeconds float64 `json:"max_gap_seconds"`
}

func load(path string) (e event, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	return e, err
}

// readEvent reads vobs's event. Period and gap are those of the worst device.
func readEvent(path string) (result, error) {
	event, err := load(path)
	return event.result(), err
}

func (event event) result() (r result) {
	r.own, r.rss = event.Overhead.CPUSeconds, event.Overhead.MaxRSSBytes/(1<<20)
	for _, g := range event.GPUs {
		r.period, r.gap = max(r.period, 1e3*g.Sampling.PeriodSeconds), max(r.gap, 1e3*g.Sampling.MaxGapSeconds)
		r.peaks = append(r.peaks, g.PeakBytes)
	}
	return r
}

// readFilesEvent is readEvent with period and gap of the readings of the engine's files.
func readFilesEvent(path string) (result, error) {
	event, err := load(path)
	if err == nil && (event.Engine == nil || event.Engine.Source != "multiprocess") {
		err = fmt.Errorf("%s: no files were read", path)
	}
	if err != nil {
		return result{}, err
	}
	r := event.result()
	r.period, r.gap = 1e3*event.Engine.Scrapes.PeriodSeconds, 1e3*event.Engine.Scrapes.MaxGapSeconds
	return r, nil
}

// The figures of a result, times in ms.
func wall(r result) float64   { return 1e3 * r.wall }
func cpu(r result) float64    { return 1e3 * r.cpu }
func own(r result) float64    { return 1e3 * r.own }
func rss(r result) float64    { return r.rss }
func period(r result) float64 { return r.period }
func gap(r result) float64    { return r.gap }

// median returns the median of a figure over a contender's runs.
func median(runs []result, figure func(result) float64) float64 {
	list := make([]float64, len(runs))
	for i, r := range runs {
		list[i] = figure(r)
	}
	return middle(list)
}

// middle returns the median of a list.
func middle(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return (list[len(list)/2] + list[(len(list)-1)/2]) / 2
}
