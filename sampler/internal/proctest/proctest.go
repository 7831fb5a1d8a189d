// Package proctest provides fixtures for tests of the process readers: a directory
// tree in the shape of /proc, and real process trees run by a shell.
package proctest

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
)

// Proc is a fixture tree in the shape of /proc.
type Proc struct {
	T    testing.TB
	Root string
	Last int
}

func New(t testing.TB) *Proc {
	return &Proc{T: t, Root: t.TempDir()}
}

// Write puts a file below the root.
func (f *Proc) Write(name, content string) {
	f.T.Helper()
	path := filepath.Join(f.Root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.T.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		f.T.Fatal(err)
	}
}

func (f *Proc) Link(name, target string) {
	f.T.Helper()
	path := filepath.Join(f.Root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.T.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		f.T.Fatal(err)
	}
}

// Stat is what a process's status says.
type Stat struct {
	Ppid    int
	Comm    string
	State   string // "" is S
	Start   int    // 0: the pid
	Flags   int    // 0: 4194304
	Pages   int
	Threads int // 0: 1
	CPU     [4]int
}

// Put makes a process, or changes it.
func (f *Proc) Put(pid int, s Stat) {
	f.T.Helper()
	if s.State == "" {
		s.State = "S"
	}
	if s.Start == 0 {
		s.Start = pid
	}
	s.Threads = max(s.Threads, 1)
	if s.Flags == 0 {
		s.Flags = 4194304
	}
	f.Write(fmt.Sprintf("%d/stat", pid), fmt.Sprintf(
		"%d (%s) %s %d 1 1 0 -1 %d 98 0 0 0 %d %d %d %d 20 0 %d 0 %d 3133440 %d 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		pid, s.Comm, s.State, s.Ppid, s.Flags, s.CPU[0], s.CPU[1], s.CPU[2], s.CPU[3], s.Threads, s.Start, s.Pages))
	f.Write(fmt.Sprintf("%d/statm", pid), fmt.Sprintf("765 %d 396 5 0 123 0\n", s.Pages))
	f.Last = max(f.Last, pid)
	f.SetLast(f.Last)
}

// SetLast sets the id last handed out.
func (f *Proc) SetLast(pid int) {
	f.T.Helper()
	f.Last = pid
	f.Write("loadavg", fmt.Sprintf("0.52 0.58 0.59 2/107 %d\n", pid))
}

func (f *Proc) Remove(pid int) {
	f.T.Helper()
	if err := os.RemoveAll(filepath.Join(f.Root, strconv.Itoa(pid))); err != nil {
		f.T.Fatal(err)
	}
}

// NeedProc skips a test that compares with the running kernel.
func NeedProc(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs a Linux kernel's /proc: run the tests on Linux")
	}
}

// Tree is a shell script that runs as a child of the test, and that ends when
// its standard input does.
type Tree struct {
	Cmd   *exec.Cmd
	Stdin io.WriteCloser
	out   *bufio.Reader
}

// StartTree runs a script. In it, descriptor 3 is the standard input for
// background commands (a shell gives these /dev/null).
func StartTree(t testing.TB, script string) *Tree {
	t.Helper()
	return StartTreeWith(t, "exec 3<&0\n"+script)
}

// StartTreeWith is StartTree with files to inherit, from descriptor 3 on.
func StartTreeWith(t testing.TB, script string, files ...*os.File) *Tree {
	t.Helper()
	NeedProc(t)
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
	r := &Tree{Cmd: cmd, Stdin: stdin, out: bufio.NewReader(stdout)}
	t.Cleanup(r.End)
	return r
}

// End closes the script's input and waits for it; a second call does nothing.
func (r *Tree) End() {
	r.Stdin.Close()
	r.Cmd.Wait()
}

// Line reads one line of the script's output.
func (r *Tree) Line(t testing.TB) string {
	t.Helper()
	text, err := r.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the script wrote no line: %v", err)
	}
	return strings.TrimSpace(text)
}

// PID reads one line with a process id.
func (r *Tree) PID(t testing.TB) int {
	t.Helper()
	pid, err := strconv.Atoi(r.Line(t))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// VobsPID is the process id of vobs in the fixture of [VLLM].
const VobsPID = 100

// VLLM is a host with a vLLM server below vobs, in the shape of
// recordings/serve_dp2, and processes of others.
func VLLM(t testing.TB) *Proc {
	f := New(t)
	f.Put(1, Stat{Comm: "systemd"})
	f.Put(2, Stat{Comm: "kthreadd"})
	f.Put(50, Stat{Ppid: 1, Comm: "bash"})
	f.Put(VobsPID, Stat{Ppid: 50, Comm: "vobs", Pages: 1000})
	f.Put(101, Stat{Ppid: VobsPID, Comm: "vllm", Pages: 10})
	f.Put(102, Stat{Ppid: 101, Comm: "python", Pages: 20})
	f.Put(103, Stat{Ppid: 101, Comm: "VLLM::EngineCor", Pages: 300})
	f.Put(104, Stat{Ppid: 103, Comm: "VLLM::Worker) (1", Pages: 4000})
	f.Put(60, Stat{Ppid: 50, Comm: "vim"})
	return f
}

// StartTen is a real tree of ten processes below one shell.
func StartTen(b *testing.B) *Tree {
	sh := StartTree(b, `for i in 1 2 3 4 5 6 7 8 9; do cat <&3 & done; echo ready; wait`)
	sh.Line(b)
	return sh
}
