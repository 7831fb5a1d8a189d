//go:build linux

// Reader measures how fast vobs reads a /metrics page, beside what one would use
// instead: expfmt and prom2json (what a Go program would take) and Python's
// prometheus_client (which a script would); all of them read every line. The pages are
// a recorded engine's, and one of 64 such engines. Then prometheus_client's multiprocess
// files, beside its own collector (directory.go). Then what a whole reading costs,
// books and all, of the names that vobs wants, and what an hour of readings leaves in
// memory: these two are benchmarks of package probe, which it runs.
//
//	go run -tags urfave_cli_no_docs ./bench/reader [-quick]
//
// CPU time, not wall time: other processes hardly matter. Ratios are within one table,
// whose contenders take turns. A missed target is told and fails nothing. Exit status
// 1: something could not be measured.
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
	quick := flag.Bool("quick", false, "a short round, whose figures are partly chance")
	flag.Parse()
	if err := bench(*quick); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(quick bool) error {
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
		if err := parsers(manyEngines(page, n), n, python, dir, quick); err != nil {
			return err
		}
	}
	if err := directories(python, quick); err != nil {
		return err
	}
	return readings(quick)
}

// contender reads a page once.
type contender struct {
	name string
	read func(page []byte) error
}

// contenders are new ones, for one page.
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

// cost is what one reading takes.
type cost struct{ cpu, allocations float64 } // seconds, number

// parsers sets the readers of one page beside each other.
func parsers(page []byte, engines int, python, dir string, quick bool) error {
	rounds := report.Pick(quick, 3, 9)
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

// measure reads a page again and again for a fifth of a second of CPU time; the
// collector's work is in it, which is the allocating ones' own.
func measure(c contender, page []byte) (cost, error) {
	for range 2 { // warm
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

// byPython gives the CPU seconds that prometheus_client takes for the page in file.
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

// readings runs package probe's benchmarks of whole readings and of an hour of them.
func readings(quick bool) error {
	which := report.Pick(quick, "^BenchmarkReading$", "^Benchmark(Reading|Hour)$")
	command := exec.Command("go", "test", "-tags", "urfave_cli_no_docs", "-run", "^$", "-bench", which, "-benchmem", "./probe")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	seen := map[string]map[string]float64{} // by benchmark and unit
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
	report.Table("A whole reading of a full page, from its bytes to the books", rows)
	m := seen["BenchmarkReading/64engines"]
	report.Target(m["cpu-ms/op"] <= 20, "a reading of 64 engines takes %.1f ms of CPU (target: at most 20 ms)", m["cpu-ms/op"])
	report.Target(m["allocs/op"] <= 100, "and %.0f allocations (target: at most 100)", m["allocs/op"])
	hour := seen["BenchmarkHour"]
	if hour == nil {
		return nil
	}
	report.Table("An hour of readings of 64 engines every 500 ms, each tenth of a full page", [][]string{
		{"reachable after a minute, MiB", "after the hour", "from the system"},
		{fmt.Sprintf("%.2f", hour["MiB-1min"]), fmt.Sprintf("%.2f", hour["MiB-1h"]), fmt.Sprintf("%.1f", hour["MiB-sys"])},
	})
	report.Target(hour["MiB-1h"] <= hour["MiB-1min"]+0.1, "memory grows by %.2f MiB from the first minute on (target: flat)", hour["MiB-1h"]-hour["MiB-1min"])
	return nil
}

// manyEngines makes a page of n engines of a page of one, in the order in which
// prometheus_client writes them: family for family, engine for engine.
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

// cpuTime is the process's user and system time.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no other way to fail than a bad argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
