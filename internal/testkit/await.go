package testkit

import (
	"testing"
	"time"
)

// Await waits for a condition.
func Await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("after 20 s still not: %s", what)
		case <-tick.C:
		}
	}
}
