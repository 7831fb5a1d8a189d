package findmax

import (
	"context"
	"math"
	"strconv"
	"time"
)

const (
	// Confirmations is how many fresh runs confirm a rate.
	Confirmations = 3
	// factor is by how much the rate rises, or falls, until it is bracketed.
	factor = 2
	// deepest is how far below the first rate the search goes, as a factor; without a limit of
	// time it is deepestUntimed, because steps of a number of requests grow long.
	deepest        = 1000
	deepestUntimed = 32
	// highest bounds all rates, in requests per second.
	highest = 1e6
	// fewest is how many requests a step can have at its limit, at least: at lower rates, the
	// search ends.
	fewest = 20
)

// Options is what to search.
type Options struct {
	Targets []Target
	// Start is the rate of the first step, Highest the limit of the rates; requests per second.
	Start, Highest float64
	// Resolution is the step between two rates, relative to the lower one.
	Resolution float64
	// Requests and Duration limit a step; 0 for no limit, but not both.
	Requests int
	Duration time.Duration
	// Report, if set, is called before each step, and after it with its result.
	Report func(p Progress)
}

// Step is a step to run.
type Step struct {
	// Number counts steps from 1. No two steps are to send the same requests.
	Number int
	Rate   float64
	// Requests and Duration limit it; 0 for no limit.
	Requests int
	Duration time.Duration
	// Confirms reports whether it confirms a rate.
	Confirms bool
}

// Ran is what a runner reports of a step.
type Ran struct {
	// Seconds is how long it lasted until all its requests had ended.
	Seconds float64
	// ClientLate reports whether requests were sent so late that they would have met the targets
	// otherwise. It matters if the step missed them.
	ClientLate bool
}

// Runner runs a step, calls the watch as requests are sent and end, and stops sending when a
// call reports true. It returns when all requests have ended.
type Runner func(ctx context.Context, step Step, w *Watch) (Ran, error)

// StepResult is a step that was run.
type StepResult struct {
	Step
	Ran
	Verdict
}

// Progress is how far a search is.
type Progress struct {
	Step Step
	// Done is the result of the step; nil before it.
	Done *StepResult
	// Low is the highest rate that met the targets so far, High the lowest that missed them; 0
	// if there is none.
	Low, High float64
}

// StoppedBy is why a search ended.
type StoppedBy string

// The reasons.
const (
	Resolved    StoppedBy = "resolution"  // the next higher rate misses the targets
	AtHighest   StoppedBy = "max_rate"    // the highest allowed rate meets them
	AtLowest    StoppedBy = "lowest_rate" // the lowest rate that can be judged misses them
	Client      StoppedBy = "client"      // the next higher rate misses them because of the client
	Interrupted StoppedBy = "interrupted"
	Failed      StoppedBy = "error"
)

// Result is what a search found.
type Result struct {
	// Rate is the highest rate that meets the targets; 0 if none does. Confirmed reports whether
	// fresh runs confirm it.
	Rate      float64
	Confirmed bool
	// ProvenMet is the highest rate that is proven to meet the targets, and ProvenMissed the
	// lowest that is proven to miss them; 0 if there is none.
	ProvenMet, ProvenMissed float64
	// Steps are all steps, in their order.
	Steps     []StepResult
	StoppedBy StoppedBy
}

// MostSteps returns how many steps a search needs at most if the highest rate lies within a
// factor of 2^doublings of the first, and if the first confirmation succeeds.
func (o *Options) MostSteps(doublings int) int {
	return 1 + doublings + int(math.Ceil(math.Log2(float64(o.jump())))) + Confirmations
}

// jump is how many steps of the grid make up the factor.
func (o *Options) jump() int {
	return max(1, int(math.Round(math.Log(factor)/math.Log1p(o.Resolution))))
}

// rate returns a rate of the grid, with four digits. The last one is the highest rate.
func (o *Options) rate(k int) float64 {
	if k == 0 {
		return o.Start
	}
	rate, _ := strconv.ParseFloat(strconv.FormatFloat(o.Start*math.Pow(1+o.Resolution, float64(k)), 'g', 4, 64), 64)
	return min(rate, o.Highest)
}

// steps returns the number of steps of the grid from the first rate to another, rounded down.
func (o *Options) steps(rate float64) int {
	return int(math.Floor(math.Log(rate/o.Start)/math.Log1p(o.Resolution) + 1e-9))
}

// search is a search in progress. Rates are numbers of the grid, from 0 for the first.
type search struct {
	*Options
	run          Runner
	result       Result
	lowest, most int          // of the grid
	low, high    int          // met, missed; lowest-1 and most+1 before
	met          map[int]int  // runs that met the targets, by rate
	missed       map[int]bool // rates that are proven to miss them, or missed them in fresh runs
	late         map[int]bool // rates that were missed while the client was late
}

// Search searches until it has an answer, ctx ends, or the runner fails. The result is never
// nil; with an error, it is what was found so far.
func Search(ctx context.Context, o Options, run Runner) (*Result, error) {
	s := &search{Options: &o, run: run, met: map[int]int{}, missed: map[int]bool{}, late: map[int]bool{}}
	s.Highest = min(o.Highest, highest)
	s.most = max(0, o.steps(s.Highest))
	if s.rate(s.most) < s.Highest {
		s.most++ // the highest rate itself
	}
	lowest := o.Start / deepestUntimed
	if o.Duration > 0 {
		lowest = max(o.Start/deepest, fewest/o.Duration.Seconds())
	}
	s.lowest = min(0, o.steps(lowest)+1)
	s.low, s.high = s.lowest-1, s.most+1
	ended, err := s.bracket(ctx)
	if ended {
		ended, err = s.confirm(ctx)
	}
	s.sum(ended, err)
	return &s.result, err
}

// bracket narrows the rates down to two neighbours, of which the lower one meets the targets.
// It reports false if it was ended early.
func (s *search) bracket(ctx context.Context) (ended bool, err error) {
	for k := 0; s.high-s.low > 1; {
		step, err := s.step(ctx, k, false)
		if step == nil {
			return false, err
		}
		if step.Met {
			s.low = k
		} else {
			s.high = k
		}
		switch {
		case s.high > s.most:
			k = min(s.low+s.jump(), s.most)
		case s.low < s.lowest:
			k = max(s.high-s.jump(), s.lowest)
		default:
			k = (s.low + s.high) / 2
		}
	}
	return true, nil
}

// confirm runs the highest rate that met the targets again, and the one below it if that fails.
// Then the next higher rate has its fresh runs too, unless it is proven to miss the targets or
// has missed them in fresh runs: a single run may have missed them by chance.
func (s *search) confirm(ctx context.Context) (ended bool, err error) {
	for s.low >= s.lowest {
		good, ended, err := s.fresh(ctx, s.low)
		if !ended {
			return false, err
		}
		if good {
			s.result.Confirmed = true
			break
		}
		s.low, s.high = s.low-1, s.low
	}
	for s.result.Confirmed && s.low < s.most && !s.missed[s.low+1] {
		good, ended, err := s.fresh(ctx, s.low+1)
		if !ended {
			return false, err
		}
		if !good {
			break
		}
		s.low, s.high = s.low+1, s.low+2
	}
	return true, nil
}

// fresh runs a rate of the grid again, with fresh requests. It reports whether the runs together
// meet the targets, and none of them is overloaded or proven to miss them. ended is false if it
// was ended early.
func (s *search) fresh(ctx context.Context, k int) (good, ended bool, err error) {
	together, requests := make([]float64, len(s.Targets)), 0.0
	good = true
	for n := 0; n < Confirmations && good; n++ {
		step, err := s.step(ctx, k, true)
		if step == nil {
			return false, false, err
		}
		good = step.Met || !step.Proven && !step.Overload
		requests += float64(step.Judged)
		for i, share := range step.Shares {
			together[i] += share.Met * float64(step.Judged)
		}
	}
	for i, target := range s.Targets {
		good = good && requests > 0 && together[i] >= target.Share*requests-1e-6
	}
	s.missed[k] = s.missed[k] || !good
	return good, true, nil
}

// step runs a step at a rate of the grid. It returns nil if it was ended early.
func (s *search) step(ctx context.Context, k int, confirms bool) (*StepResult, error) {
	step := Step{Number: len(s.result.Steps) + 1, Rate: s.rate(k), Requests: s.Requests, Duration: s.Duration, Confirms: confirms}
	s.report(step, nil)
	most := s.Requests
	if s.Duration > 0 {
		if n := int(step.Rate * s.Duration.Seconds()); most == 0 || n < most {
			most = n
		}
	}
	w := newWatch(s.Targets, s.Resolution, most)
	ran, err := s.run(ctx, step, w)
	if err != nil || ctx.Err() != nil {
		return nil, err
	}
	done := StepResult{step, ran, w.finish()}
	done.ClientLate = ran.ClientLate && !done.Met
	s.result.Steps = append(s.result.Steps, done)
	if done.Met {
		s.met[k]++
	} else {
		s.missed[k] = s.missed[k] || done.Proven
		s.late[k] = s.late[k] || ran.ClientLate
	}
	s.report(step, &done)
	return &done, nil
}

func (s *search) report(step Step, done *StepResult) {
	if s.Report == nil {
		return
	}
	p := Progress{Step: step, Done: done}
	if s.low >= s.lowest {
		p.Low = s.rate(s.low)
	}
	if s.high <= s.most {
		p.High = s.rate(s.high)
	}
	s.Report(p)
}

// sum sums the search up.
func (s *search) sum(ended bool, err error) {
	r := &s.result
	switch {
	case err != nil:
		r.StoppedBy = Failed
	case !ended:
		r.StoppedBy = Interrupted
	case s.high <= s.most && s.late[s.high]:
		r.StoppedBy = Client
	case s.low < s.lowest:
		r.StoppedBy = AtLowest
	case s.high > s.most:
		r.StoppedBy = AtHighest
	default:
		r.StoppedBy = Resolved
	}
	for k := s.low; k >= s.lowest && r.Rate == 0; k-- {
		if s.met[k] > 0 {
			r.Rate = s.rate(k)
		}
	}
	for _, step := range r.Steps {
		if step.Proven && !step.Met && (r.ProvenMissed == 0 || step.Rate < r.ProvenMissed) {
			r.ProvenMissed = step.Rate
		}
	}
	for _, step := range r.Steps {
		if step.Proven && step.Met && (r.ProvenMissed == 0 || step.Rate < r.ProvenMissed) {
			r.ProvenMet = max(r.ProvenMet, step.Rate)
		}
	}
}
