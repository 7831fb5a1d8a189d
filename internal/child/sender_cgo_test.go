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
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGABRT)
	defer signal.Stop(ch)
	if !watchSender(syscall.SIGABRT) {
		t.Fatal("cannot be watched")
	}
	defer unwatchSender(syscall.SIGABRT)
	if err := unix.Tgkill(unix.Getpid(), unix.Gettid(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-ch
	if from := senderOf(syscall.SIGABRT); from != alreadyHandled {
		t.Errorf("by a thread: %v", from)
	}
	if err := unix.Kill(unix.Getpid(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-ch
	if from := senderOf(syscall.SIGABRT); from != fromProcess {
		t.Errorf("by a process: %v", from)
	}
}
