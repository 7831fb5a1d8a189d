package host

import (
	"errors"
	"fmt"
	"github.com/vobs/vobs/sampler/proc"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// cgroupLimits are the tightest limits that the visible cgroups set.
type cgroupLimits struct {
	cpus     float64 // +Inf: no limit
	cpuErr   error
	bytes    int64 // math.MaxInt64: no limit
	bytesErr error
}

// readCgroupLimits reads the limits of the cgroup that this process, and so the
// command that it starts, runs in: of CPU time (cpu.max; cpu.cfs_quota_us over
// cpu.cfs_period_us in version 1), of the set of CPUs where it has fewer than the
// host (cpuset.cpus.effective; cpuset.effective_cpus), and of memory (memory.max;
// memory.limit_in_bytes).
//
// Which hierarchy holds a controller, and where it is mounted, is read from
// /proc/self/cgroup and /proc/self/mountinfo, so version 1 (joint controllers
// too), version 2 and both beside each other come out right. A limit holds for
// all cgroups below, so the way is walked from the leaf to the mounted root and
// the tightest one counts. What lies above a container's mounted root cannot be
// seen: a tighter limit there is missed.
//
// mountPrefix is put before the mount points, for fixture trees.
func readCgroupLimits(procRoot, mountPrefix string, hostCPUs int) cgroupLimits {
	l := cgroupLimits{cpus: math.Inf(1), bytes: math.MaxInt64}
	paths, mounts, err := readCgroupMap(procRoot)
	if err != nil {
		l.cpuErr, l.bytesErr = err, err
		return l
	}
	each := func(controller string, visit func(dir string, v2 bool) error) error {
		dirs, v2, err := cgroupDirs(paths, mounts, mountPrefix, controller)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := visit(dir, v2); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	l.cpuErr = each("cpu", func(dir string, v2 bool) error {
		cpus, err := readCPULimit(dir, v2)
		if err == nil {
			l.cpus = min(l.cpus, cpus)
		}
		return err
	})
	l.bytesErr = each("memory", func(dir string, v2 bool) error {
		bytes, err := readMemoryLimit(dir, v2)
		if err == nil {
			l.bytes = min(l.bytes, bytes)
		}
		return err
	})
	// The effective set of the leaf is the intersection of all above it.
	leaf := true
	setErr := each("cpuset", func(dir string, v2 bool) error {
		if !leaf {
			return nil
		}
		n, err := readCPUSet(dir, v2)
		if err == nil {
			leaf = false
			if n > 0 && n < hostCPUs {
				l.cpus = min(l.cpus, float64(n))
			}
		}
		return err
	})
	if l.cpuErr == nil && setErr != nil {
		l.cpuErr = setErr
	}
	return l
}

// readCgroupMap reads where this process's cgroups are and where they are mounted.
func readCgroupMap(procRoot string) (cgroupPaths, []cgroupMount, error) {
	self := filepath.Join(procRoot, "self")
	data, err := proc.ReadFile(filepath.Join(self, "cgroup"), proc.MaxSmallFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read the process's cgroups: %w", err)
	}
	paths, err := parseCgroup(data)
	if err != nil {
		return nil, nil, fmt.Errorf("read the process's cgroups: %w", err)
	}
	data, err = proc.ReadFile(filepath.Join(self, "mountinfo"), proc.MaxTableFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read the mount points: %w", err)
	}
	mounts, err := parseMountInfo(data)
	if err != nil {
		return nil, nil, fmt.Errorf("read the mount points: %w", err)
	}
	return paths, mounts, nil
}

// cgroupDirs gives the directories of a controller's cgroups that this process is
// in, from the leaf up to the mounted root. None and no error when no hierarchy
// has the controller: then there is no limit. v2 says whose files they hold.
func cgroupDirs(paths cgroupPaths, mounts []cgroupMount, mountPrefix, controller string) (dirs []string, v2 bool, err error) {
	cgroup, v1 := paths[controller]
	if !v1 {
		var found bool
		if cgroup, found = paths[""]; !found {
			return nil, false, nil
		}
	}
	err = fmt.Errorf("cgroup %s is in no mounted cgroup hierarchy", cgroup)
	for _, m := range mounts {
		if m.v2 == v1 || v1 && !slices.Contains(m.controllers, controller) {
			continue
		}
		rel, ok := relativeCgroup(m.root, cgroup)
		if !ok {
			err = fmt.Errorf("cgroup %s lies outside of what is mounted at %s (%s)", cgroup, m.point, m.root)
			continue
		}
		top := prefixPath(mountPrefix, m.point)
		leaf := filepath.Join(top, rel)
		if _, statErr := os.Stat(leaf); statErr != nil {
			err = fmt.Errorf("look up the process's cgroup: %w", statErr)
			continue
		}
		for dir := leaf; ; dir = path.Dir(dir) {
			dirs = append(dirs, dir)
			if dir == top || len(dir) <= len(top) {
				return dirs, m.v2, nil
			}
		}
	}
	return nil, false, err
}

// prefixPath puts prefix before a mount point, unless that lies below prefix already.
func prefixPath(prefix, point string) string {
	prefix, point = filepath.Clean("/"+prefix), filepath.Clean(point)
	if prefix == "/" || point == prefix || strings.HasPrefix(point, prefix+"/") {
		return point
	}
	return filepath.Join(prefix, point)
}

// readCPULimit reads one cgroup's limit of CPU time as a number of CPUs. The root
// cgroup has no such file, nor has one whose controller is off: not found.
func readCPULimit(dir string, v2 bool) (float64, error) {
	name := "cpu.max"
	if !v2 {
		name = "cpu.cfs_quota_us"
	}
	limit, err := proc.ReadFile(filepath.Join(dir, name), proc.MaxSmallFile)
	if err != nil {
		return 0, fmt.Errorf("read the CPU limit: %w", err)
	}
	parse := func() (float64, error) { return parseCPUMax(limit) }
	if !v2 {
		period, err := proc.ReadFile(filepath.Join(dir, "cpu.cfs_period_us"), proc.MaxSmallFile)
		if err != nil {
			return 0, fmt.Errorf("read the CPU limit's period: %w", err)
		}
		parse = func() (float64, error) { return parseCFSQuota(limit, period) }
	}
	cpus, err := parse()
	if err != nil {
		return 0, fmt.Errorf("read the CPU limit: %s: %w", filepath.Join(dir, name), err)
	}
	return cpus, nil
}

// readMemoryLimit reads one cgroup's limit of memory in bytes.
func readMemoryLimit(dir string, v2 bool) (int64, error) {
	name := "memory.max"
	if !v2 {
		name = "memory.limit_in_bytes"
	}
	data, err := proc.ReadFile(filepath.Join(dir, name), proc.MaxSmallFile)
	if err != nil {
		return 0, fmt.Errorf("read the memory limit: %w", err)
	}
	bytes, err := parseMemoryMax(data)
	if err != nil {
		return 0, fmt.Errorf("read the memory limit: %s: %w", filepath.Join(dir, name), err)
	}
	return bytes, nil
}

// readCPUSet counts the CPUs that one cgroup's set leaves. Version 1 has the
// effective set since Linux 3.17, and calls it plainly cpuset.cpus when it is
// mounted with noprefix; then it is not found here, which is no limit.
func readCPUSet(dir string, v2 bool) (int, error) {
	name := "cpuset.cpus.effective"
	if !v2 {
		name = "cpuset.effective_cpus"
	}
	data, err := proc.ReadFile(filepath.Join(dir, name), proc.MaxSmallFile)
	if err != nil {
		return 0, fmt.Errorf("read the set of CPUs: %w", err)
	}
	n, err := parseCPUList(data)
	if err != nil {
		return 0, fmt.Errorf("read the set of CPUs: %s: %w", filepath.Join(dir, name), err)
	}
	return n, nil
}
