package observe

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
)

// A poll that never returns costs the engine's figures, not the event.
func TestFinishProberThatHangs(t *testing.T) {
	release := make(chan struct{})
	target, err := scrape.ParseTarget("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	for attempt := 1; ; attempt++ {
		r := &run{cfg: Config{Debug: func(string) {}}}
		r.prober = probe.New(probe.Config{Dial: func(context.Context, string, string) (net.Conn, error) {
			<-release
			return nil, context.Canceled
		}})
		r.prober.Add(target)
		r.prober.Start(time.Now())
		out := r.finishProber(t.Context(), 20*time.Millisecond, time.Now())
		notes := r.notes.copy()
		if out.Engine == nil && len(notes.Unavailable) > 0 && notes.Unavailable[0].Field == "engine" &&
			strings.Contains(notes.Unavailable[0].Reason, "the last reading of the engines: no response") {
			break
		}
		// The last reading gives up by itself after 250 ms: a longer pause of the machine hides
		// that it was given up before.
		t.Logf("attempt %d: %+v, %+v", attempt, out.Engine, notes)
		if attempt == 5 {
			t.Error("a reading that hangs was not given up")
			break
		}
	}
	close(release)
	testkit.Await(t, "nothing hangs any more", func() bool { return len(bounded.Hanging()) == 0 })
}
