package scrape

import (
	"slices"
	"time"
)

const (
	// maxLatencies is the number of latencies that a [LatencyRing] holds.
	maxLatencies = 31
	// recentLatencies is how many of them show what a request costs now.
	recentLatencies = 15
)

// LatencyRing holds the latencies of the latest requests of one kind.
type LatencyRing struct {
	ring [maxLatencies]time.Duration
	// Count is the number of all latencies so far, also of those no longer held.
	Count int
}

// Add adds a latency, replacing the oldest if the ring is full.
func (r *LatencyRing) Add(d time.Duration) {
	r.ring[r.Count%maxLatencies] = d
	r.Count++
}

// List returns the latencies held, in no particular order.
func (r *LatencyRing) List() []time.Duration { return r.ring[:min(r.Count, maxLatencies)] }

// lowest returns the lowest of the most recent latencies, or 0 if there is none.
func (r *LatencyRing) lowest() (lowest time.Duration) {
	for i := range min(r.Count, recentLatencies) {
		if d := r.ring[(r.Count-1-i)%maxLatencies]; i == 0 || d < lowest {
			lowest = d
		}
	}
	return lowest
}

// median returns the median of the latencies held, the lower one of two, or 0 if there is
// none.
func (r *LatencyRing) median() time.Duration {
	var sorted [maxLatencies]time.Duration
	held := sorted[:copy(sorted[:], r.List())]
	if len(held) == 0 {
		return 0
	}
	slices.Sort(held)
	return held[(len(held)-1)/2]
}
