package host

import (
	"bytes"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/vobs/vobs/sampler/proc"
)

// cgroupPaths holds the cgroups of one process, from /proc/PID/cgroup, by version 1
// controller; the key of the version 2 cgroup is "".
type cgroupPaths map[string]string

// parseCgroup parses /proc/PID/cgroup (cgroups(7)): lines of
// hierarchy-ID:controllers:path. A version 1 hierarchy lists its controllers, or
// a name ("name=systemd") if it has none; version 2 has ID 0 and no controllers.
func parseCgroup(data []byte) (cgroupPaths, error) {
	paths := make(cgroupPaths)
	for line := range bytes.Lines(data) {
		text := strings.TrimSuffix(string(line), "\n")
		id, rest, ok := strings.Cut(text, ":")
		controllers, dir, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 || !strings.HasPrefix(dir, "/") {
			return nil, fmt.Errorf("%q is not a line of a cgroup list", text)
		}
		// The kernel marks a cgroup that was removed while the process was in it.
		dir = strings.TrimSuffix(dir, " (deleted)")
		if controllers == "" && id != "0" {
			continue // a version 1 hierarchy without controllers or a name
		}
		for name := range strings.SplitSeq(controllers, ",") {
			paths[name] = dir
		}
	}
	return paths, nil
}

// cgroupMount is one mounted cgroup hierarchy.
type cgroupMount struct {
	v2          bool
	controllers []string // of version 1
	root        string   // the mounted cgroup
	point       string   // its mount point
}

// parseMountInfo returns the cgroup hierarchies in /proc/PID/mountinfo
// (proc_pid_mountinfo(5)): lines of ID, parent, device, root, mount point, options,
// optional fields, "-", file system type, source, options of the file system, which
// include a version 1 hierarchy's controllers. Lines of other file systems are not
// parsed.
func parseMountInfo(data []byte) ([]cgroupMount, error) {
	var mounts []cgroupMount
	for line := range bytes.Lines(data) {
		if !bytes.Contains(line, []byte(" - cgroup")) {
			continue
		}
		fields := strings.Fields(string(line))
		sep := slices.Index(fields, "-")
		if sep < 6 || len(fields) < sep+4 {
			return nil, fmt.Errorf("%q is not a line of a mount list", strings.TrimSpace(string(line)))
		}
		m := cgroupMount{root: unescapeMount(fields[3]), point: unescapeMount(fields[4])}
		if !strings.HasPrefix(m.root, "/") || !strings.HasPrefix(m.point, "/") {
			return nil, fmt.Errorf("%q is not a line of a mount list", strings.TrimSpace(string(line)))
		}
		switch fields[sep+1] {
		case "cgroup":
			m.controllers = strings.Split(fields[sep+3], ",")
		case "cgroup2":
			m.v2 = true
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// unescapeMount decodes the octal escapes of space, tab, newline, # and backslash in a
// mount list (show_mnt_opts, mangle).
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1]) && isOctal(s[i+2]) && isOctal(s[i+3]) && s[i+1] < '4' {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }

// relativeCgroup returns the path of a process's cgroup relative to a mounted cgroup; ok
// is false if it is not the mounted cgroup or below it. Both are relative to the
// process's cgroup namespace, in which a path with ".." leads out of the namespace and
// cannot be resolved.
func relativeCgroup(mountRoot, cgroup string) (rel string, ok bool) {
	if slices.Contains(strings.Split(cgroup, "/"), "..") || slices.Contains(strings.Split(mountRoot, "/"), "..") {
		return "", false
	}
	mountRoot, cgroup = path.Clean(mountRoot), path.Clean(cgroup)
	if mountRoot == "/" {
		return strings.TrimPrefix(cgroup, "/"), true
	}
	if cgroup == mountRoot {
		return "", true
	}
	return strings.CutPrefix(cgroup, mountRoot+"/")
}

// parseCPUMax parses version 2's cpu.max, "quota period" or "max period" in
// microseconds, as a number of CPUs; +Inf means no limit.
func parseCPUMax(data []byte) (float64, error) {
	quota, rest := proc.NextField(data)
	period, _ := proc.NextField(rest)
	p, ok := proc.ParseUint(period)
	if !ok || p == 0 {
		return 0, fmt.Errorf("%q is not a CPU limit", bytes.TrimSpace(data))
	}
	if string(quota) == "max" {
		return math.Inf(1), nil
	}
	q, ok := proc.ParseUint(quota)
	if !ok || q == 0 {
		return 0, fmt.Errorf("%q is not a CPU limit", bytes.TrimSpace(data))
	}
	return float64(q) / float64(p), nil
}

// parseCFSQuota parses version 1's cpu.cfs_quota_us and cpu.cfs_period_us as a number of
// CPUs; a quota of -1 means no limit (+Inf).
func parseCFSQuota(quota, period []byte) (float64, error) {
	if string(bytes.TrimSpace(quota)) == "-1" {
		return math.Inf(1), nil
	}
	return parseCPUMax(slices.Concat(bytes.TrimSpace(quota), []byte(" "), bytes.TrimSpace(period)))
}

// unlimitedBytes is the value from which on a version 1 memory limit means no limit. An
// unset limit reads as the largest page count in bytes, 2^63 minus one page, and page
// sizes differ (mm/memcontrol.c, PAGE_COUNTER_MAX). No machine has an exbibyte.
const unlimitedBytes = 1 << 60

// parseMemoryMax parses memory.max (version 2; "max" means no limit) or
// memory.limit_in_bytes (version 1; a huge number means no limit). It returns bytes, or
// math.MaxInt64 if there is no limit.
func parseMemoryMax(data []byte) (int64, error) {
	limit, _ := proc.NextField(data)
	if string(limit) == "max" {
		return math.MaxInt64, nil
	}
	n, ok := proc.ParseUint(limit)
	if !ok {
		return 0, fmt.Errorf("%q is not a memory limit", bytes.TrimSpace(data))
	}
	if n >= unlimitedBytes {
		return math.MaxInt64, nil
	}
	return int64(n), nil
}
