package proc

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
)

// A goroutine that hangs in a file of a tree does not keep others from their results: they
// fail, and PIDs still has what was found.
func TestTreeHangs(t *testing.T) {
	f := proctest.VLLM(t)
	tree := NewTree(f.Root, proctest.VobsPID)
	mustDiscover(t, tree)
	began, release := proctest.Hang(t, "/loadavg")
	hung := make(chan error, 1)
	go func() { hung <- tree.Discover() }()
	<-began
	wantPIDs(t, tree, 101, 102, 103, 104)
	if _, err := tree.Refresh(); !errors.Is(err, bounded.ErrHangs) || !strings.Contains(err.Error(), f.Root) {
		t.Errorf("Refresh: %v", err)
	}
	if !tree.Hangs() {
		t.Error("Hangs is false")
	}
	// From now on it is known.
	began2 := time.Now()
	_, listErr := tree.Processes()
	_, timeErr := tree.CPUTime()
	for _, err := range []error{listErr, timeErr, tree.Discover()} {
		if !errors.Is(err, bounded.ErrHangs) {
			t.Error(err)
		}
	}
	if tree.Descends(101) || tree.MemberRSS(Process{PID: 101, StartTicks: 101}) != nil {
		t.Error("a process was read")
	}
	tree.Close()
	if took := time.Since(began2); took > testkit.Patience/2 {
		t.Errorf("six calls took %v", took)
	}
	release()
	if err := <-hung; err != nil {
		t.Error(err)
	}
	if tree.Hangs() {
		t.Error("Hangs is true")
	}
	if got := mustList(t, tree); len(got) != 4 {
		t.Errorf("afterwards: %v", got)
	}
	tree.Close()
}

// One that takes turns with others is waited for, however long that takes in all.
func TestGateTurns(t *testing.T) {
	g := newGate()
	if g.hangs() {
		t.Error("nobody is inside")
	}
	done := make(chan error)
	for range 20 {
		go func() {
			err := g.enter()
			if err == nil {
				time.Sleep(5 * time.Millisecond)
				g.leave()
			}
			done <- err
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A FIFO in place of a file does not block.
func TestFIFOs(t *testing.T) {
	f := proctest.New(t)
	for _, name := range []string{"loadavg", "fd", "5"} {
		if err := syscall.Mkfifo(f.Root+"/"+name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := ReadFile(f.Root+"/loadavg", MaxSmallFile); err != nil || len(data) > 0 {
		t.Errorf("read %q, %v", data, err)
	}
	if n, err := readOnce(f.Root+"/loadavg", make([]byte, 100)); err != nil || n > 0 {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if names, err := listNames(f.Root + "/fd"); err == nil {
		t.Errorf("listed %q", names)
	}
	if pids, err := listPIDs(f.Root+"/5", nil); err == nil {
		t.Errorf("listed %v", pids)
	}
	w, err := syscall.Open(f.Root+"/loadavg", syscall.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(w)
	if data, err := ReadFile(f.Root+"/loadavg", MaxSmallFile); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("with a silent writer: read %q, %v", data, err)
	}
}
