package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// Records of Linux 6.18, 5.4 and 4.19.
const (
	globalKill = "3,1234,5678901234,-;Out of memory: Killed process 4242 (python3) total-vm:8388608kB, anon-rss:4194304kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:8192kB oom_score_adj:0\n"
	cgroupKill = "3,1235,5678901240,-,caller=T4243;Memory cgroup out of memory: Killed process 4243 (VLLM::EngineCor) total-vm:214732kB, anon-rss:32000kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:104kB oom_score_adj:0\n SUBSYSTEM=x\n"
	oldKill    = "3,1236,5678901250,-;Killed process 4244 (sh) total-vm:8388608kB, anon-rss:4194304kB, file-rss:0kB, shmem-rss:0kB\n"
)

func TestParseVictim(t *testing.T) {
	for name, c := range map[string]struct {
		record string
		want   OOMVictim
	}{
		"the host's memory":       {globalKill, OOMVictim{4242, "python3"}},
		"a cgroup's":              {cgroupKill, OOMVictim{4243, "VLLM::EngineCor"}},
		"before Linux 5.3":        {oldKill, OOMVictim{4244, "sh"}},
		"of the allocating task":  {strings.Replace(globalKill, "memory:", "memory (oom_kill_allocating_task):", 1), OOMVictim{4242, "python3"}},
		"a name with brackets":    {strings.Replace(globalKill, "python3", "a (b) c", 1), OOMVictim{4242, "a (b) c"}},
		"a name with other bytes": {strings.Replace(globalKill, "python3", `\x1b[31m`, 1), OOMVictim{4242, `\x1b[31m`}},
		"a program's record":      {strings.Replace(globalKill, "3,", "11,", 1), OOMVictim{}},
		"another record":          {"6,1,2,-;usb 1-1: new device\n", OOMVictim{}},
		"the announcement":        {"4,1,2,-;Out of memory: Kill process 4242 (python3) score 900 or sacrifice child\n", OOMVictim{}},
		"quoted":                  {"6,1,2,-;audit: Killed process 4242 (python3) total-vm:1kB\n", OOMVictim{}},
		"process 0":               {strings.Replace(globalKill, "4242", "0", 1), OOMVictim{}},
		"a negative pid":          {strings.Replace(globalKill, "4242", "-1", 1), OOMVictim{}},
		"no pid":                  {strings.Replace(globalKill, "4242", "x", 1), OOMVictim{}},
		"a pid that is too high":  {strings.Replace(globalKill, "4242", "18446744073709551615", 1), OOMVictim{}},
		"a long name":             {strings.Replace(globalKill, "python3", strings.Repeat("x", 61), 1), OOMVictim{}},
		"cut":                     {globalKill[:60], OOMVictim{}},
		"no header":               {globalKill[strings.Index(globalKill, ";")+1:], OOMVictim{}},
		"a continuation":          {" " + globalKill, OOMVictim{}},
		"empty":                   {"", OOMVictim{}},
	} {
		if got, ok := parseVictim([]byte(c.record)); got != c.want || ok != (c.want != OOMVictim{}) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, ok, c.want)
		}
	}
}

// FuzzParseVictim checks that any record is parsed without a crash, and that a victim has a pid.
func FuzzParseVictim(f *testing.F) {
	for _, record := range []string{globalKill, cgroupKill, oldKill, "3,1,2,-;\n", "4,;Killed process 1 ("} {
		f.Add([]byte(record))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		v, ok := parseVictim(record)
		if ok && (v.PID <= 0 || v.PID > maxPID || len(v.Comm) > maxComm || !bytes.Contains(record, fmt.Appendf(nil, "(%s)", v.Comm))) {
			t.Errorf("%q: %+v", record, v)
		}
	})
}

// Each read returns a record. The log ends with EAGAIN.
func TestReadVictims(t *testing.T) {
	broken := errors.New("broken")
	type step struct {
		record string
		err    error
	}
	for name, c := range map[string]struct {
		steps []step
		want  []int
		err   error
	}{
		"none":         {steps: []step{{err: unix.EAGAIN}}},
		"a few":        {steps: []step{{record: "6,1,2,-;x\n"}, {record: globalKill}, {record: cgroupKill}, {err: unix.EAGAIN}}, want: []int{4242, 4243}},
		"overwritten":  {steps: []step{{err: unix.EPIPE}, {record: globalKill}, {err: unix.EINTR}, {record: oldKill}, {err: unix.EAGAIN}}, want: []int{4242, 4244}},
		"a file":       {steps: []step{{record: globalKill + cgroupKill + oldKill}, {}}, want: []int{4242, 4243, 4244}},
		"breaks":       {steps: []step{{record: globalKill}, {err: broken}}, want: []int{4242}, err: broken},
		"cut at 8 KiB": {steps: []step{{record: globalKill + strings.Repeat("x", 9000)}, {err: unix.EAGAIN}}, want: []int{4242}},
	} {
		t.Run(name, func(t *testing.T) {
			steps := c.steps
			victims, err := readVictims(func(p []byte) (int, error) {
				s := steps[0]
				steps = steps[1:]
				return copy(p, s.record), s.err
			})
			var got []int
			for _, v := range victims {
				got = append(got, v.PID)
			}
			if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
				t.Errorf("%v, %v, want %v, %v", got, err, c.want, c.err)
			}
		})
	}

	// A log that never ends is given up.
	reads := 0
	if _, err := readVictims(func(p []byte) (int, error) { reads++; return copy(p, "6,1,2,-;x\n"), nil }); err != nil || reads > maxKernelRecords {
		t.Errorf("%d reads, %v", reads, err)
	}
}

// What was logged since the start counts, if it is about the command or a process of its tree.
func TestOOMVictims(t *testing.T) {
	kill := func(pid int) string { return strings.Replace(globalKill, "4242", fmt.Sprint(pid), 1) }
	for name, c := range map[string]struct {
		before, after string
		namespace     string
		missing       bool
		command       int
		want          []int
		err           string
	}{
		"none":                  {command: 101},
		"the command":           {after: kill(101), command: 101, want: []int{101}},
		"an unknown command":    {after: kill(777), command: 777, want: []int{777}},
		"a descendant":          {after: kill(4242) + kill(103), command: 101, want: []int{103}},
		"one that has ended":    {after: kill(104), command: 101, want: []int{104}},
		"before the start":      {before: kill(101), command: 101},
		"vobs itself":           {after: kill(proctest.VobsPID), command: 101},
		"another pid namespace": {after: kill(101), namespace: "pid:[4026532000]", command: 101, err: "another one"},
		"no log":                {missing: true, command: 101, err: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := hostFixture(t)
			path := filepath.Join(f.Root, "kmsg")
			if !c.missing {
				f.Write("kmsg", c.before)
			}
			namespace := initialPIDNamespace
			if c.namespace != "" {
				namespace = c.namespace
			}
			if err := errors.Join(os.MkdirAll(filepath.Join(f.Root, "self", "ns"), 0o777), os.Symlink(namespace, filepath.Join(f.Root, "self", "ns", "pid"))); err != nil {
				t.Fatal(err)
			}
			s := Start(Config{ProcRoot: f.Root, CgroupRoot: f.Root, RootPID: proctest.VobsPID, KernelLog: path})
			<-s.staticDone
			s.CommandStarted()
			if err := s.tree.Discover(); err != nil {
				t.Fatal(err)
			}
			f.Remove(104)
			if !c.missing {
				f.Write("kmsg", c.before+c.after)
			}
			s.Stop(0)
			victims, err := s.OOMVictims(c.command)
			var got []int
			for _, v := range victims {
				got = append(got, v.PID)
			}
			if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, %v, want %v, %q", got, err, c.want, c.err)
			}
		})
	}
}

// The device can be opened and read to its end without waiting, if it can be read at all. Anything else
// in its place is not read.
func TestKernelLogDevice(t *testing.T) {
	log, err := openKernelLog("/proc", "")
	if err != nil {
		t.Skipf("SKIPPED: it takes root in the initial pid namespace, and a kernel's log: %v", err)
	}
	defer unix.Close(log.fd)
	if _, err := readVictims(func(p []byte) (int, error) { return unix.Read(log.fd, p) }); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]bool{kernelLogPath: true, "/dev/null": false, "/proc/self/stat": false} {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if got := isKernelLog(&st); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
