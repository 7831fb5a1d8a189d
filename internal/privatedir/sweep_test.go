package privatedir

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/sampler/proc"
)

// deadProcess returns the identity of a process that has ended.
func deadProcess(t *testing.T) process {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := proc.Read("/proc", cmd.Process.Pid)
	in.Close()
	if err != nil || cmd.Wait() != nil {
		t.Fatal(err)
	}
	return process{p.PID, p.StartTicks}
}

// leave makes a directory as a vobs did that has ended.
func leave(t *testing.T, change func(*lease)) (path string) {
	t.Helper()
	path, err := Make("vobs-test-", false)
	if err != nil {
		t.Fatal(err)
	}
	l := readLease(path)
	if l == nil {
		t.Skip("SKIPPED: /proc shows another pid namespace: mount one of this namespace")
	}
	l.Processes[0] = deadProcess(t)
	l.Processes[0].StartTicks -= 100
	if change != nil {
		change(l)
	}
	if err := writeLease(path, l); err != nil {
		t.Fatal(err)
	}
	return path
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// startUser starts a process with an environment, which ends when stop is called.
func startUser(t *testing.T, env ...string) (p proc.Process, stop func()) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "echo up; read -r line")
	cmd.Env = env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatal(line, err)
	}
	stop = func() { in.Close(); _ = cmd.Wait() }
	t.Cleanup(stop)
	if p, err = proc.Read("/proc", cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return p, stop
}

// sweepUntil sweeps until the directory is gone: other processes of the machine that end
// meanwhile can make a sweep inconclusive.
func sweepUntilGone(t *testing.T, path string) {
	t.Helper()
	var said []string
	for range 100 {
		Sweep(func(s string) { said = append(said, s) })
		if !isThere(path) {
			return
		}
	}
	t.Fatalf("%s is still there: %q", path, said)
}

func TestSweep(t *testing.T) {
	tmp := inTemp(t)
	unused := leave(t, nil)
	reboot := leave(t, func(l *lease) { l.Boot = "another" })
	namespace := leave(t, func(l *lease) { l.PIDNamespace = "pid:[1]" })
	running, err := Make("vobs-test-", false) // by this process
	if err != nil {
		t.Fatal(err)
	}
	kept, err := Make("vobs-test-", true)
	if err != nil {
		t.Fatal(err)
	}
	cut := leave(t, nil)
	if err := os.WriteFile(filepath.Join(cut, leaseFile), []byte(`{"boot":`), 0o600); err != nil {
		t.Fatal(err)
	}
	reused := leave(t, func(l *lease) { // another process has the pid now
		self, _ := proc.Read("/proc", os.Getpid())
		l.Processes[0] = process{self.PID, self.StartTicks - 1}
	})
	sweepUntilGone(t, unused)
	sweepUntilGone(t, reused)
	for _, path := range []string{reboot, namespace, running, kept, cut, filepath.Join(userDir(tmp), readme)} {
		if !isThere(path) {
			t.Errorf("%s was removed", path)
		}
	}
}

// A directory stays as long as a process has it in its environment, or one that the lease
// names lives.
func TestSweepLeavesUsed(t *testing.T) {
	inTemp(t)
	path := leave(t, nil)
	p, stop := startUser(t, "A=1", "PYTHONPATH=/mine:"+path+"/plugin", "PATH="+os.Getenv("PATH"))
	other := leave(t, nil)
	sweepUntilGone(t, other)
	if !isThere(path) {
		t.Fatal("a directory was removed that a process has in its environment")
	}
	if l := readLease(path); len(l.Processes) != 2 || l.Processes[1] != (process{p.PID, p.StartTicks}) {
		t.Errorf("lease %+v: process %d, which uses the directory, was not recorded", l, p.PID)
	}
	stop()
	sweepUntilGone(t, path)

	p, stop = startUser(t, "A=1")
	path = leave(t, nil)
	if err := Leave(path, []proc.Process{p}); err != nil {
		t.Fatal(err)
	}
	other = leave(t, nil)
	sweepUntilGone(t, other)
	if !isThere(path) {
		t.Fatal("a directory was removed that a process of its lease uses")
	}
	stop()
	sweepUntilGone(t, path)
}

func TestSweepWithoutDirectory(t *testing.T) {
	tmp := inTemp(t)
	Sweep(func(s string) { t.Error(s) })
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) > 0 {
		t.Error("a sweep made something:", entries, err)
	}
}

// What processes of a fixture are taken to use.
func TestUsedDirs(t *testing.T) {
	const denied = "denied" // the environment cannot be read
	const python, shell = "/opt/venv/bin/python3.11", "/usr/bin/bash"
	ours, theirs := fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", os.Geteuid()), "Uid:\t54321\t54321\t54321\t54321\n"
	dirs := []abandoned{{"/t/a", 100}, {"/t/b", 200}}
	for _, c := range []struct {
		name      string
		processes []fixture
		want      string
		doubt     bool // the process is not certain to use it
	}{
		{"names one", []fixture{{pid: 7, start: 300, environ: "A=1\x00PYTHONPATH=/t/a/plugin:/x\x00"}}, "/t/a", false},
		{"names both", []fixture{{pid: 7, start: 300, environ: "X=/t/a/m\x00Y=/t/b\x00"}}, "/t/a /t/b", false},
		{"one each", []fixture{{pid: 7, start: 300, environ: "X=/t/a/m\x00"}, {pid: 8, start: 200, environ: "X=/t/b\x00"}}, "/t/a /t/b", false},
		{"names none", []fixture{{pid: 7, start: 300, environ: "A=1\x00", exe: python}}, "", false},
		{"older than one", []fixture{{pid: 7, start: 150, environ: "X=/t/a\x00Y=/t/b\x00"}}, "/t/a", false},
		{"older than both", []fixture{{pid: 7, start: 50, environ: "X=/t/a\x00Y=/t/b\x00"}}, "", false},
		{"overwritten, Python", []fixture{{pid: 7, start: 300, environ: "\x00\x00\x00\x00", exe: python}}, "/t/a /t/b", true},
		{"overwritten by a title, Python", []fixture{{pid: 7, start: 300, environ: "ngineCore\x00\x00", exe: python}}, "/t/a /t/b", true},
		{"overwritten, older Python", []fixture{{pid: 7, start: 150, exe: python}}, "/t/a", true},
		{"overwritten, not Python", []fixture{{pid: 7, start: 300, environ: "\x00\x00", exe: "/usr/sbin/nginx"}}, "", false},
		{"a child without", []fixture{{pid: 7, ppid: 6, start: 300, exe: python}, {pid: 6, start: 300, environ: "A=1\x00", exe: python}}, "", false},
		{"a child with one", []fixture{{pid: 7, ppid: 6, start: 300, exe: python}, {pid: 6, start: 300, environ: "A=/t/a\x00", exe: shell}}, "/t/a", false},
		{"a grandchild without", []fixture{{pid: 7, ppid: 6, start: 300, exe: python}, {pid: 6, ppid: 5, start: 300, exe: python}, {pid: 5, start: 300, environ: "A=1\x00", exe: shell}}, "", false},
		{"a child of an older one", []fixture{{pid: 7, ppid: 6, start: 300, exe: python}, {pid: 6, start: 150, environ: "A=/t/b\x00", exe: shell}}, "", false},
		{"adopted", []fixture{{pid: 7, ppid: 6, start: 300, exe: python}, {pid: 6, start: 50, environ: "A=1\x00", exe: "/usr/lib/systemd/systemd"}}, "/t/a /t/b", true},
		{"adopted by process 1", []fixture{{pid: 7, ppid: 1, start: 300, exe: python}, {pid: 1, start: 50, environ: "A=1\x00", exe: shell}}, "/t/a /t/b", true},
		{"kernel thread", []fixture{{pid: 7, start: 300}}, "", false},
		{"unreadable", []fixture{{pid: 7, start: 300, environ: denied, status: ours}}, "/t/a /t/b", true},
		{"unreadable and older", []fixture{{pid: 7, start: 150, environ: denied, status: ours}}, "/t/a", true},
		{"unreadable, of another user", []fixture{{pid: 7, start: 300, environ: denied, status: theirs}}, "", false},
		{"unreadable, of sshd", []fixture{{pid: 7, start: 300, environ: denied, status: ours, comm: "sshd"}}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for _, p := range c.processes {
				p.write(t, root)
				if p.environ == denied {
					if os.Geteuid() == 0 {
						t.Skip("SKIPPED: needs a user who may not read everything: run the tests without root")
					}
					if err := os.Chmod(filepath.Join(root, "7", "environ"), 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			used, err := usedDirs(root, dirs)
			var got []string
			for _, d := range dirs {
				if has(used, d.path) {
					got = append(got, d.path)
					if used[d.path].certain == c.doubt && c.processes[0].environ != "" {
						t.Errorf("%s: certain %v", d.path, !c.doubt)
					}
				}
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("used %q, %v; want %q", got, err, c.want)
			}
		})
	}
	root := t.TempDir()
	fixture{pid: 7, start: 300, exe: shell, starting: true}.write(t, root)
	if used, err := usedDirs(root, dirs); err == nil {
		t.Errorf("a process without an environment yet: used %v", used)
	}
	for status, want := range map[string]bool{ours: true, theirs: os.Geteuid() == 54321, "Uid:\t0\t0\t" + fmt.Sprint(os.Geteuid()) + "\t0\n": true, "": false} {
		root := t.TempDir()
		fixture{pid: 7, status: status}.write(t, root)
		if got, err := hasUser(filepath.Join(root, "7"), os.Geteuid()); got != want || err != nil {
			t.Errorf("%q: %v, %v", status, got, err)
		}
	}
}

// fixture is a process below a directory in the place of /proc.
type fixture struct {
	pid, ppid, start           int
	comm, environ, status, exe string // exe is "" if there is none
	starting                   bool   // a program, so that it has no arguments yet
}

func (p fixture) write(t *testing.T, root string) {
	t.Helper()
	dir := filepath.Join(root, fmt.Sprint(p.pid))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	stat := fmt.Sprintf("%d (%s) S %d 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", p.pid, p.comm, p.ppid, p.start)
	args := "x\x00"
	if p.starting {
		args = ""
	}
	for name, text := range map[string]string{"stat": stat, "environ": p.environ, "status": p.status, "cmdline": args} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if p.exe != "" {
		if err := os.Symlink(p.exe, filepath.Join(dir, "exe")); err != nil {
			t.Fatal(err)
		}
	}
}
