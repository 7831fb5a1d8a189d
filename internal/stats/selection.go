package stats

import "math"

// pairs is a set of values computed from pairs of sorted values, too many to list.
type pairs interface {
	// size returns how many there are.
	size() int64
	// bounds returns the lowest and the highest.
	bounds() (low, high float64)
	// count returns how many are at most v.
	count(v float64) int64
	// above returns the lowest one above v, or +Inf.
	above(v float64) float64
}

// differences is the set of y-x for each value x and each value y. Both are sorted.
type differences struct{ x, y []float64 }

func (d differences) size() int64 { return int64(len(d.x)) * int64(len(d.y)) }

func (d differences) bounds() (low, high float64) {
	n, m := len(d.x), len(d.y)
	return d.y[0] - d.x[n-1], d.y[m-1] - d.x[0]
}

func (d differences) count(v float64) (n int64) {
	j := 0 // a higher x has at least as many differences up to v
	for _, x := range d.x {
		for j < len(d.y) && d.y[j]-x <= v {
			j++
		}
		n += int64(j)
	}
	return n
}

func (d differences) above(v float64) float64 {
	lowest := math.Inf(1)
	j := 0
	for _, x := range d.x {
		for j < len(d.y) && d.y[j]-x <= v {
			j++
		}
		if j == len(d.y) {
			break
		}
		lowest = min(lowest, d.y[j]-x)
	}
	return lowest
}

// averages is the set of Walsh averages (a+b)/2 of sorted values, each value with itself
// and with each later one.
type averages []float64

func (a averages) size() int64 { return int64(len(a)) * int64(len(a)+1) / 2 }

func (a averages) bounds() (low, high float64) { return a[0], a[len(a)-1] }

func (a averages) count(v float64) (n int64) {
	j := len(a) // a higher value has at most as many partners up to v
	for i, x := range a {
		for j > i && (x+a[j-1])/2 > v {
			j--
		}
		if j <= i {
			break
		}
		n += int64(j - i)
	}
	return n
}

func (a averages) above(v float64) float64 {
	lowest := math.Inf(1)
	j := len(a)
	for i, x := range a {
		for j > i && (x+a[j-1])/2 > v {
			j--
		}
		if next := max(i, j); next < len(a) {
			lowest = min(lowest, (x+a[next])/2)
		}
		if j <= i {
			break // all later ones are higher
		}
	}
	return lowest
}

// nth returns the k-th lowest of p, for k from 1 to p.size().
//
// Monahan (Algorithm 616, ACM TOMS 10, 1984) narrows the set by random pivots. This bisects
// the range of float64 values instead, with no random numbers and no memory: at most 64
// passes, each in time proportional to the number of values, not of pairs.
func nth(p pairs, k int64) float64 {
	from, to := p.bounds()
	low, high := ordered(from), ordered(to)
	for low < high {
		middle := low + (high-low)/2
		if p.count(value(middle)) >= k {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return value(low) + 0 // no negative zero
}

// median returns the median of p; of an even number, the mean of the two in the middle.
func median(p pairs) float64 {
	size := p.size()
	low := nth(p, (size+1)/2)
	if size%2 != 0 {
		return low
	}
	high := low
	if p.count(low) == size/2 {
		high = p.above(low)
	}
	return (low + high) / 2
}

// ordered maps float64 values to integers of the same order.
func ordered(v float64) uint64 {
	bits := math.Float64bits(v)
	if bits>>63 != 0 {
		return ^bits
	}
	return bits | 1<<63
}

// value is the inverse of ordered.
func value(ordered uint64) float64 {
	if ordered>>63 != 0 {
		return math.Float64frombits(ordered &^ (1 << 63))
	}
	return math.Float64frombits(^ordered)
}
