//go:build linux

// Load measures what `vobs load` costs beside the clients of vLLM's own benchmark: the request
// function of `vllm bench serve` (Python), and its Rust client if the package has it. All of
// them send the same requests to one simulated server, which runs in another process, and take
// turns, so that whatever else the machine does affects all of them. Each part prints a
// Markdown table; docs/load.md shows one round.
//
//	go run ./bench/load [-long] [-only saturated,paced,streams] [-vobs PATH]
//
//	saturated  CPU time per chunk, when chunks come as fast as a client reads them
//	paced      CPU time per chunk of 200 streams of 50 chunks per second, or of fewer streams
//	           if the Python client cannot keep up, and what the client adds to the time to
//	           first token
//	streams    10 000 streams at once: errors, and memory per stream
//
// It takes about eight minutes, -long twice as long. vLLM's client comes from the engine of
// the end-to-end tests, if E2E_DIR names its directory, and from PyPI otherwise. Exit status
// 1: a target was missed, or something could not be measured.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/bench/internal/report"
)

// part is one part of the measurement.
type part struct {
	name string
	run  func() error
}

// bench holds what all parts need.
type bench struct {
	dir     string // for output
	long    bool
	clients []client
	missed  int
}

func main() {
	serve := flag.String("serve", "", "be the server that answers at this `PACE`: FIRST,GAP,BATCH")
	long := flag.Bool("long", false, "with more repetitions")
	only := flag.String("only", "saturated,paced,streams", "the `PARTS` to run")
	vobs := flag.String("vobs", os.Getenv("VOBS"), "the vobs to measure, at `PATH` [$VOBS]")
	flag.Parse()
	if *serve != "" {
		exit(serveUntilEOF(*serve))
	}
	b := &bench{long: *long}
	err := b.prepare(*vobs)
	for _, part := range []part{{"saturated", b.saturated}, {"paced", b.paced}, {"streams", b.streams}} {
		if err == nil && slices.Contains(strings.Split(*only, ","), part.name) {
			err = part.run()
		}
	}
	if err == nil && b.missed > 0 {
		err = fmt.Errorf("%d targets missed", b.missed)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// prepare finds the clients.
func (b *bench) prepare(vobs string) (err error) {
	if b.dir, err = filepath.Abs(".e2e/bench/load"); err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	if vobs == "" {
		return errors.New("-vobs is missing: make builds bin/vobs")
	}
	if vobs, err = filepath.Abs(vobs); err != nil {
		return err
	}
	b.clients = []client{{name: "vobs load", run: vobsLoad(vobs)}}
	found, err := vllmClients(b.dir)
	b.clients = append(b.clients, found...)
	return err
}

// target prints a target and counts it if it is missed.
func (b *bench) target(met bool, format string, args ...any) {
	if !met {
		b.missed++
	}
	report.Target(met, format, args...)
}

// measure runs all clients in turn, in every second round in the opposite order, and returns
// the runs of each. The server is the same for all of them.
func (b *bench) measure(p pace, w work, rounds int) ([][]result, error) {
	s, err := startServer(p)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	all := make([][]result, len(b.clients))
	order := make([]int, len(b.clients))
	for i := range order {
		order[i] = i
	}
	for range rounds {
		for _, i := range order {
			r, err := b.clients[i].measure(b.dir, s, w)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.clients[i].name, err)
			}
			all[i] = append(all[i], r)
		}
		slices.Reverse(order)
	}
	return all, nil
}

// saturated measures the CPU time per chunk when the server sends as fast as it can.
func (b *bench) saturated() error {
	w := work{requests: 512, tokens: 1000, concurrency: 64}
	rounds, before := report.Pick(b.long, 11, 5), report.Load()
	all, err := b.measure(pace{batch: 16}, w, rounds)
	if err != nil {
		return err
	}
	rows := [][]string{{"", "CPU µs per chunk", "chunks/s", "peak RSS MiB", "server: CPU µs per chunk"}}
	for i, c := range b.clients {
		rows = append(rows, []string{c.name, fmt.Sprintf("%.3f", median(all[i], perChunk)), fmt.Sprintf("%.0f", median(all[i], rate)),
			fmt.Sprintf("%.0f", median(all[i], rss)), fmt.Sprintf("%.3f", median(all[i], serverPerChunk))})
	}
	report.Table(fmt.Sprintf("Saturated: %d requests of %d chunks, %d at a time, 16 chunks per write: medians of %d; load average %s to %s",
		w.requests, w.tokens, w.concurrency, rounds, before, report.Load()), rows)
	if i := b.python(); i >= 0 {
		share := medianRatio(all[i], all[0], perChunk)
		b.target(share >= 8, "the Python client takes %.1f × the CPU time per chunk of vobs (target: at least 8 ×)", share)
	}
	return nil
}

// paced measures the CPU time per chunk, and what is added to the time to first token, when the
// server sends at an engine's pace.
func (b *bench) paced() error {
	const first, gap = 50 * time.Millisecond, 20 * time.Millisecond
	const length, arrivals = 5, 10 // seconds: of a stream, and of all arrivals
	rounds, before := report.Pick(b.long, 11, 5), report.Load()
	w, err := b.keptUp(pace{first: first, gap: gap}, 200, func(streams int) work {
		perSecond := streams / length
		return work{requests: perSecond * arrivals, tokens: int(length * time.Second / gap), rate: float64(perSecond), pace: gap}
	})
	if err != nil {
		return err
	}
	all, err := b.measure(pace{first: first, gap: gap}, w, rounds)
	if err != nil {
		return err
	}
	rows := [][]string{{"", "CPU µs per chunk", "added to TTFT: p50 ms", "p99 ms", "merged chunks", "peak RSS MiB", "server: CPU µs per chunk"}}
	for i, c := range b.clients {
		merged := "–" // vobs does not report each gap
		if i > 0 {
			merged = fmt.Sprintf("%.0f %%", 100*median(all[i], func(r result) float64 { return r.merged }))
		}
		rows = append(rows, []string{c.name, fmt.Sprintf("%.2f", median(all[i], perChunk)), fmt.Sprintf("%.2f", added(all[i], 0.5)),
			fmt.Sprintf("%.2f", added(all[i], 0.99)), merged, fmt.Sprintf("%.0f", median(all[i], rss)), fmt.Sprintf("%.2f", median(all[i], serverPerChunk))})
	}
	report.Table(fmt.Sprintf("Paced: %d requests of %d chunks, a chunk every %v, the first after %v; Poisson arrivals of %v per second, so about %.0f streams: %d runs; load average %s to %s",
		w.requests, w.tokens, gap, first, w.rate, length*w.rate, rounds, before, report.Load()), rows)
	if i := b.python(); i >= 0 {
		share := medianRatio(all[i], all[0], perChunk)
		b.target(share >= 3, "the Python client takes %.1f × the CPU time per chunk of vobs (target: at least 3 ×)", share)
		share = added(all[i], 0.99) / added(all[0], 0.99)
		b.target(share >= 4, "it adds %.1f × as much to the 99th percentile of the time to first token (target: at least 4 ×)", share)
	}
	return nil
}

// keptUp returns the work of so many streams, or of half or a quarter of them if the Python
// client cannot keep up with more: it then takes several chunks at once, which costs it less
// per chunk, and its times to first token grow without bounds.
func (b *bench) keptUp(p pace, streams int, of func(streams int) work) (work, error) {
	const merged, least = 0.1, 50
	i := b.python()
	for ; i >= 0 && streams > least; streams /= 2 {
		s, err := startServer(p)
		if err != nil {
			return work{}, err
		}
		r, err := b.clients[i].measure(b.dir, s, of(streams))
		s.stop()
		if err != nil {
			return work{}, fmt.Errorf("%s: %w", pythonClient, err)
		}
		if r.merged < merged {
			break
		}
		fmt.Fprintf(os.Stderr, "bench: with %d streams, the Python client takes %.0f %% of the chunks together with the one before: the machine is busy, and fewer streams are used\n",
			streams, 100*r.merged)
	}
	return of(streams), nil
}

// streams measures 10 000 streams at once.
func (b *bench) streams() error {
	const many, few, spare = 10_000, 100, 200
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit on open files: %w", err)
	}
	if limit.Max < many+spare {
		fmt.Fprintf(os.Stderr, "bench: SKIPPED: %d streams at once: the limit on open files is %d (ulimit -Hn), and %d are needed\n", many, limit.Max, many+spare)
		return nil
	}
	// The last request is sent after 8 s, and the first stream ends after 16 s.
	w := work{requests: many, tokens: 16, rate: many / 8, constant: true, mayFail: true}
	before := report.Load()
	all, err := b.measure(pace{first: time.Second, gap: time.Second}, w, 1)
	if err != nil {
		return err
	}
	w.requests, w.rate = few, few
	small, err := b.measure(pace{first: time.Second, gap: time.Second}, w, 1)
	if err != nil {
		return err
	}
	rows := [][]string{{"", "streams at once", "completed", "failed", "CPU µs per chunk", "peak RSS MiB", "KiB per stream"}}
	for i, c := range b.clients {
		r := all[i][0]
		perStream := 1024 * (r.rss - small[i][0].rss) / (many - few)
		rows = append(rows, []string{c.name, fmt.Sprint(r.served.Peak), fmt.Sprint(r.completed), fmt.Sprint(r.failed),
			fmt.Sprintf("%.1f", perChunk(r)), fmt.Sprintf("%.0f", r.rss), fmt.Sprintf("%.1f", perStream)})
	}
	report.Table(fmt.Sprintf("%d streams at once, a chunk per second each; memory per stream is the difference to %d streams; load average %s to %s",
		many, few, before, report.Load()), rows)
	r := all[0][0]
	b.target(r.completed == many && r.failed == 0 && r.served.Peak == many, "vobs completes %d of %d requests, with %d streams at once (target: all, without an error)",
		r.completed, many, r.served.Peak)
	return nil
}

// python returns the index of the Python client; -1 if there is none.
func (b *bench) python() int {
	return slices.IndexFunc(b.clients, func(c client) bool { return c.name == pythonClient })
}

// The figures of a result.
func perChunk(r result) float64       { return 1e6 * r.cpu / float64(r.served.Chunks) }
func serverPerChunk(r result) float64 { return 1e6 * r.served.CPUSeconds / float64(r.served.Chunks) }
func rate(r result) float64           { return float64(r.served.Chunks) / r.served.Seconds }
func rss(r result) float64            { return r.rss }

// added returns a percentile of what is added to the times to first token of all runs, in ms:
// a single run has too few requests for a 99th percentile.
func added(runs []result, q float64) float64 {
	var all []float64
	for _, r := range runs {
		all = append(all, r.added...)
	}
	slices.Sort(all)
	return 1e3 * all[min(int(q*float64(len(all))), len(all)-1)]
}

func median(runs []result, figure func(result) float64) float64 {
	list := make([]float64, len(runs))
	for i, r := range runs {
		list[i] = figure(r)
	}
	return middle(list)
}

// medianRatio returns the median of the ratios of two clients within each round.
func medianRatio(over, under []result, figure func(result) float64) float64 {
	list := make([]float64, len(over))
	for i := range over {
		list[i] = figure(over[i]) / figure(under[i])
	}
	return middle(list)
}

func middle(list []float64) float64 {
	slices.SortFunc(list, cmp.Compare)
	return (list[len(list)/2] + list[(len(list)-1)/2]) / 2
}
