package proc

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// watchExit watches a process. It skips the test if the kernel cannot do that.
func watchExit(t *testing.T, p Process) *ExitWatcher {
	t.Helper()
	w, err := WatchExit("/proc", p)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skipf("SKIPPED: pidfds need Linux 5.3 and a sandbox that allows them: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// processWithPID returns a running process.
func processWithPID(t *testing.T, pid int) Process {
	t.Helper()
	var buf [4096]byte
	s, err := readStat("/proc", pid, buf[:])
	if err != nil {
		t.Fatal(err)
	}
	return processOf(s)
}

// The end of a process that is not a child of ours is seen, and how it ended once its
// parent has waited for it.
func TestExitWatcher(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	tree := proctest.StartTree(t, "sh -c 'echo $$; exec sleep 1000' & read go <&3; kill -9 $!; wait $! 2>/dev/null; echo waited; read end <&3")
	defer tree.End()
	p := processWithPID(t, tree.PID(t))
	w := watchExit(t, p)
	if state := StateOf("/proc", p); state != Running {
		t.Errorf("state %d before the end", state)
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
		t.Fatalf("Wait returned before the process ended: %v", err)
	default:
	}
	fmt.Fprintln(tree.Stdin, "go")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if tree.Line(t) != "waited" {
		t.Fatal("the script is out of step")
	}
	if state := StateOf("/proc", p); state != Exited {
		t.Errorf("state %d after the end", state)
	}
	status, ok := w.Status()
	if !ok {
		t.Skip("SKIPPED: the exit status of a pidfd needs Linux 6.15")
	}
	if !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("status %#x, want killed by signal 9", status)
	}
}

func TestExitWatcherClose(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	w := watchExit(t, processWithPID(t, os.Getpid()))
	ended := make(chan error, 1)
	go func() {
		_, err := w.Wait()
		ended <- err
	}()
	w.Close()
	if err := <-ended; err == nil {
		t.Error("Wait for a living process returned no error after Close")
	}
}

// A pid that now belongs to another process is not watched.
func TestWatchExitReusedPID(t *testing.T) {
	p := processWithPID(t, os.Getpid())
	watchExit(t, p)
	p.StartTicks++
	if w, err := WatchExit("/proc", p); err == nil {
		w.Close()
		t.Error("WatchExit watches another process with the same pid")
	}
	if state := StateOf("/proc", p); state != Exited {
		t.Errorf("state %d, want Exited", state)
	}
}
