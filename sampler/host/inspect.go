package host

import (
	"math"

	"github.com/vobs/vobs/internal/bounded"
)

// Inspection is what a Sampler could read of the host and its cgroup, read once. An error is why
// a figure is missing.
type Inspection struct {
	CPUs    int
	CPUsErr error
	// MemoryBytes is the host's memory.
	MemoryBytes int64
	MemoryErr   error
	// CgroupVersion is 1 or 2: that of the hierarchy with the controller of memory. 0 if there
	// is none, or if CgroupErr is set.
	CgroupVersion int
	CgroupErr     error
	// CPULimit is the cgroup's limit in CPUs; 0 if it sets none.
	CPULimit    float64
	CPULimitErr error
	// MemoryLimitBytes is the cgroup's limit; 0 if it sets none.
	MemoryLimitBytes int64
	MemoryLimitErr   error
	// OOMErr is why processes that are killed for lack of memory are not counted.
	OOMErr error
	// PressureErr is why the host's pressure cannot be read.
	PressureErr error
	// EnergyZones is the number of energy counters of CPU packages and of their memory.
	EnergyZones int
	EnergyErr   error
}

// Inspect reads the host as a Sampler does. Of cfg it uses the roots. A file that does not
// respond is given up after half a second.
func Inspect(cfg Config) Inspection {
	if cfg.ProcRoot == "" {
		cfg.ProcRoot = "/proc"
	}
	var in Inspection
	in.CPUs, in.CPUsErr = bounded.Call("the number of CPUs", readTimeout, func() (int, error) { return readCPUs(cfg.ProcRoot) })
	in.MemoryBytes, in.MemoryErr = bounded.Call("the host's memory", readTimeout, func() (int64, error) { return readMemory(cfg.ProcRoot) })
	in.readCgroup(cfg)
	for _, err := range readPressure(cfg.ProcRoot, readTimeout).errs {
		if err != nil {
			in.PressureErr = err
			break
		}
	}
	energy := newEnergyCounters(cfg.SysRoot)
	in.EnergyZones, in.EnergyErr = bounded.Call(energy.dir, readTimeout, func() (int, error) {
		energy.open()
		return len(energy.zones), energy.err
	})
	return in
}

func (in *Inspection) readCgroup(cfg Config) {
	type reading struct {
		version int
		err     error
		limits  cgroupLimits
		oomErr  error
	}
	r, err := bounded.Call("the cgroup of "+cfg.ProcRoot+"/self", readTimeout, func() (r reading, err error) {
		paths, mounts, err := readCgroupMap(cfg.ProcRoot)
		if err != nil {
			return r, err
		}
		dirs, v2, err := cgroupDirs(paths, mounts, cfg.CgroupRoot, "memory")
		switch {
		case err != nil:
			r.err = err
		case v2:
			r.version = 2
		case len(dirs) > 0:
			r.version = 1
		}
		r.limits = readCgroupLimits(paths, mounts, cfg.CgroupRoot, in.CPUs)
		_, r.oomErr = readOOMCounter(paths, mounts, cfg.CgroupRoot)
		return r, nil
	})
	if err != nil {
		in.CgroupErr, in.CPULimitErr, in.MemoryLimitErr, in.OOMErr = err, err, err, err
		return
	}
	in.CgroupVersion, in.CgroupErr, in.OOMErr = r.version, r.err, r.oomErr
	in.CPULimitErr, in.MemoryLimitErr = r.limits.cpuErr, r.limits.bytesErr
	if !math.IsInf(r.limits.cpus, 1) {
		in.CPULimit = r.limits.cpus
	}
	if r.limits.bytes != math.MaxInt64 {
		in.MemoryLimitBytes = r.limits.bytes
	}
}

// PressureReason returns why the host's pressure cannot be read, and what to do about it.
func (in *Inspection) PressureReason() string {
	if in.PressureErr == nil {
		return ""
	}
	return pressureReason(in.PressureErr)
}
