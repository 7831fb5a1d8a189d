package host

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// LXCFS, and administrators, mount files over some of /proc (loadavg, meminfo, stat) that
// describe a container instead of the host. The system call sysinfo(2) still describes the
// host.

// hostLoadAvg returns the host's load averages.
func hostLoadAvg() (*schema.LoadAvg, bool) {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return nil, false
	}
	return loadsOf(&info), true
}

// hostMemory returns the size of the host's memory in bytes, which is what MemTotal of
// /proc/meminfo has (si_meminfo in the kernel).
func hostMemory() (int64, bool) {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0, false
	}
	return int64(uint64(info.Totalram) * uint64(max(info.Unit, 1))), true
}

// hostCPUs returns the number of the host's online CPUs from sysfs, unless that is mounted
// over, too.
func hostCPUs() (int, bool) {
	const path = "/sys/devices/system/cpu/online"
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) != nil || fs.Type != unix.SYSFS_MAGIC {
		return 0, false
	}
	data, err := proc.ReadFile(path, proc.MaxSmallFile)
	if err != nil {
		return 0, false
	}
	n, err := parseCPUList(data)
	return n, err == nil && n > 0
}

// loadsOf returns sysinfo's load averages, fixed-point numbers with SI_LOAD_SHIFT = 16 binary
// places, rounded to the two decimals of /proc/loadavg.
func loadsOf(info *unix.Sysinfo_t) *schema.LoadAvg {
	var avg schema.LoadAvg
	for i, x := range info.Loads {
		avg[i] = schema.Float(math.Round(float64(x)/(1<<16)*100) / 100)
	}
	return &avg
}
