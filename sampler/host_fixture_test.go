package sampler

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fakeProc is a fixture tree in the shape of /proc.
type fakeProc struct {
	t    testing.TB
	root string
	last int
}

func newFakeProc(t testing.TB) *fakeProc {
	return &fakeProc{t: t, root: t.TempDir()}
}

// write puts a file below the root.
func (f *fakeProc) write(name, content string) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeProc) link(name, target string) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		f.t.Fatal(err)
	}
}

// fakeStat is what a process's status says.
type fakeStat struct {
	ppid    int
	comm    string
	state   string // "" is S
	start   int    // 0: the pid
	flags   int    // 0: 4194304
	pages   int
	threads int // 0: 1
	cpu     [4]int
}

// put makes a process, or changes it.
func (f *fakeProc) put(pid int, s fakeStat) {
	f.t.Helper()
	if s.state == "" {
		s.state = "S"
	}
	if s.start == 0 {
		s.start = pid
	}
	s.threads = max(s.threads, 1)
	if s.flags == 0 {
		s.flags = 4194304
	}
	f.write(fmt.Sprintf("%d/stat", pid), fmt.Sprintf(
		"%d (%s) %s %d 1 1 0 -1 %d 98 0 0 0 %d %d %d %d 20 0 %d 0 %d 3133440 %d 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		pid, s.comm, s.state, s.ppid, s.flags, s.cpu[0], s.cpu[1], s.cpu[2], s.cpu[3], s.threads, s.start, s.pages))
	f.write(fmt.Sprintf("%d/statm", pid), fmt.Sprintf("765 %d 396 5 0 123 0\n", s.pages))
	f.last = max(f.last, pid)
	f.setLast(f.last)
}

// setLast sets the id last handed out.
func (f *fakeProc) setLast(pid int) {
	f.t.Helper()
	f.last = pid
	f.write("loadavg", fmt.Sprintf("0.52 0.58 0.59 2/107 %d\n", pid))
}

func (f *fakeProc) remove(pid int) {
	f.t.Helper()
	if err := os.RemoveAll(filepath.Join(f.root, strconv.Itoa(pid))); err != nil {
		f.t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("after 20 s still not: %s", what)
		case <-tick.C:
		}
	}
}

// needProc skips a test that compares with the running kernel.
func needProc(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs a Linux kernel's /proc: run the tests on Linux")
	}
}

// realTree is a shell script that runs as a child of the test, and that ends when
// its standard input does.
type realTree struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// startTree runs a script. In it, descriptor 3 is the standard input for
// background commands (a shell gives these /dev/null).
func startTree(t testing.TB, script string) *realTree {
	t.Helper()
	return startTreeWith(t, "exec 3<&0\n"+script)
}

// startTreeWith is startTree with files to inherit, from descriptor 3 on.
func startTreeWith(t testing.TB, script string, files ...*os.File) *realTree {
	t.Helper()
	needProc(t)
	cmd := exec.Command("sh", "-c", script)
	cmd.ExtraFiles = files
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &realTree{cmd: cmd, stdin: stdin, out: bufio.NewReader(stdout)}
	t.Cleanup(r.end)
	return r
}

// end closes the script's input and waits for it; a second call does nothing.
func (r *realTree) end() {
	r.stdin.Close()
	r.cmd.Wait()
}

// line reads one line of the script's output.
func (r *realTree) line(t testing.TB) string {
	t.Helper()
	text, err := r.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the script wrote no line: %v", err)
	}
	return strings.TrimSpace(text)
}

// pid reads one line with a process id.
func (r *realTree) pid(t testing.TB) int {
	t.Helper()
	pid, err := strconv.Atoi(r.line(t))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
