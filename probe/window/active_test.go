package window

import (
	"testing"
	"time"
)

func TestActiveTime(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	var a ActiveTime
	for _, x := range [][3]int{{0, 2, 0}, {2, 3, 0}, {1, 5, 0}, {10, 12, 1}, {20, 21, 10}, {11, 22, 11}} {
		a.Add(at(x[0]), at(x[1]), at(x[2]), true)
	}
	if got := a.Seconds(); got != 5+12 || a.Intervals() != 6 || a.Spans() != 1 || a.UncertainSeconds() != 0 || a.Edges() != 0 {
		t.Errorf("the union is %v s in %d intervals, want 17 in 6; %v", got, a.Intervals(), a.all.open)
	}
	// An endpoint that never comes back holds the watermark back; the bound still holds.
	for i := range 10000 {
		a.Add(at(100+2*i), at(101+2*i), at(0), true)
	}
	if got := a.Seconds(); got != 17+10000 || a.Spans() > MaxOpenSpans+1 {
		t.Errorf("%v s, %d intervals kept", got, a.Spans())
	}
}

// Only what no endpoint was certainly active in is uncertain.
func TestUncertainSeconds(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	var a ActiveTime
	add := func(from, to int, throughout bool) { a.Add(at(from), at(to), at(from), throughout) }
	add(0, 2, false) // work began somewhere in these 2 s
	add(2, 8, true)
	add(1, 3, false) // another endpoint's, of which the first one's covers 1 s
	add(8, 9, false)
	add(20, 21, false) // a short burst between two polls
	if a.Seconds() != 10 || a.UncertainSeconds() != 4 || a.Intervals() != 5 || a.Edges() != 4 {
		t.Errorf("%v s, of which %v uncertain; %d intervals, %d at edges", a.Seconds(), a.UncertainSeconds(), a.Intervals(), a.Edges())
	}
}
