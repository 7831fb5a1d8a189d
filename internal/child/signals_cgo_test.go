//go:build cgo && linux

package child

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A signal that vobs sends to itself, as C's abort does, is not for the command. Only kill(2)
// of the whole process is taken for another's.
func TestOwnFaultSignal(t *testing.T) {
	// The handler that was there before, which a fault of our own reaches.
	before := make(chan os.Signal, 1)
	signal.Notify(before, syscall.SIGABRT)
	defer signal.Stop(before)
	to := make(chan received, 2)
	r, err := newReceiver(to)
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop()
	if r.catch([]syscall.Signal{syscall.SIGABRT}); len(r.caught) != 1 {
		t.Fatal("not caught")
	}
	if err := unix.Tgkill(unix.Getpid(), unix.Gettid(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-before
	if err := unix.Kill(unix.Getpid(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	if got := <-to; got != (received{syscall.SIGABRT, fromProcess}) {
		t.Errorf("by a process: %v", got)
	}
	r.flush()
	if len(to) != 0 || len(before) != 0 {
		t.Errorf("%d and %d more were received", len(to), len(before))
	}
}
