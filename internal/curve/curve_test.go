package curve

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

// kept is a reading that the reference keeps.
type kept struct {
	at, from, to time.Duration // from and to: of the time that it counts for
	mean, peak   float64
}

// reference computes slots from all readings at once.
func reference(all []kept, width time.Duration, n int) []Slot {
	out := make([]Slot, n)
	for i := range out {
		seconds, area, total := 0.0, 0.0, 0.0
		s := &out[i]
		for _, r := range all {
			if int(r.at/width) != i {
				continue
			}
			if s.Readings == 0 || r.peak > s.Max {
				s.Max = r.peak
			}
			s.Readings++
			d := (r.to - r.from).Seconds()
			seconds, area, total = seconds+d, area+d*r.mean, total+r.mean
		}
		switch {
		case seconds > 0:
			s.Mean = area / seconds
		case s.Readings > 0:
			s.Mean = total / float64(s.Readings)
		}
	}
	return out
}

// cells sets the time that each reading counts for: from halfway to the one before to halfway
// to the one after, within the run. breaks has the readings before which there is a break.
func cells(all []kept, breaks map[int]bool, end time.Duration) (in []kept) {
	for i := range all {
		r := &all[i]
		r.from, r.to = r.at, r.at
		if i > 0 && !breaks[i] {
			r.from = all[i-1].at + (r.at-all[i-1].at)/2
		}
		if i+1 < len(all) && !breaks[i+1] {
			r.to = r.at + (all[i+1].at-r.at)/2
		}
		r.from, r.to = max(r.from, 0), min(r.to, end)
		if r.at >= 0 && r.at <= end {
			in = append(in, *r)
		}
	}
	return in
}

func compare(t *testing.T, what string, got, want []Slot) {
	t.Helper()
	for i := range want {
		g, w := got[i], want[i]
		if g.Readings != w.Readings || g.Max != w.Max || math.Abs(g.Mean-w.Mean) > 1e-9*(1+math.Abs(w.Mean)) {
			t.Fatalf("%s: slot %d of %d is %+v, want %+v", what, i, len(want), g, w)
		}
		if g.Mean > g.Max {
			t.Fatalf("%s: slot %d has a mean above its maximum: %+v", what, i, g)
		}
	}
}

// Whatever the length of the run, maxima and means are those of all readings.
func TestEqualsAllReadings(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(15, seed))
		length := time.Duration(float64(time.Millisecond) * math.Pow(10, 1+5.5*random.Float64()))
		interval := max(time.Millisecond, length/time.Duration(1+random.IntN(2000)))
		var c Curve
		var all []kept
		breaks := map[int]bool{}
		at := -time.Duration(random.Int64N(int64(interval) * 3))
		end := time.Duration(math.MaxInt64)
		for at < length {
			v := math.Floor(100 * random.Float64())
			peak := v + math.Floor(10*random.Float64())
			if random.IntN(50) == 0 {
				c.Break()
				breaks[len(all)] = true
			}
			if random.IntN(200) == 0 && end == math.MaxInt64 && at > length/2 {
				end = all[len(all)-1].at + time.Duration(random.Int64N(int64(interval)))
				c.End(end)
			}
			c.AddPeak(at, v, peak)
			all = append(all, kept{at: at, mean: v, peak: peak})
			at += time.Duration(random.ExpFloat64() * float64(interval))
		}
		all = cells(all, breaks, end)
		for _, n := range []int{MaxSlots, 50, 7, 1} {
			width := CommonWidth(length, n, c.Width())
			count := Count(length, width)
			if count > n {
				t.Fatalf("seed %d: %d slots, want %d at most", seed, count, n)
			}
			compare(t, fmt.Sprintf("seed %d, %v, %d readings", seed, length, len(all)), c.Slots(width, count), reference(all, width, count))
		}
	}
}

// The integral of a span is exact in every slot that it overlaps.
func TestSpans(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(16, seed))
		length := time.Duration(1+random.IntN(2000)) * time.Second
		var c Curve
		type span struct {
			from, to time.Duration
			rate     float64
		}
		var all []span
		for at := time.Duration(-1e9); at < length; {
			to := at + time.Duration(random.ExpFloat64()*float64(length)/100)
			if random.IntN(10) > 0 {
				all = append(all, span{at, to, math.Floor(1000 * random.Float64())})
				c.AddSpan(at, to, all[len(all)-1].rate)
			}
			at = to
		}
		width := CommonWidth(length, 60, c.Width())
		got := c.Slots(width, Count(length, width))
		for i, g := range got {
			from, to := time.Duration(i)*width, time.Duration(i+1)*width
			highest, seconds, area := 0.0, 0.0, 0.0
			for _, s := range all {
				if d := (min(to, s.to) - max(from, s.from)).Seconds(); d > 0 {
					highest, seconds, area = max(highest, s.rate), seconds+d, area+d*s.rate
				}
			}
			if seconds == 0 {
				if g.Readings != 0 {
					t.Fatalf("seed %d: slot %d is %+v, want an empty one", seed, i, g)
				}
				continue
			}
			if g.Readings == 0 || g.Max != highest || math.Abs(g.Mean-area/seconds) > 1e-6*(1+highest) {
				t.Fatalf("seed %d: slot %d is %+v, want max %v, mean %v", seed, i, g, highest, area/seconds)
			}
		}
	}
}

// Parts that come in any order, and in pieces, give the same curve as the readings.
func TestParts(t *testing.T) {
	random := rand.New(rand.NewPCG(17, 1))
	var direct, parts Curve
	var last reading
	pending := map[int64]*Part{}
	part := func(at time.Duration) *Part {
		i := int64(at / Shortest)
		if pending[i] == nil {
			pending[i] = &Part{Slot: i}
		}
		return pending[i]
	}
	drain := func() {
		for i, p := range pending {
			parts.AddPart(*p)
			delete(pending, i)
		}
	}
	length := 200 * time.Second
	for at := time.Duration(0); at < length; at += time.Duration(1+random.IntN(20)) * time.Millisecond {
		v := math.Floor(100 * random.Float64())
		direct.Add(at, v)
		if last.known {
			half := (at - last.at).Seconds() / 2
			p := part(last.at)
			p.Seconds, p.Area = p.Seconds+half, p.Area+half*last.value
			p = part(at)
			p.Seconds, p.Area = p.Seconds+half, p.Area+half*v
		}
		p := part(at)
		if p.Readings == 0 || v > p.Max {
			p.Max = v
		}
		p.Readings, p.Total = p.Readings+1, p.Total+v
		last = reading{at, v, true}
		if random.IntN(20) == 0 {
			drain()
		}
	}
	drain()
	width := CommonWidth(length, MaxSlots, direct.Width(), parts.Width())
	n := Count(length, width)
	compare(t, "parts", parts.Slots(width, n), direct.Slots(width, n))
}

func TestSingleReading(t *testing.T) {
	var c Curve
	c.Add(3*time.Second, 7)
	got := c.Slots(2*time.Second, 3)
	compare(t, "one reading", got, []Slot{{}, {1, 7, 7}, {}})
	c.Add(time.Second, 9) // late
	c.Add(4*time.Second, math.NaN())
	c.Add(4*time.Second, math.Inf(1))
	compare(t, "a late one", c.Slots(2*time.Second, 3), []Slot{{1, 9, 9}, {1, 7, 7}, {}})
	var empty Curve
	if !empty.Empty() || c.Empty() {
		t.Error("Empty is wrong")
	}
	empty.Add(-time.Second, 1)
	if !empty.Empty() {
		t.Error("a reading before the start counts")
	}
}

func TestCommonWidth(t *testing.T) {
	for _, c := range []struct {
		duration time.Duration
		n        int
		width    time.Duration
	}{
		{0, 120, Shortest},
		{30 * time.Second, 120, Shortest},
		{30*time.Second + 1, 120, 2 * Shortest},
		{time.Minute, 1, 256 * Shortest},
		{7 * 24 * time.Hour, 120, 1 << 15 * Shortest},
	} {
		if got := CommonWidth(c.duration, c.n); got != c.width {
			t.Errorf("%v in %d slots: %v, want %v", c.duration, c.n, got, c.width)
		}
	}
	if got := CommonWidth(time.Second, 120, 4*Shortest, Shortest); got != 4*Shortest {
		t.Errorf("the width is %v, want that of the widest curve", got)
	}
}

// A sum is empty where one of its parts is unknown, and its maximum is one that was reached.
func TestGroups(t *testing.T) {
	at := func(n int) time.Duration { return time.Duration(n) * Shortest }
	var a, b, peak Curve
	for i := range 6 {
		a.Add(at(i), 10)
		if i >= 1 && i != 3 {
			b.Add(at(i), float64(i))
		}
	}
	peak.Add(at(4), 15)
	sum := Group{Curves: []Curve{a, b}, Peak: &peak}
	compare(t, "the sum", sum.Slots(Shortest, 7), []Slot{{1, 10, 10}, {2, 11, 11}, {2, 12, 12}, {}, {2, 15, 14}, {2, 15, 15}, {}})
	average := Group{Curves: []Curve{a, b}, Weights: []float64{1, 3}}
	compare(t, "the average", average.Slots(Shortest, 6), []Slot{{1, 10, 10}, {2, 10, 3.25}, {2, 10, 4}, {1, 10, 10}, {2, 10, 5.5}, {2, 10, 6.25}})
	one := Group{Curves: []Curve{b}, Peak: &peak}
	compare(t, "one curve", one.Slots(Shortest, 6), b.Slots(Shortest, 6))
	if none := (&Group{}); !none.Empty() || one.Empty() || none.Width() != Shortest {
		t.Error("Empty or Width is wrong")
	}
}

// A week of readings takes no memory beyond the curve itself, and that is small.
func TestWeekKeepsMemoryFlat(t *testing.T) {
	if size := unsafe.Sizeof(Curve{}); size > 6<<10 {
		t.Errorf("a curve takes %d bytes", size)
	}
	c := new(Curve)
	const week = 7 * 24 * time.Hour
	at := time.Duration(0)
	allocs := testing.AllocsPerRun(1, func() { // which runs it twice: half a week each
		for end := at + week/2; at < end; at += Shortest {
			c.Add(at, float64(at%1000))
		}
	})
	if allocs != 0 {
		t.Errorf("a week of readings allocates %.0f times", allocs)
	}
	if n := Count(week, c.Width()); n > MaxSlots || n < MaxSlots/2 {
		t.Errorf("a week takes %d slots", n)
	}
	total := int64(0)
	for _, s := range c.Slots(c.Width(), MaxSlots) {
		total += s.Readings
	}
	if want := int64(week / Shortest); total != want {
		t.Errorf("%d readings, want %d", total, want)
	}
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	c := new(Curve)
	for i := range b.N {
		c.Add(time.Duration(i)*Shortest, float64(i&1023))
	}
}

func BenchmarkWeek(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		c := new(Curve)
		for at := time.Duration(0); at < 7*24*time.Hour; at += Shortest {
			c.Add(at, float64(at&1023))
		}
	}
}
