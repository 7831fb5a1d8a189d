//go:build unix

package budget

import (
	"time"

	"golang.org/x/sys/unix"
)

// started stands for the start of the process: packages are initialised some
// milliseconds after it.
var started = time.Now()

// process is the real clock.
func process() (wall, cpu time.Duration) {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) == nil {
		cpu = time.Duration(t.Nano()) / detector
	}
	return time.Since(started), cpu
}
