package compare

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/vobs/vobs/internal/stats"
)

const (
	// sessionGap parts the runs of one host into sessions if they have no label.
	sessionGap = 30 * time.Minute
	// minSessions and minHistoryRuns are what a prediction needs.
	minSessions    = 8
	minHistoryRuns = 20
	// changePointSeed makes the permutations of the search for changes repeatable.
	changePointSeed = 1
)

// History is what earlier runs tell of one metric.
type History struct {
	Sessions int `json:"sessions"`
	Runs     int `json:"runs"`
	// Low and High are the prediction interval of the mean of one more session, with an
	// error of alpha; null with fewer than 8 sessions or 20 runs.
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
	// Inside reports whether the new runs' mean lies within; null without an interval.
	Inside *bool `json:"inside"`
	// ChangePoints are when the first sessions after a change started (UTC, RFC 3339).
	ChangePoints []string `json:"change_points"`

	spread float64 // how far two sessions differ by chance, as logarithms or in the unit
	logs   bool
}

// sessionsOf groups runs that share what drifts between sessions: those with the same
// label, else those of one host that are less than 30 minutes apart.
func sessionsOf(runs []*Run) [][]*Run {
	runs = byTime(runs)
	slices.SortStableFunc(runs, func(a, b *Run) int {
		if c := cmp.Compare(a.session, b.session); c != 0 || a.session != "" {
			return c
		}
		return cmp.Compare(a.host, b.host)
	})
	var out [][]*Run
	for i, r := range runs {
		if i > 0 {
			last := runs[i-1]
			if r.session == last.session && (r.session != "" || r.host == last.host && r.after(last) < sessionGap) {
				out[len(out)-1] = append(out[len(out)-1], r)
				continue
			}
		}
		out = append(out, []*Run{r})
	}
	slices.SortStableFunc(out, func(a, b []*Run) int { return cmp.Compare(a[0].started, b[0].started) })
	return out
}

// historyOf returns what earlier sessions tell of a metric; nil if they have no value.
func historyOf(sessions [][]*Run, new []*Run, metric int, alpha float64) *History {
	h := &History{logs: true, ChangePoints: []string{}}
	mine := numbers(new, metric)
	var values [][]float64
	var started []time.Time
	for _, s := range sessions {
		xs := numbers(s, metric)
		if len(xs) == 0 {
			continue
		}
		values, started = append(values, xs), append(started, s[0].startTime())
		h.Sessions++
		h.Runs += len(xs)
		h.logs = h.logs && slices.Min(xs) > 0
	}
	if h.Sessions == 0 {
		return nil
	}
	h.logs = h.logs && (len(mine) == 0 || slices.Min(mine) > 0)
	h.spread = math.Inf(1)
	means := make([]float64, len(values))
	for i, xs := range values {
		means[i] = h.mean(xs)
	}
	if h.Sessions < minSessions || h.Runs < minHistoryRuns {
		return h
	}
	interval := stats.PredictionInterval(means, alpha)
	back := func(x float64) *float64 {
		if h.logs {
			x = math.Exp(x)
		}
		return &x
	}
	h.Low, h.High = back(interval.Low), back(interval.High)
	if len(mine) > 0 {
		x := h.mean(mine)
		inside := interval.Low <= x && x <= interval.High
		h.Inside = &inside
	}
	// The difference of two sessions has twice the variance of one.
	h.spread = stats.StudentQuantile(1-alpha/2, len(means)-1) * math.Sqrt2 * deviation(means)
	for _, i := range stats.ChangePoints(means, alpha, 2, changePointSeed) {
		h.ChangePoints = append(h.ChangePoints, started[i].UTC().Format(time.RFC3339))
	}
	return h
}

// mean returns the mean of a session's values, or of their logarithms.
func (h *History) mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		if h.logs {
			x = math.Log(x)
		}
		sum += x
	}
	return sum / float64(len(xs))
}

// exceeds reports whether a change of the base's median is larger than sessions differ by
// chance.
func (h *History) exceeds(base, change float64) bool {
	if h == nil {
		return false
	}
	if h.logs {
		return base > 0 && base+change > 0 && math.Abs(math.Log1p(change/base)) > h.spread
	}
	return math.Abs(change) > h.spread
}
