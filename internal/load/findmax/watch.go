package findmax

import (
	"math"
	"time"

	"github.com/vobs/vobs/internal/stats"
)

const (
	// alpha is the probability of a wrong proof in one step, over all its looks.
	alpha = 0.05
	// A step is looked at when firstLook requests have ended, and then whenever lookRatio times
	// as many have. Each look spends an equal part of alpha (Bonferroni).
	firstLook = 50
	lookRatio = 1.4
	// A step's first requests are not judged, because the server starts empty: a tenth of them,
	// and those of the time in which it fills up, which is fill times as long as a request, but
	// at most half of them. The first early requests show how long that is.
	warmup = 0.1
	early  = 20
	fill   = 2
	// lengths is how many times as long as a request a step must last before overload can be
	// proven.
	lengths = 8
	// suspected is how many standard errors of growth are taken for overload at a step's limit.
	suspected = 2
	// batches is in how many parts a step's requests are divided to see how they depend on each
	// other, and longBatches the same for long dependence: one stall may make a tenth of them
	// miss. caution allows for the error of this estimate: with 30 parts, 9 of 10 are within
	// 29/19.8 of the truth (the 10th percentile of chi-squared with 29 degrees of freedom).
	batches     = 30
	longBatches = 10
	caution     = 1.5
	// far is the multiple of a target beyond which a latency counts no more: one that failed
	// has none.
	far = 10
)

// Target is a latency target: the share of requests whose latency is at most Seconds is to be at
// least Share.
type Target struct {
	Name           string
	Seconds, Share float64
}

// Verdict is what a step has shown.
type Verdict struct {
	// Met reports whether it meets all targets; Proven, whether that is certain, with an
	// error probability of about 5 %.
	Met, Proven bool
	// Overload reports whether the requests under way grew without end.
	Overload bool
	// Growth is by how many requests per request sent those under way grew.
	Growth float64
	// Judged is the number of requests that were judged.
	Judged int
	// Shares are the shares of requests that met each target.
	Shares []Share
}

// Share is a share of requests, with an interval of 95 % confidence that takes account of how
// requests depend on each other.
type Share struct{ Met, Low, High float64 }

// Watch judges a step while it runs. Its methods must not be called concurrently.
type Watch struct {
	targets    []Target
	resolution float64
	perLook    float64 // the part of alpha of each look

	sent     []time.Duration // intended times
	underWay []float64       // after each request was sent
	requests []outcome
	ended    int
	resolved int           // all requests before this one have ended
	length   time.Duration // of a request, on average over the first ones; 0 while unknown
	now      time.Duration

	nextLook, nextGrowth float64
	decided              *Verdict
}

// outcome is what became of a request.
type outcome struct {
	ended   bool
	took    time.Duration
	seconds []float64 // for each target; +Inf if it failed
}

// newWatch returns a watch for a step of at most so many requests.
func newWatch(targets []Target, resolution float64, most int) *Watch {
	looks := 1.0
	if most > firstLook {
		looks += math.Ceil(math.Log(float64(most)/firstLook) / math.Log(lookRatio))
	}
	return &Watch{targets: targets, resolution: resolution, perLook: alpha / looks, nextLook: firstLook, nextGrowth: firstLook}
}

// Sent records that the next request is sent. It reports whether the step can end.
func (w *Watch) Sent(intended time.Duration) (enough bool) {
	w.sent = append(w.sent, intended)
	w.now = max(w.now, intended)
	w.requests = append(w.requests, outcome{})
	w.underWay = append(w.underWay, float64(len(w.sent)-w.ended))
	if w.decided == nil && float64(len(w.sent)) >= w.nextGrowth {
		for float64(len(w.sent)) >= w.nextGrowth {
			w.nextGrowth *= lookRatio
		}
		if w.overloaded() {
			v := w.verdict(false)
			v.Met, v.Proven, v.Overload = false, true, true
			w.decided = &v
		}
	}
	return w.decided != nil
}

// Ended records the end of a request, numbered from 0 in the order in which they were sent, at a
// time of the step. seconds has its latency for each target, or +Inf if it failed. It reports
// whether the step can end.
func (w *Watch) Ended(number int, at time.Duration, seconds []float64) (enough bool) {
	w.requests[number] = outcome{true, at - w.sent[number], seconds}
	w.ended++
	w.now = max(w.now, at)
	for w.resolved < len(w.requests) && w.requests[w.resolved].ended {
		if w.resolved++; w.resolved == early {
			for _, r := range w.requests[:early] {
				w.length += r.took / early
			}
		}
	}
	if w.decided == nil && float64(w.resolved) >= w.nextLook {
		for float64(w.resolved) >= w.nextLook {
			w.nextLook *= lookRatio
		}
		if v := w.verdict(false); v.Proven {
			w.decided = &v
		}
	}
	return w.decided != nil
}

// finish returns the verdict when all requests have ended. Those that have not failed.
func (w *Watch) finish() Verdict {
	if w.decided != nil {
		return *w.decided
	}
	failed := make([]float64, len(w.targets))
	for i := range failed {
		failed[i] = math.Inf(1)
	}
	for i := range w.requests {
		if !w.requests[i].ended {
			w.requests[i] = outcome{ended: true, seconds: failed}
		}
	}
	w.resolved = len(w.requests)
	return w.verdict(true)
}

// verdict judges the requests so far: those before the first one that is under way, so that the
// long ones are not left out.
func (w *Watch) verdict(last bool) Verdict {
	judged := w.requests[w.from(w.resolved):w.resolved]
	v := Verdict{Met: len(judged) > 0, Judged: len(judged)}
	growth, z := w.growth()
	v.Growth = growth
	pass, fail := len(judged) > 0, false
	values, misses := make([]float64, len(judged)), make([]float64, len(judged))
	for i, target := range w.targets {
		missed := 0.0
		for j, r := range judged {
			x := min(r.seconds[i], far*target.Seconds)
			values[j], misses[j] = math.Log(max(x, 1e-9)), 0
			if x > target.Seconds {
				misses[j] = 1
				missed++
			}
		}
		n := float64(len(judged))
		// Requests that wait in one queue are slow together: n of them tell less than n
		// independent ones. With few misses, their latencies tell how they depend on each other.
		inflation := caution * max(stats.Inflation(misses, batches), stats.Inflation(misses, longBatches), stats.Inflation(values, batches), stats.Inflation(values, longBatches))
		limit := 1 - target.Share
		pass = pass && stats.BinomialAtMost(missed/inflation, n/inflation, limit) <= w.perLook
		fail = fail || stats.BinomialAtLeast(missed/inflation, n/inflation, limit) <= w.perLook/2/float64(len(w.targets))
		share := Share{Low: 0, High: 1}
		if n > 0 {
			share.Met = 1 - missed/n
			low, high := stats.BinomialBounds(missed/inflation, n/inflation, alpha)
			share.Low, share.High = 1-high, 1-low
		}
		v.Shares = append(v.Shares, share)
		v.Met = v.Met && missed <= limit*n+1e-9
	}
	switch growing := growth > w.resolution; {
	case fail:
		v.Met, v.Proven = false, true
	case last && growing && z > suspected && w.filled():
		v.Met, v.Overload = false, true
	case pass && !growing && w.filled():
		v.Met, v.Proven = true, true
	}
	return v
}

// from returns from which of the first n requests on they are judged.
func (w *Watch) from(n int) int {
	from := int(warmup * float64(n))
	for from < n/2 && w.sent[from] < fill*w.length {
		from++
	}
	return from
}

// filled reports whether the server has had the time to fill up.
func (w *Watch) filled() bool { return w.resolved >= early && w.now >= 2*fill*w.length }

// overloaded reports whether it is proven that requests arrive faster than they are answered.
func (w *Watch) overloaded() bool {
	if w.resolved < early || w.now < lengths*w.length {
		return false
	}
	growth, z := w.growth()
	return growth > w.resolution && z > stats.NormalQuantile(1-w.perLook/2)
}

// growth returns by how many requests per request sent those under way grew, and how many
// standard errors that is at a server that answers as fast as requests arrive on average. There
// the requests under way are a random walk, whose variance is, per request, the sum of the
// squared coefficients of variation of the gaps and of the service times; the latter counts as 1.
//
// The growth is that between the means of the first and of the last third. That has 5/9 of the
// walk's variance, and is over two thirds of the time.
func (w *Watch) growth() (perRequest, z float64) {
	counts := w.underWay[w.from(len(w.underWay)):]
	third := len(counts) / 3
	if third < 2 {
		return 0, 0
	}
	n := float64(len(counts))
	growth := 1.5 * (mean(counts[len(counts)-third:]) - mean(counts[:third]))
	gaps, squares := w.sent[len(w.sent)-1]-w.sent[0], 0.0
	average := gaps.Seconds() / float64(len(w.sent)-1)
	for i := 1; i < len(w.sent); i++ {
		d := (w.sent[i] - w.sent[i-1]).Seconds() - average
		squares += d * d
	}
	variation := 0.0
	if average > 0 {
		variation = squares / float64(len(w.sent)-1) / (average * average)
	}
	return growth / n, growth / (1.5 * math.Sqrt(5./9*n*(1+variation)))
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
