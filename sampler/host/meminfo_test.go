package host

import (
	"bytes"
	"os"
	"testing"

	"github.com/prometheus/procfs"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

func TestParseMeminfoAndStat(t *testing.T) {
	if n, err := parseMemTotal([]byte("MemTotal:       24684084 kB\nMemFree: 1 kB\n")); err != nil || n != 24684084*1024 {
		t.Errorf("MemTotal = %d, %v", n, err)
	}
	for _, text := range []string{"", "MemFree: 1 kB\n", "MemTotal: 1 MB\n", "MemTotal: x kB\n", "MemTotal: 0 kB\n", "MemTotal: 99999999999999999 kB\n"} {
		if n, err := parseMemTotal([]byte(text)); err == nil {
			t.Errorf("%q: MemTotal = %d, want an error", text, n)
		}
	}
	if n, err := parseOnlineCPUs([]byte("cpu  1 2\ncpu0 1 2\ncpu3 1 2\nintr 4\n")); err != nil || n != 2 {
		t.Errorf("CPUs = %d, %v; want 2: CPUs may be offline", n, err)
	}
	for _, text := range []string{"", "cpu 1 2\n", "cpufreq 1\n"} {
		if n, err := parseOnlineCPUs([]byte(text)); err == nil {
			t.Errorf("%q: CPUs = %d, want an error", text, n)
		}
	}
	for text, want := range map[string]int{"0-3\n": 4, "0": 1, "0-1,8,10-11": 5, "\n": 0} {
		if n, err := parseCPUList([]byte(text)); err != nil || n != want {
			t.Errorf("%q: %d CPUs, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"x", "3-1", "1,1", "2,1", "0-", "-1", "0,,1", "1-99999999999"} {
		if n, err := parseCPUList([]byte(text)); err == nil {
			t.Errorf("%q: %d CPUs, want an error", text, n)
		}
	}
}

func TestParseMeminfoAndStatReal(t *testing.T) {
	proctest.NeedProc(t)
	ref, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := ref.Meminfo()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := parseMemTotal(data); err != nil || n != int64(*mem.MemTotalBytes) {
		t.Errorf("MemTotal = %d, %v; procfs has %d", n, err, *mem.MemTotalBytes)
	}
	stat, err := ref.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile("/proc/stat"); err != nil {
		t.Fatal(err)
	}
	if n, err := parseOnlineCPUs(data); err != nil || n != len(stat.CPU) {
		t.Errorf("CPUs = %d, %v; procfs has %d", n, err, len(stat.CPU))
	}
	if list, err := os.ReadFile("/sys/devices/system/cpu/online"); err == nil {
		if n, err := parseCPUList(list); err != nil || n != len(stat.CPU) {
			t.Errorf("online CPUs = %d, %v; /proc/stat has %d", n, err, len(stat.CPU))
		}
	}
}

func FuzzParseMemTotal(f *testing.F) {
	f.Add([]byte("MemTotal:       24684084 kB\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := parseMemTotal(data); err == nil && (n <= 0 || n%1024 != 0) {
			t.Errorf("%q: %d", data, n)
		}
	})
}

func FuzzParseOnlineCPUs(f *testing.F) {
	f.Add([]byte("cpu  1 2\ncpu0 1 2\ncpu1 1 2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := parseOnlineCPUs(data); err == nil && (n < 1 || n > bytes.Count(data, []byte("cpu"))) {
			t.Errorf("%q: %d", data, n)
		}
	})
}

func FuzzParseCPUList(f *testing.F) {
	f.Add([]byte("0-3,8,10-11\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := parseCPUList(data); err == nil && (n < 0 || n > 1<<24) {
			t.Errorf("%q: %d", data, n)
		}
	})
}
