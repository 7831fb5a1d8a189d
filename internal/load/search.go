package load

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/load/findmax"
	"github.com/vobs/vobs/internal/slo"
	"github.com/vobs/vobs/schema"
)

const (
	// A step that has missed the SLO awaits its requests for as long as it has lasted, but at
	// least hopelessDrain, and another one for twice as long, but at least minDrain. Then they
	// are cancelled.
	hopelessDrain = 10 * time.Second
	minDrain      = time.Minute
	// refusals is how many requests of a step must fail, and none be completed, for the server
	// to count as one that refuses them. Then the step sends no more.
	refusals = 10
)

// FindMax searches for the highest rate at which the load meets o.SLO, by runs at the rates that
// f chooses. It returns the figures of one of these runs, nil without any, with what was found.
// The figures are there beside an error that ended the search.
func FindMax(ctx context.Context, server *Server, o *Options, f *findmax.Options) (*Result, *findmax.Result, error) {
	s := &stepper{server: server, options: o, results: map[int]*Result{}}
	report := f.Report
	f.Report = func(p findmax.Progress) {
		s.progress = p.String()
		if report != nil {
			report(p)
		}
	}
	found, err := findmax.Search(ctx, *f, s.run)
	result := s.figures(found)
	if result == nil {
		return nil, found, err
	}
	result.Interrupted = ctx.Err() != nil
	result.Client.FindMax = found.Schema(f, s.seed)
	return result, found, err
}

// stepper runs the steps of a search.
type stepper struct {
	server   *Server
	options  *Options
	progress string
	results  map[int]*Result // by step
	last     *Result
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
		o.Report = func(status Status) {
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
	var ended []*Request
	o.More = func(r *Request) bool {
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
	o.Done = func(r *Request) {
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
	result, err := Run(ctx, s.server, &o)
	if err != nil {
		return findmax.Ran{}, err
	}
	s.results[step.Number], s.last = result, result
	return findmax.Ran{Seconds: time.Since(start).Seconds(), ClientLate: lateClient(result, ended, o.SLO)}, refused(result)
}

// lateClient reports whether requests that a late client sent would have met the targets
// otherwise: without the time by which each was late, and as much again, by the median, for
// what it then read late.
func lateClient(result *Result, requests []*Request, targets []slo.Objective) bool {
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
func refused(r *Result) error {
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
	return kind == failedTimeout || kind == "http_429" || kind == "http_503"
}

// figures returns the result of the run whose figures stand for the search: the last one at the
// rate that was found, or the last one of all.
func (s *stepper) figures(found *findmax.Result) *Result {
	for _, step := range slices.Backward(found.Steps) {
		if step.Rate == found.Rate && step.Met {
			return s.results[step.Number]
		}
	}
	return s.last
}
