package child

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExitCodesAreMirrored(t *testing.T) {
	t.Parallel()
	for _, code := range []int{0, 7, 255} {
		s := startDriver(t, nil, nil, []string{"sh", "-c", fmt.Sprint("exit ", code)})
		ws, r := s.finish(t)
		if !ws.Exited() || ws.ExitStatus() != code {
			t.Errorf("exit %d: the driver ended with %#x", code, ws)
		}
		if r.Exit.Code != code || r.Exit.Signal != 0 || r.Exit.Interrupted || !r.NoChildren {
			t.Errorf("exit %d: report %+v", code, r)
		}
	}
}

func TestSignalsAreMirrored(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{
		syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGSEGV, syscall.SIGABRT,
		syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGXCPU,
	} {
		// The command ends by itself: vobs was not interrupted.
		dumping := []string{"sh", "-c", `ulimit -c unlimited; exec "$@"`, "sh"}
		s := startDriver(t, dumping, nil, []string{"sh", "-c", fmt.Sprintf("kill -%d $$", sig)})
		ws, r := s.finish(t)
		if !ws.Signaled() || ws.Signal() != sig {
			t.Errorf("%v: the driver ended with %#x; output:\n%s", sig, ws, s.out)
		}
		if ws.CoreDump() {
			t.Errorf("%v: the driver dumped core", sig)
		}
		if sig == syscall.SIGSEGV && !r.Exit.CoreDumped {
			t.Log("no core dump of the command (ulimit -c, core_pattern): nothing proved about the driver's")
		}
		if r.Exit.Signal != sig || r.Exit.Interrupted {
			t.Errorf("%v: report %+v", sig, r)
		}
		if text := s.out.String(); strings.Contains(text, "goroutine") {
			t.Errorf("%v: the driver printed:\n%s", sig, text)
		}
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	t.Parallel()
	for name, sig := range signalNames {
		s := startDriver(t, nil, []string{"-announce"}, []string{program("vobs-catch"), name})
		s.out.wait(t, `ready`)
		s.send(t, sig)
		s.out.wait(t, "got SIG"+name+" 1")
		s.send(t, sig)
		s.out.wait(t, "got SIG"+name+" 2")
		s.send(t, syscall.SIGUSR1)
		s.out.wait(t, "end "+name+`=2\.`)
		ws, r := s.finish(t)
		if ws.ExitStatus() != 42 {
			t.Errorf("%s: the driver ended with %#x", name, ws)
		}
		want := 0
		if slices.Contains(shutdownSignals, sig) {
			want = 1
		}
		if got := strings.Count(s.out.String(), "shutdown SIG"+name); got != want {
			t.Errorf("%s: BeforeShutdown was called %d times, want %d", name, got, want)
		}
		if r.Exit.Interrupted != (want == 1) {
			t.Errorf("%s: interrupted is %v", name, r.Exit.Interrupted)
		}
	}
}

func TestForwardNever(t *testing.T) {
	t.Parallel()
	s := startDriver(t, nil, []string{"-announce", "-never"}, []string{program("vobs-catch"), "TERM", "USR2"})
	pid := s.out.waitInt(t, `ready (\d+)`)
	s.send(t, syscall.SIGUSR2)
	s.send(t, syscall.SIGTERM)
	s.out.wait(t, "shutdown SIGTERM") // signals are handled one by one: USR2 is finished
	if err := syscall.Kill(pid, syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	s.out.wait(t, `end TERM=0 USR2=0\.`)
	if ws, r := s.finish(t); ws.ExitStatus() != 42 || !r.Exit.Interrupted {
		t.Errorf("the driver ended with %#x, %+v", ws, r)
	}
}

func TestTermEndsBoth(t *testing.T) {
	t.Parallel()
	// -hang: a BeforeShutdown that does not return must not delay the signal further.
	for _, options := range [][]string{nil, {"-hang"}} {
		s := startDriver(t, nil, options, []string{"sh", "-c", "echo ready; exec sleep 100"})
		s.out.wait(t, "ready")
		s.send(t, syscall.SIGTERM)
		ws, r := s.finish(t)
		if !ws.Signaled() || ws.Signal() != syscall.SIGTERM || r.Exit.Signal != syscall.SIGTERM || !r.Exit.Interrupted {
			t.Errorf("%v: the driver ended with %#x, %+v", options, ws, r)
		}
	}
}

func TestSignalAfterTheEndCancels(t *testing.T) {
	t.Parallel()
	for _, sig := range shutdownSignals {
		s := startDriver(t, nil, []string{"-settle", "-announce"}, []string{"sh", "-c", "exit 3"})
		s.out.wait(t, "settling")
		s.send(t, sig)
		s.out.wait(t, "cancelled")
		ws, r := s.finish(t)
		if !ws.Exited() || ws.ExitStatus() != 3 || r.Exit.Interrupted {
			t.Errorf("%v: the driver ended with %#x, %+v", sig, ws, r)
		}
		if strings.Contains(s.out.String(), "shutdown") {
			t.Errorf("%v: BeforeShutdown was called after the end", sig)
		}
	}
}

func TestIgnoredAtStart(t *testing.T) {
	t.Parallel()
	names := []string{"HUP", "INT"}
	if senderKnown {
		names = append(names, "QUIT", "TERM")
	}
	for _, name := range names {
		ignoring := []string{"sh", "-c", "trap '' " + name + `; exec "$@"`, "sh"}
		if name == "HUP" {
			ignoring = []string{"nohup"}
		}
		sig := signalNames[name]

		// If the command leaves it ignored, neither is interrupted.
		other := "USR2"
		s := startDriver(t, ignoring, []string{"-announce"}, []string{program("vobs-catch"), other})
		s.out.wait(t, "ready")
		s.out.wait(t, "driver")             // Start has returned: ignored signals are caught only after the command's start
		if name == "HUP" || name == "INT" { // Go itself un-ignores the others
			s.send(t, sig)
		}
		s.send(t, syscall.SIGUSR2)
		s.out.wait(t, "got SIGUSR2 1")
		s.send(t, syscall.SIGUSR1)
		if ws, r := s.finish(t); ws.ExitStatus() != 42 || r.Exit.Interrupted || strings.Contains(s.out.String(), "shutdown") {
			t.Errorf("%s ignored: the driver ended with %#x, %+v; output:\n%s", name, ws, r, s.out)
		}

		// A command that handles it gets it, as without vobs.
		s = startDriver(t, ignoring, []string{"-announce"}, []string{program("vobs-catch"), name})
		s.out.wait(t, "ready")
		s.out.wait(t, "driver")
		s.send(t, sig)
		s.out.wait(t, "got SIG"+name+" 1")
		s.send(t, syscall.SIGUSR1)
		if ws, r := s.finish(t); ws.ExitStatus() != 42 || !r.Exit.Interrupted {
			t.Errorf("%s handled: the driver ended with %#x, %+v", name, ws, r)
		}
	}
}

// rootMain becomes root in every respect, as sudo does, from a set-user-id file.
func rootMain() {
	if err := syscall.Setreuid(0, 0); err != nil {
		panic(err)
	}
	fmt.Println("ready", os.Getpid(), syscall.Getuid())
	<-time.After(2 * patience)
}

func TestForwardingWithoutPermission(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root, to run vobs as nobody over a command that belongs to root: run the tests with sudo")
	}
	// The user nobody must be able to execute a copy of the test binary.
	dir, err := os.MkdirTemp("", "vobs-perm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"vobs-driver": 0o755, "vobs-root": 0o755 | os.ModeSetuid} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(filepath.Join(dir, "vobs-driver"), "-announce", "--", filepath.Join(dir, "vobs-root"))
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := newOutput()
	go out.copyFrom(r)
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	pid := out.waitInt(t, `ready (\d+) 0`)
	send := func(sig syscall.Signal) {
		t.Helper()
		if err := unix.Kill(cmd.Process.Pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	send(syscall.SIGUSR1)
	out.wait(t, `vobs: warning: cannot forward SIGUSR1 to the command \(pid `+fmt.Sprint(pid)+`\): operation not permitted; .*\n`)
	send(syscall.SIGUSR2)
	send(syscall.SIGTERM)
	out.wait(t, "shutdown SIGTERM") // by now USR2 has been tried, without a second warning
	if err := unix.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
		t.Errorf("the driver ended with %#x", ws)
	}
	if n := strings.Count(out.String(), "warning"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, out)
	}
}

func TestParseForwardMode(t *testing.T) {
	for _, m := range []ForwardMode{ForwardAuto, ForwardNever} {
		if got, err := ParseForwardMode(m.String()); err != nil || got != m {
			t.Errorf("%v read back as %v, %v", m, got, err)
		}
	}
	if _, err := ParseForwardMode("Auto"); err == nil || !strings.Contains(err.Error(), "auto or never") {
		t.Errorf("Auto: %v", err)
	}
}

// A fault signal that another process sends to vobs is for the command, as are signals for
// real time: vobs ends as the command does, after its event.
func TestSentFaultSignals(t *testing.T) {
	t.Parallel()
	if !senderKnown {
		t.Skip("SKIPPED: without cgo, the sender of a signal is unknown, and faults are vobs's own: build with cgo")
	}
	for _, sig := range append(faultSignals(), platformSignals()...) {
		s := startDriver(t, nil, nil, []string{"sh", "-c", "ulimit -c 0; echo ready; exec sleep 100"})
		s.out.wait(t, "ready")
		s.send(t, sig)
		ws, r := s.finish(t)
		if !ws.Signaled() || ws.Signal() != sig || r.Exit.Signal != sig || r.Exit.Interrupted {
			t.Errorf("%v: the driver ended with %#x, %+v; output:\n%s", sig, ws, r, s.out)
		}
	}
}

// A timer that was set before vobs was executed ends it before its command starts, as it would
// have ended the command. So do signals that Go's runtime ignores.
func TestSignalBeforeStart(t *testing.T) {
	t.Parallel()
	if !senderKnown {
		t.Skip("SKIPPED: without cgo, Go's runtime ignores signals that are not asked for: build with cgo")
	}
	for _, sig := range []syscall.Signal{syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGQUIT, syscall.SIGTERM, syscall.Signal(40)} {
		s := startDriver(t, nil, []string{"-wait"}, []string{"echo", "started"})
		s.out.wait(t, "waiting")
		s.send(t, sig)
		hurry := time.AfterFunc(patience, func() { _ = s.Process.Kill() })
		_ = s.Wait()
		hurry.Stop()
		if ws := s.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != sig || strings.Contains(s.out.String(), "started") || strings.Contains(s.out.String(), "goroutine") {
			t.Errorf("%v: the driver ended with %#x; output:\n%s", sig, ws, s.out)
		}
	}
}
