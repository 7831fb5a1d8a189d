package proc

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vobs/vobs/internal/bounded"
)

const (
	// hangAfter is how long one goroutine may use a [Tree] until the others no longer wait
	// for it. A scan of ten thousand processes takes some 50 ms.
	hangAfter = time.Second
	// minWait is how long they wait if that time is over already: this process may have been
	// stopped meanwhile.
	minWait = 40 * time.Millisecond
	// waitSteps is in how many parts they wait, for the same reason.
	waitSteps = 4
)

// gate admits one goroutine at a time, like a mutex. One that hangs in the kernel does not
// hold up the others for longer than hangAfter.
type gate struct {
	inside chan struct{} // has an element while a goroutine is inside
	since  atomic.Int64  // when it entered, in ns after epoch
}

// epoch is the origin of gate.since.
var epoch = time.Now()

func newGate() gate { return gate{inside: make(chan struct{}, 1)} }

// enter waits until nobody is inside. It fails if the goroutine that is inside hangs.
func (g *gate) enter() error {
	select {
	case g.inside <- struct{}{}:
		g.since.Store(int64(time.Since(epoch)))
		return nil
	default:
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		since := time.Duration(g.since.Load())
		step := max(hangAfter-(time.Since(epoch)-since), minWait) / waitSteps
		for range waitSteps {
			timer.Reset(step)
			select {
			case g.inside <- struct{}{}:
				g.since.Store(int64(time.Since(epoch)))
				return nil
			case <-timer.C:
			}
		}
		// If another goroutine has entered meanwhile, it has its own time.
		if time.Duration(g.since.Load()) == since {
			return fmt.Errorf("an earlier reading has taken %.1f s: %w", (time.Since(epoch) - since).Seconds(), bounded.ErrHangs)
		}
	}
}

func (g *gate) leave() { <-g.inside }

// hangs reports whether a goroutine has been inside for longer than hangAfter.
func (g *gate) hangs() bool {
	return len(g.inside) > 0 && time.Since(epoch)-time.Duration(g.since.Load()) > hangAfter
}
