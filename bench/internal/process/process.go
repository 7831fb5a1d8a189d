// Package process reads what a running process takes.
package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// PeakRSS returns a process's VmHWM in MiB: its highest resident memory since its exec. It
// returns 0 if the process has ended.
func PeakRSS(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, _ := strconv.ParseFloat(number, 64)
	return kib / 1024
}
