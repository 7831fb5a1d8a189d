package window

import (
	"testing"
	"time"
)

func TestActiveTime(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	var a ActiveTime
	for _, x := range [][3]int{{0, 2, 0}, {2, 3, 0}, {1, 5, 0}, {10, 12, 1}, {20, 21, 10}, {11, 22, 11}} {
		a.Add(at(x[0]), at(x[1]), at(x[2]))
	}
	if got := a.Seconds(); got != 5+12 || a.Intervals() != 6 || a.Spans() != 1 {
		t.Errorf("the union is %v s in %d intervals, want 17 in 6; %v", got, a.Intervals(), a.open)
	}
	// An endpoint that never comes back holds the watermark back; the bound still holds.
	for i := range 10000 {
		a.Add(at(100+2*i), at(101+2*i), at(0))
	}
	if got := a.Seconds(); got != 17+10000 || a.Spans() > MaxOpenSpans+1 {
		t.Errorf("%v s, %d intervals kept", got, a.Spans())
	}
}
