package testkit

import (
	"flag"
	"os"
	"testing"
)

// Main runs a package's tests and exits. parallel overrides -test.parallel: tests that
// wait for helper processes sleep most of the time, so more of them than there are cores
// can run in parallel.
func Main(m *testing.M, parallel string) {
	// The race detector delays each normal exit by a second, also that of the dozens of
	// helper processes.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
