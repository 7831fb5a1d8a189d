package probe

import (
	"bytes"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
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
		if err := exposition.NewParser(isWanted).Parse([]byte(text), &pages[i]); err != nil {
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
	hour := testkit.Scale(7200, 720) // the bound below is 5 bytes for each poll of the short form
	if raceEnabled {
		hour = 400 // a poll costs ten times as much then
	}
	poll(hour)
	before := reachable()
	poll(9 * hour)
	if after := reachable(); after > before+32<<10 {
		t.Errorf("after one hour %d bytes were reachable, after ten %d", before, after)
	}
	if e.count != int64(10*hour) {
		t.Errorf("%d readings", e.count)
	}
}

// The same of 64 engines, with the parsing: a short while, for a page has 23 000 lines.
func TestManyEnginesDoNotGrow(t *testing.T) {
	pages := [2][]byte{[]byte(manyEngines(recording(t, "serve_default_pre"), 64)), []byte(manyEngines(recording(t, "serve_default_post"), 64))}
	filtered := []byte(filteredPage(string(pages[1])))
	p := New(Config{})
	p.Add(target(t, "http://127.0.0.1:1"))
	e, now := p.endpoints[0], time.Now()
	p.started = now
	poll := func(times int) {
		for i := range times {
			now = now.Add(500 * time.Millisecond)
			if i%10 != 0 {
				reading(t, e, bytes.NewReader(filtered), now, false)
			} else {
				reading(t, e, bytes.NewReader(pages[min(int(e.count), 1)]), now, true)
			}
		}
	}
	poll(22)
	before := reachable()
	poll(80)
	if after := reachable(); after > before+64<<10 {
		t.Errorf("after 22 readings %d bytes were reachable, after 102 %d", before, after)
	}
	if g := len(e.ledger.groups); g < 64*20 || e.ledger.labelBytes > maxLabelBytes/4 {
		t.Errorf("%d groups, %d bytes of labels", g, e.ledger.labelBytes)
	}
}
