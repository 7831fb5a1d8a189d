package host

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/vobs/vobs/sampler/proc"
)

// parseMemTotal returns MemTotal of /proc/meminfo in bytes (proc_meminfo(5): "kB"
// means 1024 bytes there).
func parseMemTotal(b []byte) (int64, error) {
	for line := range bytes.Lines(b) {
		rest, found := bytes.CutPrefix(line, []byte("MemTotal:"))
		if !found {
			continue
		}
		size, rest := proc.NextField(rest)
		unit, _ := proc.NextField(rest)
		kib, ok := proc.ParseUint(size)
		if !ok || kib == 0 || kib > math.MaxInt64/1024 || string(unit) != "kB" {
			return 0, fmt.Errorf("%q is not a size", bytes.TrimSpace(line))
		}
		return int64(kib) * 1024, nil
	}
	return 0, errors.New("it has no line MemTotal")
}

// parseOnlineCPUs returns the number of lines cpuN of /proc/stat: the kernel prints one
// for each online CPU of the host (show_stat, for_each_online_cpu).
func parseOnlineCPUs(b []byte) (int, error) {
	n := 0
	for line := range bytes.Lines(b) {
		name, _ := proc.NextField(line)
		if digits, found := bytes.CutPrefix(name, []byte("cpu")); found && len(digits) > 0 {
			if _, ok := proc.ParseUint(digits); !ok {
				return 0, fmt.Errorf("%q is not a CPU", name)
			}
			n++
		}
	}
	if n == 0 {
		return 0, errors.New("it has no line cpu0")
	}
	return n, nil
}

// parseCPUList returns the number of CPUs in a list in the format of the cpuset
// controller, such as "0-3,8,10-11" (cpuset(7), list format). An empty list has none.
func parseCPUList(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	if text == "" {
		return 0, nil
	}
	n, next := 0, 0 // next: the lowest number that may still follow
	for part := range strings.SplitSeq(text, ",") {
		lo, hi, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(lo, 10, 24)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(hi, 10, 24)
		}
		if err != nil || last < first || int(first) < next {
			return 0, fmt.Errorf("%q is not a list of CPUs", text)
		}
		n += int(last-first) + 1
		next = int(last) + 1
	}
	return n, nil
}
