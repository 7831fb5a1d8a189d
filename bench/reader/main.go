//go:build linux

// Reader measures how fast vobs reads a /metrics page and compares it with the
// alternatives: expfmt and prom2json for a Go program, prometheus_client for a Python
// script. All of them read every line, of the page of a recorded engine and of a page of
// 64 such engines. It then compares reading prometheus_client's multiprocess files with
// its own collector (directory.go). Finally it runs two benchmarks of package probe: what
// a whole reading costs, from the page to the counters of the metrics that vobs uses, and
// how much memory an hour of readings keeps (with -long).
//
//	go run -tags urfave_cli_no_docs ./bench/reader [-long]
//
// It measures CPU time, not wall time, so other processes hardly matter. Ratios are
// within one table, whose contenders take turns. A missed target is printed and fails
// nothing. Exit status 1: something could not be measured.
package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prom2json"

	"github.com/vobs/vobs/bench/internal/report"
	"github.com/vobs/vobs/bench/internal/venv"
	"github.com/vobs/vobs/probe/exposition"
)

const recording = "testdata/expositions/serve_default_post.prom"

func main() {
	long := flag.Bool("long", false, "measure everything, with more repetitions")
	flag.Parse()
	if err := bench(*long); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(long bool) error {
	page, err := os.ReadFile(recording)
	if err != nil {
		return fmt.Errorf("%w: run it in the repository's root", err)
	}
	dir, err := filepath.Abs(".e2e/bench")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	python := venv.With(dir, "prometheus_client", "prometheus_client==0.26.0", "Python's prometheus_client")
	for _, n := range []int{1, 64} {
		if err := parsers(manyEngines(page, n), n, python, dir, long); err != nil {
			return err
		}
	}
	if err := directories(python, long); err != nil {
		return err
	}
	return readings(long)
}

// contender is one way to read a page.
type contender struct {
	name string
	read func(page []byte) error
}

// contenders returns new contenders, for the readings of one page.
func contenders() []contender {
	parser, into := exposition.NewParser(nil), exposition.Page{}
	text := func(page []byte) (out []*prom2json.Family, err error) {
		// prom2json's own ParseReader panics with this version of expfmt.
		p := expfmt.NewTextParser(model.UTF8Validation)
		families, err := p.TextToMetricFamilies(bytes.NewReader(page))
		for _, f := range families {
			out = append(out, prom2json.NewFamily(f))
		}
		return out, err
	}
	return []contender{
		{"vobs", func(page []byte) error { return parser.Parse(page, &into) }},
		{"expfmt", func(page []byte) error {
			p := expfmt.NewTextParser(model.UTF8Validation)
			_, err := p.TextToMetricFamilies(bytes.NewReader(page))
			return err
		}},
		{"prom2json", func(page []byte) error { _, err := text(page); return err }},
	}
}

// cost is what one reading takes: CPU seconds and the number of allocations.
type cost struct{ cpu, allocations float64 }

// parsers compares the readers of one page.
func parsers(page []byte, engines int, python, dir string, long bool) error {
	rounds := report.Pick(long, 9, 3)
	list := contenders()
	all := make([][]cost, len(list))
	before := report.Load()
	for range rounds {
		for i, c := range list {
			got, err := measure(c, page)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			all[i] = append(all[i], got)
		}
	}
	names, medians := []string{}, []cost{}
	for i, c := range list {
		names = append(names, c.name)
		slices.SortFunc(all[i], func(a, b cost) int { return cmp.Compare(a.cpu, b.cpu) })
		medians = append(medians, all[i][len(all[i])/2])
	}
	if python != "" {
		file := dir + "/page.prom"
		if err := os.WriteFile(file, page, 0o600); err != nil {
			return err
		}
		seconds, err := byPython(python, file, rounds)
		if err != nil {
			return err
		}
		names, medians = append(names, "Python prometheus_client"), append(medians, cost{seconds, -1})
	}
	lines := bytes.Count(page, []byte("\n")) - bytes.Count(page, []byte("\n#"))
	rows := [][]string{{"", "CPU ms", "MB/s", "allocations", "times as long"}}
	for i, m := range medians {
		allocations := "?"
		if m.allocations >= 0 {
			allocations = fmt.Sprintf("%.0f", m.allocations)
		}
		rows = append(rows, []string{names[i], fmt.Sprintf("%.3f", m.cpu*1e3), fmt.Sprintf("%.1f", float64(len(page))/1e6/m.cpu), allocations, fmt.Sprintf("%.1f", m.cpu/medians[0].cpu)})
	}
	report.Table(fmt.Sprintf("One page of %d engines, %d samples, %.2f MB: medians of %d rounds; load average %s to %s", engines, lines, float64(len(page))/1e6, rounds, before, report.Load()), rows)
	report.Target(medians[1].cpu/medians[0].cpu >= 8, "vobs is %.1f × as fast as expfmt (target: at least 8 ×)", medians[1].cpu/medians[0].cpu)
	report.Target(medians[0].allocations <= 100, "vobs allocates %.0f times once warm (target: at most 100)", medians[0].allocations)
	if python != "" {
		ratio := medians[len(medians)-1].cpu / medians[0].cpu
		report.Target(ratio >= 40, "vobs is %.0f × as fast as Python's prometheus_client (target: at least 40 ×)", ratio)
	}
	return nil
}

// measure reads a page again and again for 200 ms of CPU time. That includes garbage
// collection, which the contenders that allocate cause themselves.
func measure(c contender, page []byte) (cost, error) {
	for range 2 { // to warm up
		if err := c.read(page); err != nil {
			return cost{}, err
		}
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	mallocs, began := m.Mallocs, cpuTime()
	n, spent := 0, time.Duration(0)
	for ; spent < 200*time.Millisecond; spent = cpuTime() - began {
		if err := c.read(page); err != nil {
			return cost{}, err
		}
		n++
	}
	runtime.ReadMemStats(&m)
	return cost{spent.Seconds() / float64(n), float64(m.Mallocs-mallocs) / float64(n)}, nil
}

// byPython returns the CPU seconds that prometheus_client takes for the page in file.
func byPython(python, file string, rounds int) (float64, error) {
	const script = `
import statistics, sys, time
from prometheus_client.parser import text_string_to_metric_families as read
page = open(sys.argv[1]).read()
times = []
for _ in range(int(sys.argv[2])):
    began = time.process_time()
    for family in read(page):
        pass
    times.append(time.process_time() - began)
print(statistics.median(times))
`
	out, err := exec.Command(python, "-c", script, file, strconv.Itoa(rounds)).Output()
	if err != nil {
		return 0, fmt.Errorf("prometheus_client: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// readings runs package probe's benchmarks of whole readings and, if long is set, of an
// hour of them.
func readings(long bool) error {
	command := exec.Command("go", "test", "-tags", "urfave_cli_no_docs", "-run", "^$", "-bench", "^Benchmark(Reading|Hour)$", "-benchmem", "./probe")
	command.Env = append(os.Environ(), "VOBS_TEST_LONG="+report.Pick(long, "1", "")) // without it BenchmarkHour is skipped
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	seen := map[string]map[string]float64{} // benchmark -> unit -> value
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := fields[0]
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i] // GOMAXPROCS
		}
		seen[name] = map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			if seen[name][fields[i+1]], err = strconv.ParseFloat(fields[i], 64); err != nil {
				return fmt.Errorf("benchmark line %q: %w", line, err)
			}
		}
	}
	rows := [][]string{{"", "CPU ms", "allocations"}}
	for _, name := range []string{"1engines", "64engines"} {
		m := seen["BenchmarkReading/"+name]
		if m == nil {
			return fmt.Errorf("no benchmark BenchmarkReading/%s in:\n%s", name, out)
		}
		rows = append(rows, []string{strings.Replace(name, "engines", " engines", 1), fmt.Sprintf("%.3f", m["cpu-ms/op"]), fmt.Sprintf("%.0f", m["allocs/op"])})
	}
	report.Table("A whole reading of a full page, from its bytes to the counters", rows)
	m := seen["BenchmarkReading/64engines"]
	report.Target(m["cpu-ms/op"] <= 20, "a reading of 64 engines takes %.1f ms of CPU (target: at most 20 ms)", m["cpu-ms/op"])
	report.Target(m["allocs/op"] <= 100, "and %.0f allocations (target: at most 100)", m["allocs/op"])
	hour := seen["BenchmarkHour"]
	if hour == nil {
		return nil
	}
	report.Table("An hour of readings of 64 engines every 500 ms, every tenth of a full page", [][]string{
		{"reachable after a minute, MiB", "after the hour", "from the system"},
		{fmt.Sprintf("%.2f", hour["MiB-1min"]), fmt.Sprintf("%.2f", hour["MiB-1h"]), fmt.Sprintf("%.1f", hour["MiB-sys"])},
	})
	report.Target(hour["MiB-1h"] <= hour["MiB-1min"]+0.1, "memory grows by %.2f MiB from the first minute on (target: flat)", hour["MiB-1h"]-hour["MiB-1min"])
	return nil
}

// manyEngines turns a page of one engine into a page of n, in the order in which
// prometheus_client writes them: by family, then by engine.
func manyEngines(page []byte, n int) []byte {
	var out, block bytes.Buffer
	flush := func() {
		for e := range n {
			out.Write(bytes.ReplaceAll(block.Bytes(), []byte(`engine="0"`), []byte(fmt.Sprintf(`engine="%d"`, e))))
		}
		block.Reset()
	}
	for line := range bytes.Lines(page) {
		if bytes.Contains(line, []byte(`engine="0"`)) {
			block.Write(line)
			continue
		}
		flush()
		out.Write(line)
	}
	flush()
	return out.Bytes()
}

// cpuTime returns the user and system time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it fails only for a bad argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
