package proc

import (
	"bytes"
	"errors"
	"fmt"
)

// InnerPID returns the pid of a process in its own pid namespace, as the process itself
// sees it, from the line NSpid of /proc/PID/status (Linux 4.1 and later). Outside of
// containers it is the same pid.
func InnerPID(procRoot string, pid int) (int, error) {
	var buf [4096]byte
	n, err := readOnce(procPath(procRoot, pid, "status"), buf[:])
	if err == nil {
		pid, err = parseInnerPID(buf[:n])
	}
	if err != nil {
		return 0, fmt.Errorf("reading a pid in its own namespace: %w", err)
	}
	return pid, nil
}

// parseInnerPID returns the last pid in the line NSpid: that of the innermost namespace.
func parseInnerPID(status []byte) (int, error) {
	const name = "NSpid"
	value, _ := StatusField(status, name)
	if fields := bytes.Fields(value); len(fields) > 0 {
		if pid, ok := parsePID(fields[len(fields)-1]); ok {
			return pid, nil
		}
	}
	return 0, errors.New("no " + name + ": in a process's status")
}
