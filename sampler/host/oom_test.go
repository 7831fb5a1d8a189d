package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

const noKills = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 5\noom_group_kill 0\n"

// oomFixture is hostFixture with a counter at 5, and vobs and its command in the cgroup.
func oomFixture(t *testing.T) *proctest.Proc {
	f := hostFixture(t)
	f.Write("cg/memory.events", noKills)
	f.Write("cg/cgroup.procs", "100\n101\n102\n103\n")
	return f
}

func TestOOMKills(t *testing.T) {
	killed := strings.Replace(noKills, "oom_kill 5", "oom_kill 7", 1)
	for name, c := range map[string]struct {
		change func(f *proctest.Proc) // while the command runs
		want   OOMKills
		err    string
	}{
		"none": {func(*proctest.Proc) {}, OOMKills{}, ""},
		"two":  {func(f *proctest.Proc) { f.Write("cg/memory.events", killed) }, OOMKills{Count: 2}, ""},
		"with the shell that started vobs": {func(f *proctest.Proc) {
			f.Write("cg/memory.events", killed)
			f.Put(50, proctest.Stat{PPID: 1, Comm: "bash"})
			f.Put(proctest.VobsPID, proctest.Stat{PPID: 50, Comm: "vobs"})
			f.Write("cg/cgroup.procs", "50\n100\n101\n")
		}, OOMKills{Count: 2}, ""},
		"with another process": {func(f *proctest.Proc) {
			f.Write("cg/memory.events", killed)
			f.Write("cg/cgroup.procs", "100\n101\n4242\n")
		}, OOMKills{Count: 2, Shared: true}, ""},
		"with unknown processes": {func(f *proctest.Proc) {
			f.Write("cg/memory.events", killed)
			os.Remove(filepath.Join(f.Root, "cg/cgroup.procs"))
		}, OOMKills{Count: 2, Shared: true}, ""},
		"counted above": {func(f *proctest.Proc) { f.Write("cg/memory.events", killed) }, OOMKills{Count: 2, Shared: true}, ""},
		"restarted":     {func(f *proctest.Proc) { f.Write("cg/memory.events", "oom_kill 1\n") }, OOMKills{}, "restarted"},
		"malformed":     {func(f *proctest.Proc) { f.Write("cg/memory.events", "oom_kill x\n") }, OOMKills{}, "not a number of processes"},
		"gone":          {func(f *proctest.Proc) { os.Remove(filepath.Join(f.Root, "cg/memory.events")) }, OOMKills{}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := oomFixture(t)
			if name == "counted above" {
				f.Write("self/cgroup", "0::/below\n")
				f.Write("cg/below/cgroup.procs", "100\n")
			}
			s := Start(Config{ProcRoot: f.Root, CgroupRoot: f.Root, RootPID: proctest.VobsPID})
			<-s.staticDone
			s.CommandStarted()
			c.change(f)
			s.Stop(0)
			got, err := s.OOMKills()
			if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// The counter is that of the nearest cgroup which has one, of either version.
func TestReadOOMCounter(t *testing.T) {
	for name, c := range map[string]struct {
		cgroup, mounts string
		files          map[string]string
		kills          uint64
		dir, err       string
	}{
		"version 2":         {"0::/a/b\n", "35 24 0:30 / /cg rw - cgroup2 cgroup2 rw\n", map[string]string{"cg/a/b/memory.events": "oom_kill 3\n", "cg/a/memory.events": "oom_kill 9\n"}, 3, "cg/a/b", ""},
		"above":             {"0::/a/b\n", "35 24 0:30 / /cg rw - cgroup2 cgroup2 rw\n", map[string]string{"cg/a/b/cpu.max": "max 100000\n", "cg/a/memory.events": "oom 1\noom_kill 9\n"}, 9, "cg/a", ""},
		"the root":          {"0::/\n", "35 24 0:30 / /cg rw - cgroup2 cgroup2 rw\n", map[string]string{"cg/cgroup.procs": "1\n"}, 0, "", "counts"},
		"version 1":         {"4:memory:/a\n0::/\n", "36 24 0:31 / /cg1 rw - cgroup cgroup rw,memory\n", map[string]string{"cg1/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"}, 4, "cg1/a", ""},
		"before Linux 4.13": {"4:memory:/a\n", "36 24 0:31 / /cg1 rw - cgroup cgroup rw,memory\n", map[string]string{"cg1/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, 0, "", "counts"},
		"not mounted":       {"0::/\n", "", nil, 0, "", "not in any mounted"},
	} {
		f := proctest.New(t)
		f.Write("self/cgroup", c.cgroup)
		f.Write("self/mountinfo", c.mounts)
		for path, text := range c.files {
			f.Write(path, text)
		}
		got := readCgroup(f.Root, f.Root, 2)
		if got.oom.kills != c.kills || c.err == "" && (got.oomErr != nil || got.oom.dir != f.Root+"/"+c.dir) || c.err != "" && (got.oomErr == nil || !strings.Contains(got.oomErr.Error(), c.err)) {
			t.Errorf("%s: %+v, %v", name, got.oom, got.oomErr)
		}
	}
}
