package host

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// The fixtures are: hybrid, a virtual machine with versions 1 and 2 (recorded);
// docker2, a container with a cgroup namespace of its own; systemd2, limits at several
// levels of version 2; docker1, a version 1 container without a namespace and with
// co-mounted controllers; slurm1, a job's memory limit above its step and a set of CPUs,
// on 64 KiB pages.
func TestReadCgroupLimits(t *testing.T) {
	noLimit := math.Inf(1)
	tests := []struct {
		name  string
		cpus  float64
		bytes int64
	}{
		{"hybrid", noLimit, math.MaxInt64},
		{"docker2", 2.5, 8 << 30},
		{"systemd2", 8, 32 << 30},
		{"docker1", 1.5, math.MaxInt64},
		{"slurm1", 8, 100 << 30},
	}
	for _, test := range tests {
		root, err := filepath.Abs(filepath.Join("testdata/host/cgroup", test.name))
		if err != nil {
			t.Fatal(err)
		}
		hostCPUs := 64
		if test.name == "hybrid" {
			hostCPUs = 2
		}
		got := readCgroup(filepath.Join(root, "proc"), root, hostCPUs).limits
		if got.cpuErr != nil || got.bytesErr != nil || got.cpus != test.cpus || got.bytes != test.bytes {
			t.Errorf("%s: got %+v, want %v CPUs and %d bytes", test.name, got, test.cpus, test.bytes)
		}
	}
}

// cgroupFixture returns a /proc and a root directory with one version 2 mount.
func cgroupFixture(t *testing.T, cgroup, mountRoot string) *proctest.Proc {
	f := proctest.New(t)
	f.Write("self/cgroup", "0::"+cgroup+"\n")
	f.Write("self/mountinfo", `35 24 0:30 `+mountRoot+` /mnt/my\040groups rw shared:9 - cgroup2 cgroup2 rw`+"\n")
	f.Write("mnt/my groups/cpu.max", "100000 100000\n")
	f.Write("mnt/my groups/memory.max", "4096\n")
	return f
}

func TestReadCgroupLimitsUnusual(t *testing.T) {
	f := cgroupFixture(t, "/a/b", "/a")
	f.Write("mnt/my groups/b/memory.max", "max\n")
	if got := readCgroup(f.Root, f.Root, 64).limits; got.cpus != 1 || got.bytes != 4096 || got.cpuErr != nil || got.bytesErr != nil {
		t.Errorf("a part of the hierarchy mounted under an escaped name: %+v", got)
	}

	// A cgroup that cannot be found is an error, not "no limit".
	for reason, f := range map[string]*proctest.Proc{
		"is not below the cgroup mounted": cgroupFixture(t, "/../other", "/"),
		"cgroup / is not below":           cgroupFixture(t, "/", "/../.."),
		"(/docker/x)":                     cgroupFixture(t, "/a", "/docker/x"),
		"no such file":                    cgroupFixture(t, "/gone (deleted)", "/"),
	} {
		got := readCgroup(f.Root, f.Root, 64).limits
		if got.cpuErr == nil || got.bytesErr == nil || !strings.Contains(got.bytesErr.Error(), reason) {
			t.Errorf("%+v; want errors that contain %q", got, reason)
		}
	}
	f = proctest.New(t)
	if got := readCgroup(f.Root, f.Root, 64).limits; got.cpuErr == nil || got.bytesErr == nil {
		t.Errorf("without a list of cgroups: %+v", got)
	}
	f.Write("self/cgroup", "0::/\n")
	f.Write("self/mountinfo", "22 27 0:21 / /proc rw - proc proc rw\n")
	if got := readCgroup(f.Root, f.Root, 64).limits; got.cpuErr == nil || !strings.Contains(got.cpuErr.Error(), "not in any mounted") {
		t.Errorf("without a mounted hierarchy: %+v", got)
	}
	f = cgroupFixture(t, "/", "/")
	f.Write("mnt/my groups/cpu.max", "fast\n")
	f.Write("mnt/my groups/memory.max", "-1\n")
	if got := readCgroup(f.Root, f.Root, 64).limits; got.cpuErr == nil || got.bytesErr == nil {
		t.Errorf("with malformed limits: %+v", got)
	}
	f = cgroupFixture(t, "/", "/")
	f.Write("mnt/my groups/cpuset.cpus.effective", "0-a\n")
	if got := readCgroup(f.Root, f.Root, 64).limits; got.cpuErr == nil || got.bytesErr != nil {
		t.Errorf("with a malformed set of CPUs: %+v", got)
	}
}

// The tighter of the CPU time limit and the set of CPUs counts.
func TestReadCgroupLimitsCPUSet(t *testing.T) {
	for quota, want := range map[string]float64{"50000": 0.5, "600000": 3, "max": 3} {
		f := cgroupFixture(t, "/", "/")
		f.Write("mnt/my groups/cpu.max", quota+" 100000\n")
		f.Write("mnt/my groups/cpuset.cpus.effective", "1,3,5\n")
		if got := readCgroup(f.Root, f.Root, 4).limits; got.cpus != want {
			t.Errorf("quota %s: %v CPUs, want %v", quota, got.cpus, want)
		}
		if got := readCgroup(f.Root, f.Root, 3).limits; quota == "max" && !math.IsInf(got.cpus, 1) {
			t.Errorf("with a set of all CPUs: %v CPUs, want no limit", got.cpus)
		}
	}
}

// On this machine, reading the limits succeeds, whatever they are, and the lists of
// cgroups and mounts are those of procfs.
func TestReadCgroupReal(t *testing.T) {
	proctest.NeedProc(t)
	paths, mounts, err := readCgroupMap("/proc")
	if err != nil {
		t.Fatal(err)
	}
	self, err := procfs.Self()
	if err != nil {
		t.Fatal(err)
	}
	groups, err := self.Cgroups()
	if err != nil {
		t.Fatal(err)
	}
	want := make(cgroupPaths)
	for _, g := range groups {
		if len(g.Controllers) == 0 {
			want[""] = g.Path
		}
		for _, c := range g.Controllers {
			want[c] = g.Path
		}
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("cgroups (-procfs +got):\n%s", diff)
	}
	infos, err := procfs.GetMounts()
	if err != nil {
		t.Fatal(err)
	}
	var wantMounts, gotMounts []string
	for _, m := range infos {
		if strings.HasPrefix(m.FSType, "cgroup") {
			wantMounts = append(wantMounts, m.FSType+" "+m.Root+" "+m.MountPoint)
		}
	}
	for _, m := range mounts {
		kind := "cgroup"
		if m.v2 {
			kind = "cgroup2"
		}
		gotMounts = append(gotMounts, kind+" "+m.root+" "+m.point)
	}
	if diff := cmp.Diff(wantMounts, gotMounts); diff != "" {
		t.Errorf("mounts (-procfs +got):\n%s", diff)
	}
	if len(mounts) == 0 {
		t.Skip("SKIPPED: no cgroup hierarchy is mounted here: run the tests on a host or in a container that has one")
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := parseOnlineCPUs(stat)
	if err != nil {
		t.Fatal(err)
	}
	got := readCgroup("/proc", "", cpus).limits
	if got.cpuErr != nil || got.bytesErr != nil || got.cpus <= 0 || got.bytes <= 0 {
		t.Errorf("limits %+v", got)
	}
	if same := readCgroup("/proc", "/sys/fs/cgroup", cpus).limits; same != got {
		t.Errorf("with the prefix /sys/fs/cgroup: %+v, without: %+v", same, got)
	}
}

func TestPrefixPath(t *testing.T) {
	for _, test := range [][3]string{
		{"", "/sys/fs/cgroup", "/sys/fs/cgroup"},
		{"/", "/sys/fs/cgroup", "/sys/fs/cgroup"},
		{"/tmp/x", "/sys/fs/cgroup", "/tmp/x/sys/fs/cgroup"},
		{"/sys/fs/cgroup/", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory"},
		{"/sys/fs/cg", "/sys/fs/cgroup", "/sys/fs/cg/sys/fs/cgroup"},
	} {
		if got := prefixPath(test[0], test[1]); got != test[2] {
			t.Errorf("prefixPath(%q, %q) = %q, want %q", test[0], test[1], got, test[2])
		}
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add([]byte("4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n0::/a (deleted)\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		paths, err := parseCgroup(data)
		if err != nil {
			return
		}
		for name, dir := range paths {
			if !strings.HasPrefix(dir, "/") || strings.ContainsAny(name, ",:") {
				t.Errorf("%q: %q -> %q", data, name, dir)
			}
			rel, ok := relativeCgroup("/", dir)
			if ok && strings.HasPrefix(path.Join("/m", rel), "/m") == false {
				t.Errorf("%q is outside of the mount: %q", dir, rel)
			}
		}
	})
}

func FuzzParseMountInfo(f *testing.F) {
	f.Add([]byte(`35 24 0:30 / /sys/fs/my\040cgroup rw shared:9 - cgroup2 cgroup2 rw` + "\n"))
	f.Add([]byte("700 699 0:29 /d /sys/fs/cgroup/cpu,cpuacct ro master:14 - cgroup cgroup rw,cpu,cpuacct\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		mounts, err := parseMountInfo(data)
		if err != nil {
			return
		}
		for _, m := range mounts {
			if !strings.HasPrefix(m.root, "/") || !strings.HasPrefix(m.point, "/") || m.v2 != (m.controllers == nil) {
				t.Errorf("%q: %+v", data, m)
			}
		}
	})
}

func FuzzParseCPUMax(f *testing.F) {
	f.Add([]byte("250000"), []byte("100000"))
	f.Add([]byte("max"), []byte("100000"))
	f.Add([]byte("-1"), []byte("100000"))
	f.Fuzz(func(t *testing.T, quota, period []byte) {
		for _, parse := range []func() (float64, error){
			func() (float64, error) { return parseCFSQuota(quota, period) },
			func() (float64, error) { return parseCPUMax([]byte(string(quota) + " " + string(period))) },
		} {
			if cpus, err := parse(); err == nil && !(cpus > 0) {
				t.Errorf("%q %q: %v CPUs", quota, period, cpus)
			}
		}
	})
}

func FuzzParseMemoryMax(f *testing.F) {
	f.Add([]byte("max\n"))
	f.Add([]byte("9223372036854771712\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := parseMemoryMax(data); err == nil && (n < 0 || n >= unlimitedBytes && n != math.MaxInt64) {
			t.Errorf("%q: %d", data, n)
		}
	})
}
