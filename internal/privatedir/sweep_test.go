package privatedir

import (
	"bufio"
	"bytes"
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

// user starts a process with an environment, which ends when stop is called.
func user(t *testing.T, env ...string) (p proc.Process, stop func()) {
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
	_, stop := user(t, "A=1", "PYTHONPATH=/mine:"+path+"/plugin", "PATH="+os.Getenv("PATH"))
	other := leave(t, nil)
	sweepUntilGone(t, other)
	if !isThere(path) {
		t.Fatal("a directory was removed that a process has in its environment")
	}
	stop()
	sweepUntilGone(t, path)

	p, stop := user(t, "A=1")
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
	dirs := []abandoned{{"/t/a", 100}, {"/t/b", 200}}
	const ours, theirs = "Uid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", "Uid:\t54321\t54321\t54321\t54321\n"
	self := fmt.Sprintf(ours, os.Geteuid())
	for _, c := range []struct {
		name, comm string
		start      int
		environ    string // "denied": not readable
		status     string
		exe        string // "" if there is none
		want       string
	}{
		{name: "names one", start: 300, environ: "A=1\x00PYTHONPATH=/t/a/plugin:/x\x00", exe: "/bin/sleep", want: "/t/a"},
		{name: "names both", start: 300, environ: "X=/t/a/m\x00Y=/t/b\x00", exe: "/bin/sleep", want: "/t/a /t/b"},
		{name: "names none", start: 300, environ: "A=1\x00", exe: "/usr/bin/python3.11"},
		{name: "older than one", start: 150, environ: "X=/t/a\x00Y=/t/b\x00", exe: "/bin/sleep", want: "/t/a"},
		{name: "older than both", start: 50, environ: "X=/t/a\x00Y=/t/b\x00", exe: "/bin/sleep"},
		{name: "overwritten, Python", start: 300, environ: "\x00\x00\x00\x00", exe: "/opt/venv/bin/python3.11", want: "/t/a /t/b"},
		{name: "overwritten by a title, Python", start: 300, environ: "ngineCore\x00\x00", exe: "/opt/venv/bin/python3.11", want: "/t/a /t/b"},
		{name: "overwritten, older Python", start: 150, environ: "", exe: "/opt/venv/bin/python3.11", want: "/t/a"},
		{name: "overwritten, not Python", start: 300, environ: "\x00\x00", exe: "/usr/sbin/nginx"},
		{name: "kernel thread", start: 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			writeProcess(t, root, "sh", c.start, c.environ, self, c.exe)
			used, err := usedDirs(root, dirs)
			var got []string
			for _, d := range dirs {
				if used[d.path] {
					got = append(got, d.path)
				}
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("used %q, %v; want %q", got, err, c.want)
			}
		})
	}
	// Root can read everything in a fixture, so the two parts are called one by one.
	root := t.TempDir()
	for status, want := range map[string]bool{self: true, theirs: os.Geteuid() == 54321, "Uid:\t0\t0\t" + fmt.Sprint(os.Geteuid()) + "\t0\n": true, "": false} {
		writeProcess(t, root, "x", 1, "", status, "")
		if got, err := hasUser(filepath.Join(root, "7"), os.Geteuid()); got != want || err != nil {
			t.Errorf("%q: %v, %v", status, got, err)
		}
	}
}

func writeProcess(t *testing.T, root, comm string, start int, environ, status, exe string) {
	t.Helper()
	dir := filepath.Join(root, "7")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var stat bytes.Buffer
	fmt.Fprintf(&stat, "7 (%s) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", comm, start)
	for name, text := range map[string]string{"stat": stat.String(), "environ": environ, "status": status} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if exe != "" {
		if err := os.Symlink(exe, filepath.Join(dir, "exe")); err != nil {
			t.Fatal(err)
		}
	}
}
