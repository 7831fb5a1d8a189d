//go:build unix

package budget

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// started approximates the start of the process: packages are initialized some
// milliseconds after it.
var started = time.Now()

// CPU returns the CPU time that all threads of this process have used so far.
func CPU() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("the process's CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// Spent returns the CPU time that counts against the budget: all that has been used.
func Spent() time.Duration {
	cpu, _ := CPU() // which no kernel refuses
	return cpu / raceSlowdown
}

// processClock is the real clock.
func processClock() (wall, cpu time.Duration) { return time.Since(started), Spent() }
