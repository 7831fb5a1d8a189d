package proc

import (
	"time"

	"golang.org/x/sys/unix"
)

// Tick is the unit of the CPU times in /proc.
const Tick = time.Second / ticksPerSecond

// CPUTime returns the CPU time, user and system, that a process and the children it has waited
// for used so far. If the process has ended, the error is ESRCH or ENOENT.
func CPUTime(procRoot string, p Process) (time.Duration, error) {
	var buf [4096]byte
	s, err := readStat(procRoot, p.PID, buf[:])
	switch {
	case err != nil:
		return 0, err
	case s.startTicks != p.StartTicks:
		return 0, unix.ESRCH
	}
	return time.Duration(min(s.cpuTicks, uint64(1<<63-1)/uint64(Tick))) * Tick, nil
}
