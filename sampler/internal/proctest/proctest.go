// Package proctest provides fixtures for tests of the process readers: a directory
// laid out like /proc, and real process trees run by a shell.
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

// Proc is a directory laid out like /proc.
type Proc struct {
	T       testing.TB
	Root    string // path of the directory
	LastPID int    // the most recently assigned pid, as in loadavg
}

// New returns an empty Proc in a temporary directory.
func New(t testing.TB) *Proc {
	return &Proc{T: t, Root: t.TempDir()}
}

// Write writes a file below the root, with its directories.
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

// Link creates a symbolic link below the root, with its directories.
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

// Stat is the status of a process.
type Stat struct {
	PPID    int
	Comm    string
	State   string // "" means S
	Start   int    // start time in clock ticks; 0 means the pid
	Flags   int    // 0 means 4194304
	Pages   int    // resident
	Threads int    // 0 means 1
	CPU     [4]int // clock ticks: user, system, and the same of waited-for children
}

// Put adds a process or changes it.
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
		pid, s.Comm, s.State, s.PPID, s.Flags, s.CPU[0], s.CPU[1], s.CPU[2], s.CPU[3], s.Threads, s.Start, s.Pages))
	f.Write(fmt.Sprintf("%d/statm", pid), fmt.Sprintf("765 %d 396 5 0 123 0\n", s.Pages))
	f.SetLastPID(max(f.LastPID, pid))
}

// SetLastPID sets the most recently assigned pid.
func (f *Proc) SetLastPID(pid int) {
	f.T.Helper()
	f.LastPID = pid
	f.Write("loadavg", fmt.Sprintf("0.52 0.58 0.59 2/107 %d\n", pid))
}

// Remove removes a process.
func (f *Proc) Remove(pid int) {
	f.T.Helper()
	if err := os.RemoveAll(filepath.Join(f.Root, strconv.Itoa(pid))); err != nil {
		f.T.Fatal(err)
	}
}

// NeedProc skips a test that needs the running kernel's /proc.
func NeedProc(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs a Linux kernel's /proc: run the tests on Linux")
	}
}

// Tree is a shell script that runs as a child of the test and ends when its standard
// input does.
type Tree struct {
	Cmd   *exec.Cmd
	Stdin io.WriteCloser
	out   *bufio.Reader
}

// StartTree starts a script. In it, descriptor 3 is the standard input, for background
// commands, whose own standard input is /dev/null.
func StartTree(t testing.TB, script string) *Tree {
	t.Helper()
	return StartTreeWith(t, "exec 3<&0\n"+script)
}

// StartTreeWith starts a script that inherits files as descriptors 3 and up. Its
// standard input is not duplicated.
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

// Line reads one line of the script's output and returns it without surrounding space.
func (r *Tree) Line(t testing.TB) string {
	t.Helper()
	text, err := r.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the script wrote no line: %v", err)
	}
	return strings.TrimSpace(text)
}

// PID reads one line that holds a pid.
func (r *Tree) PID(t testing.TB) int {
	t.Helper()
	pid, err := strconv.Atoi(r.Line(t))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// VobsPID is the pid of vobs in the fixture of [VLLM].
const VobsPID = 100

// VLLM returns a host with a vLLM server below vobs, like the one recorded in
// testdata/expositions/serve_dp2_*.prom, and unrelated processes.
func VLLM(t testing.TB) *Proc {
	f := New(t)
	f.Put(1, Stat{Comm: "systemd"})
	f.Put(2, Stat{Comm: "kthreadd"})
	f.Put(50, Stat{PPID: 1, Comm: "bash"})
	f.Put(VobsPID, Stat{PPID: 50, Comm: "vobs", Pages: 1000})
	f.Put(101, Stat{PPID: VobsPID, Comm: "vllm", Pages: 10})
	f.Put(102, Stat{PPID: 101, Comm: "python", Pages: 20})
	f.Put(103, Stat{PPID: 101, Comm: "VLLM::EngineCor", Pages: 300})
	f.Put(104, Stat{PPID: 103, Comm: "VLLM::Worker) (1", Pages: 4000})
	f.Put(60, Stat{PPID: 50, Comm: "vim"})
	return f
}

// StartTen starts a real tree of ten processes: a shell and nine children.
func StartTen(b *testing.B) *Tree {
	sh := StartTree(b, `for i in 1 2 3 4 5 6 7 8 9; do cat <&3 & done; echo ready; wait`)
	sh.Line(b)
	return sh
}
