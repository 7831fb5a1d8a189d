package proc

import (
	"os"

	"golang.org/x/sys/unix"
)

// RSS returns the resident memory of a process in bytes, from /proc/PID/statm. If the process has
// ended, the error is ESRCH or ENOENT. For the members of a [Tree], [Tree.MemberRSS] is cheaper.
func RSS(procRoot string, p Process) (int64, error) {
	var buf [4096]byte
	n, err := readOnce(procPath(procRoot, p.PID, "statm"), buf[:])
	if err != nil {
		return 0, err
	}
	pages, err := parseStatm(buf[:n])
	if err != nil {
		return 0, err
	}
	// The pid was that process's at that time if it still is.
	s, err := readStat(procRoot, p.PID, buf[:])
	switch {
	case err != nil:
		return 0, err
	case s.startTicks != p.StartTicks:
		return 0, unix.ESRCH
	}
	return pages * int64(os.Getpagesize()), nil
}
