package sampler

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// The race detector makes each normal exit wait for a second: those of the helper
	// processes too, of which there are dozens.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	// Most tests wait for a helper process, which sleeps: more of them than there are cores.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
