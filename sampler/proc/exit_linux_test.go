package proc

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/vobs/vobs/sampler/internal/proctest"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// watched begins to watch a process, or skips where the kernel cannot.
func watched(t *testing.T, p Process) *ExitWatcher {
	t.Helper()
	w, err := WatchExit("/proc", p)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skipf("SKIPPED: this kernel has no pidfds, or a sandbox refuses them (Linux 5.3 has them): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func self(t *testing.T, pid int) Process {
	t.Helper()
	var buf [4096]byte
	s, err := readStat("/proc", pid, buf[:])
	if err != nil {
		t.Fatal(err)
	}
	return processOf(s)
}

// A process that is no child of ours: its end is seen, and how it ended once its
// parent has waited for it.
func TestWatchEnd(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	tree := proctest.StartTree(t, "sh -c 'echo $$; exec sleep 1000' & read go <&3; kill -9 $!; wait $! 2>/dev/null; echo waited; read end <&3")
	defer tree.End()
	p := self(t, tree.PID(t))
	w := watched(t, p)
	if fate := StateOf("/proc", p); fate != Running {
		t.Errorf("fate %d before the end", fate)
	}
	if status, ok := w.Status(); ok {
		t.Errorf("status %v before the end", status)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := w.Wait()
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("the wait ended before the process: %v", err)
	default:
	}
	fmt.Fprintln(tree.Stdin, "go")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if tree.Line(t) != "waited" {
		t.Fatal("the script is out of step")
	}
	if fate := StateOf("/proc", p); fate != Exited {
		t.Errorf("fate %d after the end", fate)
	}
	status, ok := w.Status()
	if !ok {
		t.Skip("SKIPPED: how it ended is told by pidfds from Linux 6.15 on")
	}
	if !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("status %#x, want killed by 9", status)
	}
}

func TestWatchEndClosed(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	w := watched(t, self(t, os.Getpid()))
	ended := make(chan error, 1)
	go func() {
		_, err := w.Wait()
		ended <- err
	}()
	w.Close()
	if err := <-ended; err == nil {
		t.Error("the wait for a living process ended without an error")
	}
}

// An id that is another process's by now is not watched.
func TestWatchEndReused(t *testing.T) {
	p := self(t, os.Getpid())
	watched(t, p)
	p.StartTicks++
	if w, err := WatchExit("/proc", p); err == nil {
		w.Close()
		t.Error("another process of the same id is watched")
	}
	if fate := StateOf("/proc", p); fate != Exited {
		t.Errorf("fate %d, want gone", fate)
	}
}
