//go:build linux

// Overhead measures what `vobs run` costs and compares it with the alternatives: the
// smallest Go wrapper that links go-nvml (../minimal), a Python sampler thread
// (../seed_sampler.py) and GNU time. It runs whole processes around the same command,
// in turn, so that whatever else the machine does affects all of them. The GPUs are
// those of testdata/fakenvml. Each part prints a Markdown table; docs/overhead.md shows
// one round.
//
//	go run ./bench/overhead [-long] [-only start,steady,pulse,driver,files,polls,…] [-vobs PATH]
//
//	start   what is added to a command that does nothing
//	steady  what sampling costs while the command runs
//	pulse   whether 10 GiB that are held for 20 ms are seen
//	driver  as steady, with a slow NVML driver
//	files   what reading the metrics files of two engines costs
//	polls   what polling an engine costs its server
//
//	outside   a host with thousands of idle processes, and several engines
//	silent    hundreds of addresses that do not answer (only if chosen)
//	engines   dozens of engines whose large pages cannot be filtered
//	children  a command with many living children
//	orphans   a command that leaves many orphans behind
//
// The short form takes about six minutes, -long about twenty: it has more
// repetitions, more intervals and more GPUs, processes and engines. A missed target is
// printed and fails nothing. Exit status 1: something could not be measured. It needs
// cgo, for ../minimal.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/vobs/vobs/bench/internal/report"
	"github.com/vobs/vobs/bench/internal/venv"
)

// part is one part of the measurement.
type part struct {
	name string
	run  func() error
}

// bench holds what all parts need.
type bench struct {
	dir    string // for builds and output
	long   bool
	vobs   string // path of the binary
	env    []string
	python string // an interpreter with pynvml; "" if there is none
}

func main() {
	serveIfAsked()
	long := flag.Bool("long", false, "measure everything, with more repetitions")
	only := flag.String("only", "start,steady,pulse,driver,files,polls,"+crowdNames, "the `PARTS` to run")
	vobs := flag.String("vobs", os.Getenv("VOBS"), "the vobs to measure, at `PATH` [$VOBS]; by default it is built")
	flag.Parse()
	// Neither garbage collection nor a switch of threads may disturb a measurement.
	debug.SetGCPercent(-1)
	runtime.LockOSThread()

	b := &bench{long: *long, vobs: *vobs}
	err := b.prepare()
	parts := []part{{"start", b.start}, {"steady", b.steady}, {"pulse", b.pulse}, {"driver", b.driver}, {"files", b.files}, {"polls", b.polls}}
	for _, part := range append(parts, b.crowdParts()...) {
		if err == nil && slices.Contains(strings.Split(*only, ","), part.name) {
			err = part.run()
			runtime.GC()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// prepare builds what is measured and finds a Python interpreter.
func (b *bench) prepare() (err error) {
	if b.dir, err = filepath.Abs(".e2e/bench"); err != nil {
		return err
	}
	builds := [][]string{
		{"mkdir", "-p", b.dir},
		{"testdata/fakenvml/build.sh", b.dir},
		{"go", "build", "-trimpath", "-buildvcs=false", "-o", b.dir + "/minimal", "./bench/minimal"},
	}
	if b.vobs == "" { // as in the Makefile
		b.vobs = b.dir + "/vobs"
		builds = append(builds, []string{"go", "build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs", "-o", b.vobs, "."})
	}
	if err := each(builds); err != nil {
		return err
	}
	if b.vobs, err = filepath.Abs(b.vobs); err != nil {
		return err
	}
	// All contenders get the same small environment.
	b.env = []string{"PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + b.dir, "FAKE_NVML_SCRIPT=" + b.dir + "/script"}

	b.python = venv.With(b.dir, "pynvml", "nvidia-ml-py==13.615.71", "the Python sampler")
	return nil
}

// each runs commands one after another, with cgo.
func each(commands [][]string) error {
	for _, argv := range commands {
		command := exec.Command(argv[0], argv[1:]...)
		command.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
		}
	}
	return nil
}

// contenders returns vobs, then minimal and the Python sampler at each interval. These
// two write their report to a file: REPORT, or "-" for none.
func (b *bench) contenders(report string, intervals ...time.Duration) []contender {
	list := []contender{{"vobs", prefix(b.vobs, "run", "-q", "-o", "REPORT", "--"), readEvent}}
	for _, d := range intervals {
		list = append(list, contender{fmt.Sprint("minimal ", d), prefix(b.dir+"/minimal", d.String(), report), readReport})
		if b.python != "" {
			list = append(list, contender{fmt.Sprint("Python ", d), prefix(b.python, "bench/seed_sampler.py", fmt.Sprint(d.Seconds()), report), readReport})
		}
	}
	return list
}

// prefix returns a function that builds a command line: words, with the path of the
// report in place of REPORT, then the command.
func prefix(words ...string) func(string, ...string) []string {
	return func(report string, command ...string) []string {
		argv := append(slices.Clone(words), command...)
		if i := slices.Index(words, "REPORT"); i >= 0 {
			argv[i] = report
		}
		return argv
	}
}

// measure runs the contenders in turn around a command and returns the results of each.
// In each round, script describes the simulated GPUs.
func (b *bench) measure(list []contender, rounds int, script func() string, watch bool, command ...string) ([][]result, error) {
	report := b.dir + "/report"
	all := make([][]result, len(list))
	for range rounds {
		if err := os.WriteFile(b.dir+"/script", []byte(script()), 0o600); err != nil {
			return nil, err
		}
		for i, c := range list {
			os.Remove(report)
			r, err := run(b.env, c.argv(report, command...), watch)
			if err == nil && c.read != nil && watch {
				var saw result
				saw, err = c.read(report)
				saw.wall, saw.cpu, saw.rss = r.wall, r.cpu, max(r.rss, saw.rss)
				r = saw
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			all[i] = append(all[i], r)
		}
	}
	return all, nil
}

// start measures what is added to a command that does nothing.
func (b *bench) start() error {
	list := []contender{{"the command alone", prefix(), nil}}
	if _, err := os.Stat("/usr/bin/time"); err == nil {
		list = append(list, contender{"GNU time", prefix("/usr/bin/time", "-o", "REPORT"), nil})
	} else {
		fmt.Fprintln(os.Stderr, "bench: SKIPPED: GNU time: its package, time, is not installed")
	}
	vobs := len(list)
	list = append(list, b.contenders("-", 250*time.Millisecond)...)
	script := func() string { return "devices 1\nused 1GiB\n" }
	if _, err := b.measure(list, 1, script, false, "/bin/true"); err != nil { // warms the caches
		return err
	}
	rounds, before := report.Pick(b.long, 60, 30), report.Load()
	all, err := b.measure(list, rounds, script, false, "/bin/true")
	if err != nil {
		return err
	}
	alone := median(all[0], wall)
	rows := [][]string{{"", "wall ms", "fastest", "added ms", "CPU ms"}}
	for i, c := range list {
		m := median(all[i], wall)
		fastest := slices.MinFunc(all[i], func(a, b result) int { return cmp.Compare(a.wall, b.wall) })
		rows = append(rows, []string{c.name, fmt.Sprintf("%.1f", m), fmt.Sprintf("%.1f", wall(fastest)), fmt.Sprintf("%+.1f", m-alone),
			fmt.Sprintf("%.1f", median(all[i], cpu))})
	}
	report.Table(fmt.Sprintf("Added to `true`: medians of %d runs each, one GPU; load average %s to %s", rounds, before, report.Load()), rows)
	added := func(i int) float64 { return median(all[i], wall) - alone }
	ratio := added(vobs) / added(vobs+1)
	report.Target(ratio <= 3, "vobs adds %.2f × the wall time that minimal adds (target: at most 3 ×)", ratio)
	if b.python != "" {
		ratio := added(vobs+2) / added(vobs)
		report.Target(ratio >= 2, "the Python sampler adds %.1f × what vobs adds (target: at least 2 ×)", ratio)
	}
	return b.inits()
}

// inits measures what the initialisation of vobs's packages takes.
func (b *bench) inits() error {
	packages := map[string][]float64{}
	for range report.Pick(b.long, 15, 7) {
		command := exec.Command(b.vobs, "version")
		command.Env = append(slices.Clone(b.env), "GODEBUG=inittrace=1")
		var trace strings.Builder
		command.Stderr = &trace
		if err := command.Run(); err != nil {
			return err
		}
		for line := range strings.Lines(trace.String()) {
			// init internal/bytealg @0.008 ms, 0 ms clock, 0 bytes, 0 allocs
			var name string
			var at, ms float64
			if _, err := fmt.Sscanf(line, "init %s @%g ms, %g ms clock", &name, &at, &ms); err == nil {
				packages[name] = append(packages[name], ms)
			}
		}
	}
	names := slices.SortedFunc(maps.Keys(packages), func(x, y string) int { return cmp.Compare(middle(packages[y]), middle(packages[x])) })
	rows, total := [][]string{{"package", "ms"}}, 0.0
	for i, name := range names {
		if total += middle(packages[name]); i < 10 {
			rows = append(rows, []string{name, fmt.Sprintf("%.3f", middle(packages[name]))})
		}
	}
	report.Table(fmt.Sprintf("Package initialisation of vobs: %.2f ms in all, the ten slowest (GODEBUG=inittrace=1)", total), rows)
	return nil
}

// intervals are those of the contenders that sample at a fixed one.
func (b *bench) intervals() []time.Duration {
	return report.Pick(b.long, []time.Duration{250 * time.Millisecond, 10 * time.Millisecond}, []time.Duration{250 * time.Millisecond})
}

// steady measures what sampling costs while the command runs.
func (b *bench) steady() error {
	list := b.contenders("REPORT", b.intervals()...)
	return cmp.Or(b.overSleep(5, list, "1 GPU", "devices 1\n"), b.overSleep(5, list, "8 GPUs", "devices 8\n"))
}

// driver is steady with a slow driver.
func (b *bench) driver() error {
	list := b.contenders("REPORT", b.intervals()...)
	const what, script = ", a driver that takes 500 µs of CPU time per call", "rule nvml* busy=500us\n"
	if err := b.overSleep(5, list, "1 GPU"+what, "devices 1\n"+script); err != nil || !b.long {
		return err
	}
	return b.overSleep(30, list[:2], "8 GPUs"+what, "devices 8\n"+script)
}

// files measures what it costs to read the metrics files of two engines twenty times a
// second, alone and beside a GPU, which then gets what is left of the budget.
func (b *bench) files() error {
	dir := b.dir + "/metrics"
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS("probe/multiproc/testdata/serve_dp2/db"))); err != nil {
		return err
	}
	before := b.env
	b.env = append(slices.Clone(before), "PROMETHEUS_MULTIPROC_DIR="+dir)
	defer func() { b.env = before }()
	list := []contender{
		{"vobs", prefix(b.vobs, "run", "-q", "-o", "REPORT", "--"), readFilesEvent},
		{"vobs --multiproc off", prefix(b.vobs, "run", "-q", "--multiproc", "off", "-o", "REPORT", "--"), readEvent},
	}
	const what = ", the metrics files of two engines (period and gap of the files)"
	if b.long {
		if err := b.overSleep(10, list[:1], "no GPU"+what, "devices 0\n"); err != nil {
			return err
		}
	}
	return b.overSleep(10, list, "1 GPU"+what, "devices 1\n")
}

// overSleep measures the contenders around a sleep of so many seconds.
func (b *bench) overSleep(length int, list []contender, what, script string) error {
	alone, err := run(b.env, []string{"/bin/sleep", "0.1"}, false) // the command's own cost, to be subtracted
	if err != nil {
		return err
	}
	seconds, rounds, before := fmt.Sprint(length), report.Pick(b.long, 3, 2), report.Load()
	all, err := b.measure(list, rounds, func() string { return script + "used 5GiB\nutil 0.5\npower 300\n" }, true, "/bin/sleep", seconds)
	if err != nil {
		return err
	}
	share := func(r result) float64 { return 100 * (r.cpu - alone.cpu) / r.wall }
	rows := [][]string{{"", "share of one core", "peak RSS MiB", "period ms", "longest gap ms"}}
	for i, c := range list {
		rows = append(rows, []string{c.name, fmt.Sprintf("%.2f %%", median(all[i], share)), fmt.Sprintf("%.1f", median(all[i], rss)),
			fmt.Sprintf("%.1f", median(all[i], period)), fmt.Sprintf("%.1f", median(all[i], gap))})
	}
	report.Table(fmt.Sprintf("Around `sleep %s`, %s: medians of %d; load average %s to %s", seconds, what, rounds, before, report.Load()), rows)
	vobs := all[0]
	report.Target(median(vobs, share) <= 1, "vobs takes %.2f %% of one core (target: at most 1 %%; its event reports %.1f ms, without writing the event and the exit)",
		median(vobs, share), median(vobs, own))
	report.Target(median(vobs, rss) <= 32, "vobs takes %.1f MiB (target: at most 32 MiB)", median(vobs, rss))
	return nil
}

// pulse measures how often 10 GiB that are held for 20 ms are seen.
func (b *bench) pulse() error {
	const devices = 8
	random := rand.New(rand.NewPCG(1, 2))
	list, rounds, before := b.contenders("REPORT", b.intervals()...), report.Pick(b.long, 20, 8), report.Load()
	all, err := b.measure(list, rounds, func() string {
		// The pulses come at other moments in each round, at the same for all contenders.
		s := fmt.Sprintf("devices %d\nused 1GiB\n", devices)
		for i := range devices {
			s += fmt.Sprintf("device %d\nused pulse 10GiB at=%dms for=20ms\n", i, 200+random.IntN(600))
		}
		return s
	}, true, "/bin/sleep", "1")
	if err != nil {
		return err
	}
	rows := [][]string{{"", "runs with all pulses caught", "pulses caught", "longest gap ms"}}
	var ofVobs, paused int
	for i, c := range list {
		whole, caught, longest := 0, 0, 0.0
		for _, r := range all[i] {
			n := 0
			for _, peak := range r.peaks {
				if peak > 10<<30 {
					n++
				}
			}
			caught, longest = caught+n, max(longest, r.gap)
			if n == devices {
				whole++
			} else if i == 0 && r.gap > 20 {
				paused++
			}
		}
		if i == 0 {
			ofVobs = whole
		}
		rows = append(rows, []string{c.name, fmt.Sprintf("%d of %d", whole, rounds), fmt.Sprintf("%d of %d", caught, devices*rounds), fmt.Sprintf("%.0f", longest)})
	}
	report.Table(fmt.Sprintf("A pulse of 10 GiB for 20 ms on each of %d GPUs at random moments: %d runs; load average %s to %s", devices, rounds, before, report.Load()), rows)
	report.Target(ofVobs == rounds, "vobs catches all in %d of %d runs (target: all; in %d of the others two readings were more than 20 ms apart, as the event reports)", ofVobs, rounds, paused)
	return nil
}
