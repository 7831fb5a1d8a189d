//go:build linux

// Overhead measures what `vobs run` costs, beside what one would use instead: the
// smallest Go wrapper that links go-nvml (../minimal), a Python sampler thread
// (../seed_sampler.py) and GNU time. Whole processes around the same command, in
// turn, so that whatever else the machine does meets them all; the GPUs are those of
// testdata/fakenvml. A Markdown table per question: docs/overhead.md has one round.
//
//	go run ./bench/overhead [-quick] [-only start,steady,pulse,dear,files] [-vobs PATH]
//
// A missed target is told and fails nothing. Exit status 1: something could not be
// measured. It needs cgo, for ../minimal.
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

// bench holds what all questions need.
type bench struct {
	dir    string // for what is built and written
	quick  bool
	vobs   string
	env    []string
	python string // the interpreter that has pynvml; "" without one
}

func main() {
	quick := flag.Bool("quick", false, "a short round, whose figures are partly chance")
	only := flag.String("only", "start,steady,pulse,dear,files", "the `QUESTIONS` to answer")
	vobs := flag.String("vobs", os.Getenv("VOBS"), "the vobs to measure, at `PATH` [$VOBS]; by default it is built")
	flag.Parse()
	// Neither our collector nor a change of threads shall fall into a measurement.
	debug.SetGCPercent(-1)
	runtime.LockOSThread()

	b := &bench{quick: *quick, vobs: *vobs}
	err := b.prepare()
	for _, q := range []struct {
		name string
		ask  func() error
	}{{"start", b.start}, {"steady", b.steady}, {"pulse", b.pulse}, {"dear", b.dear}, {"files", b.files}} {
		if err == nil && slices.Contains(strings.Split(*only, ","), q.name) {
			err = q.ask()
			runtime.GC()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// prepare builds what is measured, and finds what is needed.
func (b *bench) prepare() (err error) {
	if b.dir, err = filepath.Abs(".e2e/bench"); err != nil {
		return err
	}
	builds := [][]string{
		{"mkdir", "-p", b.dir},
		{"testdata/fakenvml/build.sh", b.dir},
		{"go", "build", "-trimpath", "-buildvcs=false", "-o", b.dir + "/minimal", "./bench/minimal"},
	}
	if b.vobs == "" { // as the Makefile does it
		b.vobs = b.dir + "/vobs"
		builds = append(builds, []string{"go", "build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs", "-o", b.vobs, "."})
	}
	if err := each(builds); err != nil {
		return err
	}
	if b.vobs, err = filepath.Abs(b.vobs); err != nil {
		return err
	}
	// A small environment, the same for all.
	b.env = []string{"PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + b.dir, "FAKE_NVML_SCRIPT=" + b.dir + "/script"}

	b.python = venv.With(b.dir, "pynvml", "nvidia-ml-py==13.615.71", "the Python sampler")
	return nil
}

// each runs commands one after the other, with cgo.
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

// contenders are vobs, then minimal and the Python sampler at each interval; these
// two report to the given file, REPORT or -, which is none.
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

// prefix makes a command line: words, the report's file where one is REPORT, then the command.
func prefix(words ...string) func(string, ...string) []string {
	return func(report string, command ...string) []string {
		argv := append(slices.Clone(words), command...)
		if i := slices.Index(words, "REPORT"); i >= 0 {
			argv[i] = report
		}
		return argv
	}
}

// measure runs the contenders in turn around a command, each round on the GPUs that
// script gives, and returns each one's results.
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

// start asks what is added to a command that does nothing.
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
	rounds, before := report.Pick(b.quick, 10, 60), report.Load()
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
	ratio := median(all[vobs], wall) / median(all[vobs+1], wall)
	report.Target(ratio <= 2.5, "vobs takes %.2f × the wall time of minimal (target: at most 2.5 ×)", ratio)
	if b.python != "" {
		ratio := (median(all[vobs+2], wall) - alone) / (median(all[vobs], wall) - alone)
		report.Target(ratio >= 10, "the Python sampler adds %.1f × what vobs adds (target: at least 10 ×)", ratio)
	}
	return b.inits()
}

// inits tells what vobs's packages take to initialise.
func (b *bench) inits() error {
	packages := map[string][]float64{}
	for range report.Pick(b.quick, 3, 15) {
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
	report.Table(fmt.Sprintf("Package initialisation of vobs: %.2f ms in all, the ten dearest (GODEBUG=inittrace=1)", total), rows)
	return nil
}

// steady asks what watching costs while the command runs.
func (b *bench) steady() error {
	list := b.contenders("REPORT", 250*time.Millisecond, 10*time.Millisecond)
	return cmp.Or(b.overSleep(5, list, "1 GPU", "devices 1\n"), b.overSleep(5, list, "8 GPUs", "devices 8\n"))
}

// dear asks the same with a driver that takes long to answer.
func (b *bench) dear() error {
	list := b.contenders("REPORT", 250*time.Millisecond, 10*time.Millisecond)
	const what, script = ", a driver of 500 µs of CPU time a call", "rule nvml* busy=500us\n"
	return cmp.Or(
		b.overSleep(5, list, "1 GPU"+what, "devices 1\n"+script),
		b.overSleep(30, list[:2], "8 GPUs"+what, "devices 8\n"+script))
}

// files asks what it costs to read the metrics files of two engines twenty times a
// second; beside a GPU as often as the budget allows.
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
	const what = ", the metrics files of two engines (period and gap are theirs)"
	return cmp.Or(b.overSleep(10, list[:1], "no GPU"+what, "devices 0\n"), b.overSleep(10, list, "1 GPU"+what, "devices 1\n"))
}

func (b *bench) overSleep(length int, list []contender, what, script string) error {
	alone, err := run(b.env, []string{"/bin/sleep", "0.1"}, false) // its cost is not the contenders'
	if err != nil {
		return err
	}
	seconds, rounds, before := fmt.Sprintf("%d", report.Pick(b.quick, 2, length)), report.Pick(b.quick, 1, 3), report.Load()
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
	report.Target(median(vobs, share) <= 1, "vobs takes %.2f %% of one core (target: at most 1 %%; by its own word %.1f ms, without the event's writing and the exit)",
		median(vobs, share), median(vobs, own))
	report.Target(median(vobs, rss) <= 20, "vobs takes %.1f MiB (target: at most 20 MiB)", median(vobs, rss))
	return nil
}

// pulse asks whether 10 GiB that are held for 20 ms are seen.
func (b *bench) pulse() error {
	const devices = 8
	random := rand.New(rand.NewPCG(1, 2))
	list, rounds, before := b.contenders("REPORT", 250*time.Millisecond, 10*time.Millisecond), report.Pick(b.quick, 5, 20), report.Load()
	all, err := b.measure(list, rounds, func() string {
		// Other moments in each round, the same for all contenders.
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
	report.Target(ofVobs == rounds, "vobs catches all in %d of %d runs (target: all; in %d of the others two readings were over 20 ms apart, and the event says so)", ofVobs, rounds, paused)
	return nil
}
