package proc

import (
	"os"
	"testing"
)

func TestParseInnerPID(t *testing.T) {
	for status, want := range map[string]int{
		"Name:\tvllm\nNSpid:\t4711\nNSsid:\t1\n":   4711,
		"Pid:\t4711\nNSpid:\t4711\t57\t7\nX:\t1\n": 7,
		"NSpid:\t12\t3":        3,
		"":                     0,
		"Name:\tx\nPid:\t12\n": 0,
		"NSpid:\n":             0,
		"NSpid:\t12\tx\n":      0,
	} {
		if got, err := parseInnerPID([]byte(status)); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v; want %d", status, got, err, want)
		}
	}
}

func TestInnerPID(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("SKIPPED: no /proc: ", err)
	}
	if got, err := InnerPID("/proc", os.Getpid()); err != nil || got != os.Getpid() {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := InnerPID("/proc", 999999999); err == nil {
		t.Error("a process that does not exist has a pid")
	}
}
