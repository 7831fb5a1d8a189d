package load

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vobs/vobs/internal/load/dataset"
	"github.com/vobs/vobs/internal/load/sse"
	"github.com/vobs/vobs/internal/slo"
)

// Options is what a run sends, and how.
type Options struct {
	Plan
	Endpoint Endpoint
	// Model is the model that requests name; "" for the first one that the server serves.
	Model string
	// Vocab is the size of the model's vocabulary; 0 to take common tokens from the server.
	Vocab int
	// IgnoreEOS makes vLLM generate as many tokens as are planned.
	IgnoreEOS bool

	// Dataset is what the requests are made of, instead of PromptTokens; nil for none.
	// FixedOutput makes OutputTokens hold for records that have a length of their own, too.
	Dataset     *dataset.Dataset
	FixedOutput bool
	// Scale makes a trace so many times as fast, if it is sent at its own times: in an open
	// loop with a Rate of 0.
	Scale float64

	// Concurrency is how many requests, or conversations, of a closed loop are under way; 0 for
	// an open loop.
	Concurrency int
	// Requests and Duration end the run, whichever comes first; 0 for no limit. Neither
	// includes the warm-up. Requests that are under way then are awaited.
	Requests int
	Duration time.Duration
	// Warmup is how many requests, and WarmupTime for how long requests, are sent first without
	// being counted.
	Warmup     int
	WarmupTime time.Duration
	// Timeout bounds one request.
	Timeout time.Duration

	// SLO are the targets that goodput counts. They hold for each request: percentiles are
	// ignored.
	SLO []slo.Objective
	// Settings are what the result reports as its settings.
	Settings map[string]any

	// More, if set, is called in an open loop before each request is sent, in their order. If it
	// returns false, the run sends no more requests, and awaits those under way.
	More func(*Request) bool
	// Done, if set, is called with each request when it has ended, never twice at once.
	Done func(*Request)
	// Report, if set, is called every ReportEvery.
	Report      func(Status)
	ReportEvery time.Duration
}

// retryPause is how long a closed loop waits after a request that failed, so that it does not
// flood a server that refuses requests.
const retryPause = 100 * time.Millisecond

// prepared is how many requests are prepared ahead, at least.
const prepared = 64

// run is a run in progress.
type run struct {
	*Options
	client  client
	prompts *prompts
	ready   chan *Request
	claimed atomic.Int64 // counted requests
	// numbered is how many turns of conversations have a number.
	numbered atomic.Int64
	ended    atomic.Bool // whether the dataset had no more requests
	// stop ends the run. The first error is kept.
	stop context.CancelFunc
	errs chan error
	// firstCounted is when the first of them was meant to be sent; -1 before.
	firstCounted atomic.Int64
	readers      sync.Pool
	collector
}

// Run sends the load that o describes until it is over, or until ctx ends. Then requests
// under way are cancelled, and the result has Interrupted set.
func Run(ctx context.Context, s *Server, o *Options) (*Result, error) {
	defer s.Close()
	p, err := newPrompts(ctx, s, o)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted before the load began")
		}
		return nil, err
	}
	r := &run{
		Options: o, prompts: p, errs: make(chan error, 1), ready: make(chan *Request, max(prepared, o.Concurrency)),
		client:    client{server: s, path: p.path(), timeout: o.Timeout},
		readers:   sync.Pool{New: func() any { return sse.NewReader(nil) }},
		collector: collector{gaps: newGapHistogram(), done: o.Done},
	}
	r.firstCounted.Store(-1)
	outer := ctx
	ctx, stop := context.WithCancel(ctx)
	r.stop = stop
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	primed := make(chan struct{})
	background.Go(func() { r.prepare(ctx, primed) })
	<-primed
	r.client.start = time.Now()
	if o.Report != nil {
		background.Go(func() { r.report(ctx) })
	}
	if o.Concurrency > 0 {
		r.closedLoop(ctx)
	} else {
		r.openLoop(ctx)
	}
	result := r.result(o, p.model)
	result.Interrupted = outer.Err() != nil
	result.Exhausted = !result.Interrupted && r.ended.Load() && (o.Requests == 0 || r.claimed.Load() < int64(o.Requests))
	stop()
	background.Wait()
	r.client.tails.Wait()
	select {
	case err = <-r.errs:
		result.Exhausted = false
	default:
	}
	return result, err
}

// prepare makes requests ahead of the time at which they are sent. It closes primed when
// there is no room for more.
func (r *run) prepare(ctx context.Context, primed chan<- struct{}) {
	defer close(r.ready)
	most := cap(r.ready)
	if r.Requests > 0 && r.WarmupTime == 0 {
		most = min(most, r.Requests+r.Warmup)
	}
	for number := 0; ; number++ {
		if number == most {
			close(primed)
		}
		request, err := r.prompts.next(number)
		if err != nil {
			if err != io.EOF {
				r.fail(err)
			}
			if number < most {
				close(primed)
			}
			return
		}
		select {
		case r.ready <- request:
		case <-ctx.Done():
			if number < most {
				close(primed)
			}
			return
		}
	}
}

// fail ends the run with an error.
func (r *run) fail(err error) {
	select {
	case r.errs <- err:
	default:
	}
	r.stop()
}

// claim reports whether a request that is meant to be sent at a time is part of the run.
func (r *run) claim(request *Request, intended time.Duration) bool {
	request.Intended = intended
	if request.conversation != nil {
		request.Number = int(r.numbered.Add(1)) - 1
	}
	request.Warmup = request.Number < r.Warmup || intended < r.WarmupTime
	if request.Warmup {
		return true
	}
	r.firstCounted.CompareAndSwap(-1, int64(intended))
	if r.Duration > 0 && intended >= time.Duration(r.firstCounted.Load())+r.Duration {
		return false
	}
	return r.Requests == 0 || r.claimed.Add(1) <= int64(r.Requests)
}

// send sends a request and records it.
func (r *run) send(ctx context.Context, request *Request) {
	r.begin()
	reader := r.readers.Get().(*sse.Reader)
	r.client.do(ctx, request, reader)
	r.readers.Put(reader)
	r.end(request)
}

// converse sends a request and the turns that follow on it. It returns the last one, and
// whether the run was over before the conversation was. A turn is meant to be sent when the
// user has thought about the answer to the one before.
func (r *run) converse(ctx context.Context, request *Request) (last *Request, over bool) {
	for {
		r.send(ctx, request)
		next, answered := r.prompts.following(request), request.answer
		request.conversation, request.answer = nil, nil // not to be kept with the request
		if next == nil {
			return request, false
		}
		intended := request.End + r.think(next.Conversation, next.Turn)
		if ctx.Err() != nil || !r.claim(next, intended) {
			return request, true
		}
		if err := r.prompts.continueWith(ctx, next, answered); err != nil {
			if ctx.Err() == nil {
				r.fail(err)
			}
			return request, true
		}
		if !r.wait(ctx, intended) {
			return request, true
		}
		request = next
	}
}

// closedLoop keeps a number of requests under way. A request is meant to be sent when the one
// before it has ended.
func (r *run) closedLoop(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for i := range r.Concurrency {
		intended := r.Ramp * time.Duration(i) / time.Duration(r.Concurrency)
		workers.Go(func() {
			for r.wait(ctx, intended) {
				request, ok := <-r.ready
				if !ok || ctx.Err() != nil {
					r.ended.Store(!ok)
					return
				}
				if !r.claim(request, intended) {
					return
				}
				request, over := r.converse(ctx, request)
				if over {
					return
				}
				intended = request.End
				if request.Failure != "" {
					intended += retryPause
				}
			}
		})
	}
}

// openLoop sends requests at their times, however many are under way.
func (r *run) openLoop(ctx context.Context) {
	var requests sync.WaitGroup
	defer requests.Wait()
	next := r.times()
	for request := range r.ready {
		intended := next(request)
		if !r.claim(request, intended) || !r.wait(ctx, intended) || r.More != nil && !r.More(request) {
			return
		}
		requests.Go(func() { r.converse(ctx, request) })
	}
	r.ended.Store(true)
}

// times returns the times at which the requests of an open loop are sent: those of the
// arrivals, or of the trace.
func (r *run) times() func(*Request) time.Duration {
	if r.Rate == 0 {
		return func(request *Request) time.Duration { return time.Duration(float64(request.at) / r.Scale) }
	}
	next := r.arrivals()
	return func(*Request) time.Duration { return time.Duration(next() * float64(time.Second)) }
}

// wait waits until a time of the run. It reports false if ctx has ended.
func (r *run) wait(ctx context.Context, until time.Duration) bool {
	left := until - r.client.now()
	if left <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Status is how far a run is.
type Status struct {
	// Of is what the run is a part of; "" if of nothing.
	Of      string
	Elapsed time.Duration
	// Left is how much of the run is left, by its duration or by the requests so far; 0 if
	// unknown.
	Left                       time.Duration
	Running, Completed, Failed int64
	// Rate is the number of requests completed per second, and TTFT the mean time to first
	// token of these, since the last report.
	Rate float64
	TTFT time.Duration
}

func (r *run) report(ctx context.Context) {
	ticker := time.NewTicker(r.ReportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s := r.status(r.ReportEvery)
		s.Elapsed = r.client.now()
		if r.Duration > 0 {
			s.Left = max(0, r.WarmupTime+r.Duration-s.Elapsed)
		}
		most := r.Requests + r.Warmup
		if d := r.Dataset; d != nil && r.Turns.high <= 1 && (r.Requests == 0 || d.Count < most) {
			most = d.Count
		}
		if d := r.Dataset; d != nil && r.Rate == 0 && r.Concurrency == 0 && d.Span > 0 && r.Requests == 0 {
			most = 0 // its times are known
			if left := max(0, time.Duration(float64(d.Span)/r.Scale)-s.Elapsed); r.Duration == 0 || left < s.Left {
				s.Left = left
			}
		}
		if ended := s.Completed + s.Failed; most > 0 && ended > 0 {
			left := time.Duration(float64(s.Elapsed) * float64(int64(most)-ended) / float64(ended))
			if left = max(0, left); r.Duration == 0 || left < s.Left {
				s.Left = left
			}
		}
		r.Report(s)
	}
}
