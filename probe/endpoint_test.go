package probe

import (
	"testing"
	"time"

	"github.com/vobs/vobs/probe/scrape"
)

// If vobs has exceeded its budget, polls wait, but not for longer than their own cost
// justifies: a small page read ten times a second takes 0.2 % of a core, and so does one of
// 2 MB read every three seconds.
func TestExceededBudgetDelaysPolls(t *testing.T) {
	p := New(Config{Wait: func() time.Duration { return 4 * time.Second }})
	defer p.cancel()
	p.Add(target(t, "http://127.0.0.1:1"))
	e := p.endpoints[0]
	e.up, e.schedule.Filter = true, scrape.FilterWorks
	e.schedule.Record(time.Now(), 0, true, false)
	for bytes, want := range map[int64]time.Duration{0: scrape.MinInterval, 1000: scrape.MinInterval, 50_000: scrape.MinInterval, 2 << 20: 3 * time.Second, 1 << 30: 4 * time.Second} {
		e.bytes = bytes
		if wait, _ := e.nextRead(); wait < want || wait > want+500*time.Millisecond {
			t.Errorf("after a response of %d bytes the next poll waits %v, want %v plus at most two ticks", bytes, wait, want)
		}
	}
}

// A server is local if its address is a loopback one, or if it started during the run.
func TestEndpointIsLocal(t *testing.T) {
	for _, c := range []struct {
		address string
		started bool
		want    bool
	}{
		{"http://127.0.0.1:1", false, true},
		{"unix:///s.sock", false, true},
		{"http://192.0.2.1:1", false, false},
		{"http://192.0.2.1:1", true, true}, // listens on one of this host's other addresses only
	} {
		tgt := target(t, c.address)
		tgt.Started = c.started
		if got := (&endpoint{target: tgt}).isLocal(); got != c.want {
			t.Errorf("%+v: isLocal is %v", c, got)
		}
	}
}
