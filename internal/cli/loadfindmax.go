package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/load"
	"github.com/vobs/vobs/internal/load/findmax"
	"github.com/vobs/vobs/internal/slo"
	"github.com/vobs/vobs/schema"
)

const (
	// findMaxStart is the rate of the first step without --rate, in requests per second.
	findMaxStart = 1
	// findMaxDuration limits a step if neither a time nor a number of requests is given.
	findMaxDuration = 2 * time.Minute
	// A step that has missed the SLO awaits its requests for as long as it has lasted, but at
	// least hopelessDrain, and another one for twice as long, but at least minDrain. Then they
	// are cancelled.
	hopelessDrain = 10 * time.Second
	minDrain      = time.Minute
	// refusals is how many requests of a step must fail, and none be completed, for the server
	// to count as one that refuses them. Then the step sends no more.
	refusals = 10
)

func findMaxFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "find-max", Usage: "search for the highest rate that meets --slo; --rate is the first one (default: 1), and --requests and --duration (default: 2m) limit a step"},
		&cli.Float64Flag{Name: "max-rate", DefaultText: "no limit", Usage: "with --find-max: try no more than `N` requests per second"},
		&cli.StringFlag{Name: "resolution", Value: "5%", Usage: "with --find-max: the `STEP` between two rates, relative to the lower one"},
	}
}

// prepareFindMax sets the flags that --find-max implies. It returns an error if others do not
// go with it.
func prepareFindMax(c *cli.Context) error {
	if !c.Bool("find-max") {
		for _, name := range []string{"max-rate", "resolution"} {
			if c.IsSet(name) {
				return fmt.Errorf("--%s needs --find-max", name)
			}
		}
		return nil
	}
	for _, name := range []string{"concurrency", "ramp", "cancel", "scale", "save-requests", "dataset", "turns"} {
		if c.IsSet(name) {
			return fmt.Errorf("--find-max and --%s exclude each other", name)
		}
	}
	if observes(c) {
		return withHint(errors.New("--find-max and --observe exclude each other: an event is about one load"),
			"search first, then observe the rate that was found: vobs load --rate RATE --observe URL")
	}
	if !c.IsSet("slo") {
		return withHint(errors.New("--find-max needs --slo"), "--slo chat, or targets like --slo ttft=500ms@p99,itl=50ms")
	}
	if !c.IsSet("rate") {
		if err := c.Set("rate", strconv.Itoa(findMaxStart)); err != nil {
			return err
		}
	}
	if !c.IsSet("requests") && !c.IsSet("duration") {
		return c.Set("duration", findMaxDuration.String())
	}
	return nil
}

// findMaxOptions returns what to search.
func findMaxOptions(c *cli.Context, o *load.Options) (*findmax.Options, error) {
	f := &findmax.Options{Start: o.Rate, Highest: 1e6, Requests: o.Requests, Duration: o.Duration}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(c.String("resolution")), "%"), 64)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(c.String("resolution")), "%") || !(percent >= 0.5 && percent <= 100) {
		return nil, fmt.Errorf("--resolution %q: use a share from 0.5%% to 100%%, as 5%%", c.String("resolution"))
	}
	f.Resolution = percent / 100
	if c.IsSet("max-rate") {
		if f.Highest = c.Float64("max-rate"); !(f.Highest >= f.Start && f.Highest <= 1e6) {
			return nil, fmt.Errorf("--max-rate %v: use a number from --rate, %v, to a million", f.Highest, f.Start)
		}
	}
	for _, target := range o.SLO {
		f.Targets = append(f.Targets, findmax.Target{Name: target.String(), Seconds: target.Seconds, Share: float64(target.Percentile) / 100})
	}
	return f, nil
}

// runLoad sends the load, or with --find-max searches for the highest rate.
func runLoad(ctx context.Context, c *cli.Context, m *messages, server *load.Server, o *load.Options) (*load.Result, error) {
	if !c.Bool("find-max") {
		return load.Run(ctx, server, o)
	}
	f, err := findMaxOptions(c, o)
	if err != nil {
		return nil, err
	}
	o.Settings["find-max"], o.Settings["resolution"], o.Settings["start-rate"] = true, c.String("resolution"), f.Start
	if c.IsSet("max-rate") {
		o.Settings["max-rate"] = f.Highest
	}
	if !c.Bool("quiet") {
		m.line(findMaxPlan(f))
	}
	s := &stepper{server: server, options: o, results: map[int]*load.Result{}}
	f.Report = func(p findmax.Progress) { s.progress = p.String() }
	found, err := findmax.Search(ctx, *f, s.run)
	result := s.figures(found)
	if result == nil {
		return nil, err
	}
	result.Interrupted = ctx.Err() != nil
	result.Client.FindMax = found.Schema(f, s.seed)
	if !c.Bool("quiet") {
		if err := writeBuffered(m.w, func(w io.Writer) error { return found.WriteText(w, f) }); err != nil {
			return result, err
		}
	}
	if err != nil {
		err = fail(exitUsage, err) // though no request may have been completed, too
	}
	return result, err
}

// findMaxPlan says how long the search takes.
func findMaxPlan(f *findmax.Options) string {
	limits := []string{}
	if f.Requests > 0 {
		limits = append(limits, fmt.Sprintf("%d requests", f.Requests))
	}
	if f.Duration > 0 {
		limits = append(limits, f.Duration.String())
	}
	text := fmt.Sprintf("searching from %v requests/s: steps of at most %s", f.Start, strings.Join(limits, " or "))
	const doublings = 5
	if f.Duration > 0 {
		n := f.MostSteps(doublings)
		text += fmt.Sprintf("; %d steps, %v at most, if the answer is below %v", n, time.Duration(n)*f.Duration, f.Start*float64(int(1)<<doublings))
	}
	return text
}

// stepper runs the steps of a search.
type stepper struct {
	server   *load.Server
	options  *load.Options
	progress string
	results  map[int]*load.Result // by step
	last     *load.Result
}

// seed returns the seed of a step. No two steps have the same, so that no prompt is in the
// server's prefix cache. It has at most 53 bits, which every reader of JSON keeps.
func (s *stepper) seed(step int) int64 {
	return int64((1000*s.options.Seed + uint64(step)) & (1<<53 - 1))
}

// run runs a step.
func (s *stepper) run(ctx context.Context, step findmax.Step, w *findmax.Watch) (findmax.Ran, error) {
	o := *s.options
	o.Rate, o.Seed, o.Settings = step.Rate, uint64(s.seed(step.Number)), maps.Clone(s.options.Settings)
	o.Settings["rate"], o.Settings["seed"] = o.Rate, o.Seed
	if report := o.Report; report != nil {
		o.Report = func(status load.Status) {
			status.Of = s.progress
			report(status)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	drain := time.AfterFunc(o.Timeout, cancel)
	drain.Stop()
	defer drain.Stop()
	if o.Duration > 0 {
		drain.Reset(o.WarmupTime + o.Duration + max(minDrain, 2*o.Duration))
	}
	var mu sync.Mutex
	first, sent, enough, answers := -1, 0, false, false
	var ended []*load.Request
	o.More = func(r *load.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case enough:
			drain.Reset(max(hopelessDrain, time.Since(start)))
			return false
		case r.Warmup:
			return true
		case first < 0:
			first = r.Number
		}
		enough = w.Sent(r.Intended)
		if sent++; sent == o.Requests {
			drain.Reset(max(minDrain, 2*time.Since(start)))
		}
		return true
	}
	o.Done = func(r *load.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Warmup || r.Cancelled {
			return
		}
		if r.Failure == "" || overloaded(r.Failure) {
			answers = true
		}
		latencies := make([]float64, len(o.SLO))
		for i, target := range o.SLO {
			latencies[i] = r.Latency(target.Metric)
		}
		ended = append(ended, r)
		enough = w.Ended(r.Number-first, r.End, latencies) || enough || !answers && len(ended) >= refusals
	}
	result, err := load.Run(ctx, s.server, &o)
	if err != nil {
		return findmax.Ran{}, err
	}
	s.results[step.Number], s.last = result, result
	return findmax.Ran{Seconds: time.Since(start).Seconds(), ClientLate: lateClient(result, ended, o.SLO)}, refused(result)
}

// lateClient reports whether requests that a late client sent would have met the targets
// otherwise: without the time by which each was late, and as much again, by the median, for
// what it then read late.
func lateClient(result *load.Result, requests []*load.Request, targets []slo.Objective) bool {
	if !slices.ContainsFunc(result.Notes.Validity, func(v schema.Validity) bool { return v.Code == schema.CodeClientLate }) {
		return false
	}
	median, _ := result.Client.LatencySeconds.SendLateness.P50.Value()
	for _, target := range targets {
		met := 0
		for _, r := range requests {
			seconds := r.Latency(target.Metric)
			if target.Metric != slo.ITL {
				seconds -= (r.Sent - r.Intended).Seconds() + median
			} else if median > target.Seconds && !math.IsInf(seconds, 1) { // it does not keep up with the chunks
				seconds = 0
			}
			if seconds <= target.Seconds {
				met++
			}
		}
		if 100*met < target.Percentile*len(requests) {
			return false
		}
	}
	return true
}

// refused returns an error if the server refused all requests of a step for another reason than
// overload.
func refused(r *load.Result) error {
	if *r.Client.Requests.Completed > 0 {
		return nil
	}
	failed := int64(0)
	for kind, n := range r.Client.Requests.Failed {
		if overloaded(kind) {
			return nil
		}
		failed += n
	}
	if failed < refusals {
		return nil
	}
	kind := slices.Sorted(maps.Keys(r.Failures))[0]
	return fmt.Errorf("the server answered no request of a step: %s: %s", kind, r.Failures[kind])
}

// overloaded reports whether a kind of failure may be due to overload.
func overloaded(kind string) bool {
	return kind == "timeout" || kind == "http_429" || kind == "http_503"
}

// figures returns the result of the run whose figures stand for the search: the last one at the
// rate that was found, or the last one of all.
func (s *stepper) figures(found *findmax.Result) *load.Result {
	for _, step := range slices.Backward(found.Steps) {
		if step.Rate == found.Rate && step.Met {
			return s.results[step.Number]
		}
	}
	return s.last
}

// findMaxCode returns the error of a search that found no rate.
func findMaxCode(result *load.Result) error {
	if f := result.Client.FindMax; f != nil && f.Rate == nil {
		return fail(exitProblems, errors.New("no rate is known to meet the SLO"))
	}
	return nil
}
