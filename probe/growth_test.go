package probe

import (
	"runtime"
	"testing"
	"time"

	"github.com/vobs/vobs/probe/exposition"
)

// Ten hours of polls, twice a second, with a full page in ten and requests that
// come and go: what is kept does not grow with them.
func TestTenHoursOfPolls(t *testing.T) {
	p := New(Config{})
	p.Add(target(t, "http://127.0.0.1:1"))
	e := p.endpoints[0]
	var pages [2]exposition.Page
	for i, text := range []string{recording(t, "serve_default_pre"), underLoad(t)} {
		if err := exposition.NewParser(e.ledger.wants).Parse([]byte(text), &pages[i]); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	p.started = now
	poll := func(times int) {
		for i := range times {
			e.page = pages[i/20%2]
			now = now.Add(500 * time.Millisecond)
			if _, err := e.take(now, answer{wall: time.Millisecond}, i%10 == 0, during); err != nil {
				t.Fatal(err)
			}
			e.pace.asked(now, time.Millisecond, i%10 == 0, false)
			e.pace.next(now, standing{up: true})
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	hour := 7200
	if raceEnabled {
		hour = 400 // a poll costs ten times as much then
	}
	poll(hour)
	before := heap()
	poll(9 * hour)
	if after := heap(); after > before+32<<10 {
		t.Errorf("after one hour %d bytes were reachable, after ten %d", before, after)
	}
	if e.count != int64(10*hour) {
		t.Errorf("%d readings", e.count)
	}
}
