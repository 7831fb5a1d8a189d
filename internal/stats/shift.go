package stats

import "math"

// Interval is an estimate with a two-sided interval.
type Interval struct {
	Estimate float64
	// Low and High are infinite if there are too few values for an interval of this level.
	Low, High float64
}

// Shift returns the Hodges-Lehmann estimate of the shift of y relative to x, the median of
// the differences between each value of y and each value of x, with its confidence interval
// of level 1-alpha (Hollander & Wolfe, sections 4.2 and 4.3).
//
// The bounds are differences too: those whose ranks are the critical values of the
// Mann-Whitney test without ties, exact if len(x)*len(y) is at most 2500. As a closed
// interval it keeps its level if values are tied (Noether 1967).
//
// Interval and MannWhitney agree: if P > alpha, Low <= 0 <= High; if P <= alpha, Low >= 0 or
// High <= 0, where zero is a bound only if values are tied. Without ties the bounds above
// have this property. With ties, the one that contradicts the test is moved to zero.
//
// The time is proportional to n log n for n values, and the memory to n. If x or y is empty,
// the estimate is NaN and the bounds are infinite.
func Shift(x, y []float64, alpha float64) Interval {
	if len(x) == 0 || len(y) == 0 {
		return unknown()
	}
	x, y = sorted(x), sorted(y)
	groups, _ := ties(x, y)
	var d null
	if n, m := len(x), len(y); exactMannWhitney(n, m, n+m) {
		d = exactU(n, m, ones(n+m))
	} else {
		d = normalU(n, m, nil)
	}
	interval := bounds(differences{x, y}, &d, alpha)
	if len(groups) < len(x)+len(y) {
		at0, u := mannWhitney(x, y)
		interval.agree(&at0, u, alpha)
	}
	return interval
}

// PairedShift returns the Hodges-Lehmann estimate of the center of differences of pairs, the
// median of their Walsh averages, with its confidence interval of level 1-alpha (Hollander &
// Wolfe, sections 3.2 and 3.3). Walsh averages are the means of each value with itself and
// with each other one.
//
// The bounds are Walsh averages whose ranks are the critical values of the signed rank test
// without ties and zeros, exact for up to 50 differences. Interval and SignedRank agree, as
// Shift and MannWhitney do.
//
// The time is proportional to n log n for n values, and the memory to n. Without differences,
// the estimate is NaN and the bounds are infinite.
func PairedShift(differences []float64, alpha float64) Interval {
	if len(differences) == 0 {
		return unknown()
	}
	d := untiedW(len(differences))
	interval := bounds(averages(sorted(differences)), &d, alpha)
	at0, w := signedRank(differences)
	interval.agree(&at0, w, alpha)
	return interval
}

func unknown() Interval { return Interval{math.NaN(), math.Inf(-1), math.Inf(1)} }

// bounds returns the median of p with the confidence interval that has the critical values
// of d, which is symmetric. d is the distribution of twice the number of p above zero if
// there is no shift.
func bounds(p pairs, d *null, alpha float64) Interval {
	i := Interval{median(p), math.Inf(-1), math.Inf(1)}
	// A shift by the k-th lowest value leaves at most size-k above it.
	if k := (d.lowest(alpha) + 1) / 2; k > 0 {
		i.Low, i.High = nth(p, k), nth(p, p.size()+1-k)
	}
	return i
}

// agree moves bounds to zero such that the interval has zero inside only if the test of no
// shift, which accounts for ties and zeros, has a p value above alpha.
func (i *Interval) agree(d *null, statistic int64, alpha float64) {
	switch {
	case d.p(statistic) > alpha:
		i.Low, i.High = min(i.Low, 0), max(i.High, 0)
	case 2*d.upper(statistic) <= alpha:
		i.Low = max(i.Low, 0)
	default:
		i.High = min(i.High, 0)
	}
}

// ones returns n groups of one value each.
func ones(n int) []int {
	groups := make([]int, n)
	for i := range groups {
		groups[i] = 1
	}
	return groups
}
