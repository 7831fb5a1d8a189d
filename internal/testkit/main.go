package testkit

import (
	"flag"
	"os"
	"testing"
)

// Main runs a package's tests, with at most this many in parallel: tests that wait
// for helper processes sleep most of the time, so more of them than there are cores
// may run at once.
func Main(m *testing.M, parallel string) {
	// The race detector makes each normal exit wait for a second: those of the helper
	// processes too, of which there are dozens.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
