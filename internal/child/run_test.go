package child

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The tests in this file run commands in the test process. They cannot be parallel: a
// process observes one command, and its wait loop would reap the children of os/exec.

func start(t *testing.T, s Spec) *Command {
	t.Helper()
	if s.Warn == nil {
		s.Warn = func(msg string) { t.Errorf("warning: %s", msg) }
	}
	c, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// end waits for the command and all of its descendants.
func end(t *testing.T, c *Command) Exit {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the command does not end")
	}
	if !c.WaitNoChildren(patience) {
		t.Fatal("children are left")
	}
	c.Close()
	return c.Exit()
}

func TestQuickCommandsKeepTheirCodes(t *testing.T) {
	defer goleak.VerifyNone(t)
	for i := range 200 {
		before := time.Now()
		c := start(t, Spec{Args: []string{"sh", "-c", fmt.Sprintf("exit %d", i%256)}})
		if e := end(t, c); e.Code != i%256 || e.Signal != 0 || e.Interrupted || e.Ended.Before(before) {
			t.Fatalf("run %d: %+v", i, e)
		}
	}
}

func TestOrphansAreReaped(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux has a subreaper")
	}
	defer goleak.VerifyNone(t)
	for i := range 20 {
		// Orphans before, during and after the command's end.
		c := start(t, Spec{Args: []string{"sh", "-c",
			`for i in 1 2 3 4 5; do (setsid true & setsid sh -c 'sleep 0.02 & exit 9' &) ; done; exit ` + fmt.Sprint(i)}})
		if e := end(t, c); e.Code != i {
			t.Fatalf("run %d: %+v", i, e)
		}
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
			t.Fatalf("a child is left: %d, %v", pid, err)
		}
	}
}

func TestOrphansAreCounted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux has a subreaper")
	}
	defer goleak.VerifyNone(t)
	const burn = 200 * time.Millisecond
	c := start(t, Spec{Args: []string{"sh", "-c", "setsid " + program("vobs-burn") + " 200ms & exit 4"}})
	<-c.Done()
	if c.CPUTime() >= burn {
		t.Logf("the orphan ended first: no proof that its time came later (%v)", c.CPUTime())
	}
	if e := end(t, c); e.Code != 4 {
		t.Errorf("%+v", e)
	}
	if got := c.CPUTime(); got < burn || got > 100*burn {
		t.Errorf("CPU time %v, the orphan alone used %v", got, burn)
	}
}

func TestWaitedChildrenAreCounted(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := start(t, Spec{Args: []string{"sh", "-c", program("vobs-burn") + " 100ms; exit 0"}})
	end(t, c)
	if got := c.CPUTime(); got < 100*time.Millisecond || got > 10*time.Second {
		t.Errorf("CPU time %v, the command's child alone used 100ms", got)
	}
}

func TestWaitForLeftoversIsBounded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux has a subreaper")
	}
	defer goleak.VerifyNone(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := start(t, Spec{Args: []string{"sh", "-c", "sleep 100 & echo $!; exit 0"}, Stdout: w})
	w.Close()
	<-c.Done()
	if c.WaitNoChildren(20 * time.Millisecond) {
		t.Error("no children, but sleep runs")
	}
	if _, err := Start(Spec{Args: []string{"true"}}); err == nil || !strings.Contains(err.Error(), "still being waited for") {
		t.Errorf("a second command while the first runs: %v", err)
	}
	var left int
	if _, err := fmt.Fscan(r, &left); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(left, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := end(t, c); e.Code != 0 || e.Signal != 0 {
		t.Errorf("%+v", e)
	}
}

func TestNoArguments(t *testing.T) {
	if _, err := Start(Spec{}); err == nil || !strings.Contains(err.Error(), "no command") {
		t.Errorf("%v", err)
	}
}

func TestStartErrors(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("plain/tool", "#!/bin/sh\nexit 0\n", 0o644)
	write("good/tool", "#!/bin/sh\nexit 21\n", 0o755)
	write("good/dir/inner", "", 0o644)
	write("bare/tool", "exit 22\n", 0o755)
	write("elf/tool", "\x7fELF but no more", 0o755)
	write("lost/tool", "#! /no/such/interpreter -x\nexit 23\n", 0o755)
	write("crlf/tool", "#!/bin/sh\r\nexit 24\r\n", 0o755)
	write("here", "#!/bin/sh\nexit 25\n", 0o755)
	file := "good/tool/below"

	for _, c := range []struct {
		name  string
		arg   string
		path  string // PATH; "-" for none
		code  int    // of the StartError, or of the command where errno is 0
		errno syscall.Errno
		say   string
	}{
		{"not found", "no-such-tool", "good:plain", 127, syscall.ENOENT, "not found in PATH"},
		{"no such path", "./no/tool", "good", 127, syscall.ENOENT, "check the path"},
		{"empty", "", "good:", 127, syscall.ENOENT, "empty"},
		{"a line as one word", "tool --help", "good", 127, syscall.ENOENT, "did you mean sh -c 'tool --help'?"},
		{"a line with quotes", "./tool 'a b'", "good", 127, syscall.ENOENT, `did you mean sh -c './tool '\''a b'\'''?`},
		{"here, not in PATH", "here", "good", 127, syscall.ENOENT, "write ./here"},
		{"no PATH", "tool", "-", 127, syscall.ENOENT, "PATH is not set"},
		{"interpreter missing", "lost/tool", "good", 127, syscall.ENOENT, `interpreter "/no/such/interpreter"`},
		{"interpreter missing, in PATH", "tool", "lost", 127, syscall.ENOENT, `interpreter "/no/such/interpreter"`},
		{"CRLF", "crlf/tool", "good", 127, syscall.ENOENT, "Windows line endings"},
		{"not executable", "plain/tool", "good", 126, syscall.EACCES, "chmod +x"},
		{"not executable, in PATH", "tool", "nowhere:plain", 126, syscall.EACCES, "(plain/tool)"},
		{"a directory", "./good", "good", 126, syscall.EACCES, "directory"},
		{"a directory, in PATH", "dir", "good", 126, syscall.EACCES, "directory"},
		{"no first line", "bare/tool", "good", 126, syscall.ENOEXEC, "#!/bin/sh"},
		{"no first line, in PATH", "tool", "bare:good", 126, syscall.ENOEXEC, "#!/bin/sh"},
		{"a broken program", "elf/tool", "good", 126, syscall.ENOEXEC, "another kind of machine"},
		{"below a file", file, "good", 126, syscall.ENOTDIR, "not a directory"},

		{"found", "tool", "nowhere:good", 21, 0, ""},
		{"found after a plain file", "tool", "plain:good", 21, 0, ""},
		{"found after a lost interpreter", "tool", "lost:good", 21, 0, ""},
		{"found by an empty entry", "here", "nowhere::good", 25, 0, ""},
		{"found by a last empty entry", "here", "nowhere:", 25, 0, ""},
		{"found by an empty PATH", "here", "", 25, 0, ""},
		{"found by a path", "./here", "-", 25, 0, ""},
	} {
		env := []string{"LANG=C"}
		if c.path != "-" {
			env = append(env, "PATH="+c.path)
		}
		cmd, err := Start(Spec{Args: []string{c.arg, "x"}, Env: env})
		if c.errno == 0 {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if e := end(t, cmd); e.Code != c.code {
				t.Errorf("%s: %+v, want code %d", c.name, e, c.code)
			}
			continue
		}
		var se *StartError
		if !errors.As(err, &se) {
			if err == nil {
				end(t, cmd)
			}
			t.Errorf("%s: no StartError but %v", c.name, err)
			continue
		}
		if se.Code != c.code || !errors.Is(err, c.errno) || !strings.Contains(err.Error(), c.say) ||
			!strings.HasPrefix(err.Error(), "cannot run ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: code %d, want %d: %v", c.name, se.Code, c.code, err)
		}
	}
	if _, err := Start(Spec{Args: []string{"true", strings.Repeat("x", 4<<20)}}); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("4 MiB as one argument: %v", err)
	}
}
