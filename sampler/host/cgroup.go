package host

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vobs/vobs/sampler/proc"
)

// cgroupLimits holds the tightest limits among the visible cgroups.
type cgroupLimits struct {
	cpus     float64 // number of CPUs; +Inf: no limit
	cpuErr   error
	bytes    int64 // math.MaxInt64: no limit
	bytesErr error
}

// cgroupReading is what is read of the cgroup at the start.
type cgroupReading struct {
	limits cgroupLimits
	oom    oomCounter // read again at the end
	oomErr error
}

// readCgroup reads the limits and the counter of the cgroup.
func readCgroup(procRoot, mountPrefix string, hostCPUs int) cgroupReading {
	paths, mounts, err := readCgroupMap(procRoot)
	if err != nil {
		return cgroupReading{limits: cgroupLimits{cpuErr: err, bytesErr: err}, oomErr: err}
	}
	r := cgroupReading{limits: readCgroupLimits(paths, mounts, mountPrefix, hostCPUs)}
	r.oom, r.oomErr = readOOMCounter(paths, mounts, mountPrefix)
	return r
}

// readCgroupLimits reads the limits of the cgroup that this process, and hence the
// command that it starts, runs in. These are (version 1 names after the semicolon):
//
//   - CPU time: cpu.max; cpu.cfs_quota_us over cpu.cfs_period_us
//   - the set of CPUs, if it is smaller than the host's: cpuset.cpus.effective;
//     cpuset.effective_cpus
//   - memory: memory.max; memory.limit_in_bytes
//
// It finds the hierarchy of each controller and its mount point in /proc/self/cgroup
// and /proc/self/mountinfo, so version 1 (co-mounted controllers too), version 2 and
// hybrid setups all work. A limit applies to all cgroups below, so the tightest limit
// between the leaf and the mounted root counts. Cgroups above a container's mounted root
// are not visible: a tighter limit there is missed.
//
// mountPrefix is prefixed to the mount points, for fixture trees.
func readCgroupLimits(paths cgroupPaths, mounts []cgroupMount, mountPrefix string, hostCPUs int) cgroupLimits {
	l := cgroupLimits{cpus: math.Inf(1), bytes: math.MaxInt64}
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
	// The effective set of the leaf is the intersection of all sets above it.
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

// readCgroupMap returns this process's cgroups and the mounted cgroup hierarchies.
func readCgroupMap(procRoot string) (cgroupPaths, []cgroupMount, error) {
	self := filepath.Join(procRoot, "self")
	data, err := proc.ReadFile(filepath.Join(self, "cgroup"), proc.MaxSmallFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the process's cgroups: %w", err)
	}
	paths, err := parseCgroup(data)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the process's cgroups: %w", err)
	}
	data, err = proc.ReadFile(filepath.Join(self, "mountinfo"), proc.MaxTableFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the mount points: %w", err)
	}
	mounts, err := parseMountInfo(data)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the mount points: %w", err)
	}
	return paths, mounts, nil
}

// cgroupDirs returns the directories of this process's cgroups for a controller, from
// the leaf up to the mounted root. There are none, and no error, if no hierarchy has the
// controller: then there is no limit. v2 reports whether they have the files of
// version 2.
func cgroupDirs(paths cgroupPaths, mounts []cgroupMount, mountPrefix, controller string) (dirs []string, v2 bool, err error) {
	cgroup, v1 := paths[controller]
	if !v1 {
		var found bool
		if cgroup, found = paths[""]; !found {
			return nil, false, nil
		}
	}
	err = fmt.Errorf("cgroup %s is not in any mounted cgroup hierarchy", cgroup)
	for _, m := range mounts {
		if m.v2 == v1 || v1 && !slices.Contains(m.controllers, controller) {
			continue
		}
		rel, ok := relativeCgroup(m.root, cgroup)
		if !ok {
			err = fmt.Errorf("cgroup %s is not below the cgroup mounted at %s (%s)", cgroup, m.point, m.root)
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

// prefixPath prefixes a mount point with prefix, unless it already lies below prefix.
func prefixPath(prefix, point string) string {
	prefix, point = filepath.Clean("/"+prefix), filepath.Clean(point)
	if prefix == "/" || point == prefix || strings.HasPrefix(point, prefix+"/") {
		return point
	}
	return filepath.Join(prefix, point)
}

// readCPULimit returns one cgroup's limit of CPU time as a number of CPUs. The file does
// not exist in the root cgroup and in one whose controller is disabled; the error is then
// fs.ErrNotExist.
func readCPULimit(dir string, v2 bool) (float64, error) {
	name := "cpu.max"
	if !v2 {
		name = "cpu.cfs_quota_us"
	}
	limit, err := proc.ReadFile(filepath.Join(dir, name), proc.MaxSmallFile)
	if err != nil {
		return 0, fmt.Errorf("reading the CPU limit: %w", err)
	}
	parse := func() (float64, error) { return parseCPUMax(limit) }
	if !v2 {
		period, err := proc.ReadFile(filepath.Join(dir, "cpu.cfs_period_us"), proc.MaxSmallFile)
		if err != nil {
			return 0, fmt.Errorf("reading the period of the CPU limit: %w", err)
		}
		parse = func() (float64, error) { return parseCFSQuota(limit, period) }
	}
	cpus, err := parse()
	if err != nil {
		return 0, fmt.Errorf("reading the CPU limit: %s: %w", filepath.Join(dir, name), err)
	}
	return cpus, nil
}

// readMemoryLimit returns one cgroup's memory limit in bytes.
func readMemoryLimit(dir string, v2 bool) (int64, error) {
	name := "memory.max"
	if !v2 {
		name = "memory.limit_in_bytes"
	}
	data, err := proc.ReadFile(filepath.Join(dir, name), proc.MaxSmallFile)
	if err != nil {
		return 0, fmt.Errorf("reading the memory limit: %w", err)
	}
	bytes, err := parseMemoryMax(data)
	if err != nil {
		return 0, fmt.Errorf("reading the memory limit: %s: %w", filepath.Join(dir, name), err)
	}
	return bytes, nil
}

// readCPUSet returns the number of CPUs in one cgroup's effective set. Version 1 has
// the effective set since Linux 3.17. If it is mounted with noprefix, the file is called
// cpuset.cpus and not found here, which counts as no limit.
func readCPUSet(dir string, v2 bool) (int, error) {
	name := "cpuset.cpus.effective"
	if !v2 {
		name = "cpuset.effective_cpus"
	}
	data, err := proc.ReadFile(filepath.Join(dir, name), proc.MaxSmallFile)
	if err != nil {
		return 0, fmt.Errorf("reading the set of CPUs: %w", err)
	}
	n, err := parseCPUList(data)
	if err != nil {
		return 0, fmt.Errorf("reading the set of CPUs: %s: %w", filepath.Join(dir, name), err)
	}
	return n, nil
}
