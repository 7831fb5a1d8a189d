package host

import (
	"bytes"
	"errors"
	"fmt"
	"github.com/vobs/vobs/sampler/proc"
	"math"
	"strconv"
	"strings"
)

// parseMemTotal reads the bytes of MemTotal in /proc/meminfo (proc_meminfo(5):
// "kB" there are units of 1024 bytes).
func parseMemTotal(b []byte) (int64, error) {
	for line := range bytes.Lines(b) {
		rest, found := bytes.CutPrefix(line, []byte("MemTotal:"))
		if !found {
			continue
		}
		word, rest := proc.NextField(rest)
		unit, _ := proc.NextField(rest)
		kib, ok := proc.ParseUint(word)
		if !ok || kib == 0 || kib > math.MaxInt64/1024 || string(unit) != "kB" {
			return 0, fmt.Errorf("%q is no size", bytes.TrimSpace(line))
		}
		return int64(kib) * 1024, nil
	}
	return 0, errors.New("no line MemTotal")
}

// parseOnlineCPUs counts the lines cpuN of /proc/stat: the kernel prints one for
// each online CPU of the host (show_stat, for_each_online_cpu).
func parseOnlineCPUs(b []byte) (int, error) {
	n := 0
	for line := range bytes.Lines(b) {
		word, _ := proc.NextField(line)
		if digits, found := bytes.CutPrefix(word, []byte("cpu")); found && len(digits) > 0 {
			if _, ok := proc.ParseUint(digits); !ok {
				return 0, fmt.Errorf("%q is no CPU", word)
			}
			n++
		}
	}
	if n == 0 {
		return 0, errors.New("no line cpu0")
	}
	return n, nil
}

// parseCPUList counts the CPUs of a list as the cpuset controller writes it, as
// "0-3,8,10-11" (cpuset(7), list format). An empty list counts none.
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
			return 0, fmt.Errorf("%q is no list of CPUs", text)
		}
		n += int(last-first) + 1
		next = int(last) + 1
	}
	return n, nil
}
