package testkit

import (
	"testing"
	"time"
)

// Patience is the longest that a test waits for something that takes milliseconds on an
// idle machine.
const Patience = 60 * time.Second

// Await waits until condition holds. It fails the test with what, a description of the
// condition, if that takes longer than [Patience].
func Await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("condition not met within %v: %s", Patience, what)
		case <-tick.C:
		}
	}
}
