package trace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// The figures of random kernels are those that counting each ns gives.
func TestSweep(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		length := int64(100 + random.IntN(3000))
		c := NewCollector("f", DefaultClasses())
		names := []string{"flash_fwd", "sgemm", "ncclDevKernel_AllReduce", "elementwise", "Memcpy HtoD"}
		var running [5][]bool // by class, for each ns
		for i := range running {
			running[i] = make([]bool, 2*length)
		}
		ends := make([]bool, 2*length+1)
		var counts [5]int64
		first, last := int64(math.MaxInt64), int64(0)
		for range 1 + random.IntN(60) {
			class := random.IntN(5)
			start := random.Int64N(length)
			duration := random.Int64N(1 + length/int64(1+random.IntN(50)))
			c.Add(&Op{Device: 3, Stream: random.Int64N(4), Start: start, End: start + duration, Name: []byte(names[class]), Memory: class == 4})
			for at := start; at < start+duration; at++ {
				running[class][at] = true
			}
			ends[start+duration] = true
			counts[class]++
			first, last = min(first, start), max(last, start+duration)
		}
		// Steps on the device.
		var edges []int64
		for at := int64(0); at < length; at += 1 + random.Int64N(length) {
			edges = append(edges, at)
			c.AddDeviceStep(3, at, at+1, 0, fmt.Appendf(nil, "execute_context_0(0)_generation_%d(1)", len(edges)))
		}

		r := NewResult()
		d := r.Add(c)[0]
		count := func(in func(at int64) bool) float64 {
			n := 0
			for at := first; at < last; at++ {
				if in(at) {
					n++
				}
			}
			return float64(n) / 1e9
		}
		kernel := func(at int64) bool {
			return running[0][at] || running[1][at] || running[2][at] || running[3][at]
		}
		computing := func(at int64) bool { return running[0][at] || running[1][at] || running[3][at] }
		busy := func(at int64) bool { return kernel(at) || running[4][at] }
		near := func(what string, got, want float64) {
			t.Helper()
			if math.Abs(got-want) > 1e-15*(1+float64(len(what))) && math.Abs(got-want) > 1e-12*math.Abs(want) {
				t.Errorf("seed %d: %s is %v, want %v", seed, what, got, want)
			}
		}
		near("span", d.SpanSeconds, float64(last-first)/1e9)
		near("busy", d.BusySeconds, count(busy))
		near("kernels", d.KernelBusySeconds, count(kernel))
		near("overlap", d.OverlapSeconds, count(func(at int64) bool { return computing(at) && running[2][at] }))
		near("exposed", d.ExposedCommunicationSeconds, count(func(at int64) bool { return !computing(at) && running[2][at] }))
		near("gaps", d.Gaps.Seconds, d.SpanSeconds-d.BusySeconds)
		for i, class := range []Class{Attention, GEMM, Communication, Other, Memory} {
			got := d.Classes[class.String()]
			near(class.String(), got.Seconds, count(func(at int64) bool { return running[i][at] }))
			if got.Kernels != counts[i] {
				t.Errorf("seed %d: %d of %s, want %d", seed, got.Kernels, class, counts[i])
			}
		}
		for column := range columns {
			from := first + (last-first)*int64(column)/columns
			to := first + (last-first)*int64(column+1)/columns
			n := 0
			for at := from; at < to; at++ {
				if busy(at) {
					n++
				}
			}
			if to > from {
				near(fmt.Sprint("column ", column), d.timeline[anything][column], float64(n)/float64(to-from))
			}
		}
		if len(edges) > 1 {
			near("busy in steps", *r.Steps[0].BusyFraction, 1e9*count(func(at int64) bool {
				return busy(at) && at >= edges[0] && at < edges[len(edges)-1]
			})/float64(edges[len(edges)-1]-edges[0]))
		}
	}
}

// Chunks are merged in the order of the start.
func TestSorted(t *testing.T) {
	c := NewCollector("f", DefaultClasses())
	random := rand.New(rand.NewPCG(1, 2))
	const n = 3*chunkLen + 17
	for range n {
		start := random.Int64N(1e12)
		c.Add(&Op{Start: start, End: start + random.Int64N(1e6), Name: []byte("k")})
	}
	count, previous := 0, int64(-1)
	for r := range c.devices[0].sorted() {
		if r.start < previous {
			t.Fatalf("%d after %d", r.start, previous)
		}
		previous = r.start
		count++
	}
	if count != n {
		t.Errorf("%d records, want %d", count, n)
	}
}

// What cannot be right is bounded, and noted.
func TestOddOps(t *testing.T) {
	c := NewCollector("f", DefaultClasses())
	c.Add(&Op{Start: 10, End: 5, Name: []byte("backwards")})
	c.Add(&Op{Start: 0, End: math.MaxInt64 / 2, Name: []byte("endless")})
	for i := range maxDevices + 10 {
		c.Add(&Op{Device: i, Start: 1, End: 2, Name: []byte("k")})
	}
	long := make([]byte, 1<<20)
	for i := range 40 {
		long[0] = byte(i)
		c.Add(&Op{Start: 1, End: 2, Name: long})
	}
	r := NewResult()
	devices := r.Add(c)
	if len(devices) != maxDevices || len(r.Notes) != 4 || devices[0].SpanSeconds != maxDuration/1e9 {
		t.Errorf("%d devices, span %v, notes %q", len(devices), devices[0].SpanSeconds, r.Notes)
	}
	if k := devices[0].Classes["other"].Kernels; k != 43 {
		t.Errorf("%d kernels", k)
	}
}
