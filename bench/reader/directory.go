//go:build linux

package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/bench/internal/report"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/multiproc"
)

// directories compares readings of prometheus_client's multiprocess files with its own
// collector, which returns samples and not text, so both do the same work. vobs has read
// the directory before, as in every poll but the first; the collector keeps nothing.
func directories(python string, long bool) error {
	const polls = 20 // a second
	rounds := report.Pick(long, 9, 3)
	for _, d := range []struct{ path, of string }{
		{"probe/multiproc/testdata/bench_throughput/db", "one process, one engine"},
		{"probe/multiproc/testdata/serve_dp2/db", "two processes, two engines"},
	} {
		names, err := os.ReadDir(d.path)
		if err != nil {
			return fmt.Errorf("%w: run it in the repository's root", err)
		}
		rows := [][]string{{"", "CPU ms", "allocations", "times as long"}}
		before := report.Load()
		samples, poll, fastest := 0, 0.0, 0.0
		for _, full := range []bool{true, false} {
			r, page := multiproc.New(d.path, nil), exposition.Page{}
			read := contender{"vobs", func([]byte) error { return r.Read(&page, full) }}
			all := []cost{}
			for range rounds {
				got, err := measure(read, nil)
				if err != nil {
					return err
				}
				all = append(all, got)
			}
			slices.SortFunc(all, func(a, b cost) int { return cmp.Compare(a.cpu, b.cpu) })
			own := all[len(all)/2]
			what, globs := "gauges and counters alone", "gauge_*.db counter_*.db"
			if full {
				what, globs, samples = "all", "*.db", len(page.Samples)
			} else {
				poll = own.cpu
			}
			rows = append(rows, []string{"vobs, " + what, fmt.Sprintf("%.3f", own.cpu*1e3), fmt.Sprintf("%.0f", own.allocations), "1.0"})
			if python == "" {
				continue
			}
			seconds, err := byCollector(python, d.path, globs, rounds)
			if err != nil {
				return err
			}
			ratio := seconds / own.cpu
			if fastest == 0 || ratio < fastest {
				fastest = ratio
			}
			rows = append(rows, []string{"Python MultiProcessCollector, " + what, fmt.Sprintf("%.3f", seconds*1e3), "?", fmt.Sprintf("%.1f", ratio)})
		}
		report.Table(fmt.Sprintf("Multiprocess files of %s, %d files, %d samples: medians of %d rounds; load average %s to %s", d.of, len(names), samples, rounds, before, report.Load()), rows)
		if python != "" {
			report.Target(fastest >= 20, "vobs is at least %.0f × as fast as Python's collector (target: at least 20 ×)", fastest)
		}
		share := poll * polls * 100
		report.Target(share <= 0.2, "polls of gauges and counters at %d Hz take %.3f %% of a core (target: at most 0.2 %%)", polls, share)
	}
	return nil
}

// byCollector returns the CPU seconds that prometheus_client's collector takes for the
// files of a directory that match one of globs, which are separated by blanks.
func byCollector(python, dir, globs string, rounds int) (float64, error) {
	const script = `
import glob, statistics, sys, time
from prometheus_client.multiprocess import MultiProcessCollector
def read():
    files = [f for g in sys.argv[2].split() for f in glob.glob(sys.argv[1] + "/" + g)]
    return sum(len(m.samples) for m in MultiProcessCollector.merge(files))
assert read() > 0
times = []
for _ in range(int(sys.argv[3])):
    began = time.process_time()
    for _ in range(20):
        read()
    times.append((time.process_time() - began) / 20)
print(statistics.median(times))
`
	path, err := filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	out, err := exec.Command(python, "-c", script, path, globs, strconv.Itoa(rounds)).Output()
	if err != nil {
		return 0, fmt.Errorf("prometheus_client's collector: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}
