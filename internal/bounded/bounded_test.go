package bounded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vobs/vobs/internal/testkit"
)

// short is a limit that is over soon, long one that never is.
const (
	short = 20 * time.Millisecond
	long  = time.Minute
)

// blocking returns a function that returns 7 once it is released, and a count of its calls.
func blocking(t *testing.T) (f func() (int, error), release func(), calls *int) {
	t.Helper()
	calls = new(int)
	c := make(chan struct{})
	return func() (int, error) { *calls++; <-c; return 7, nil }, func() { close(c) }, calls
}

func TestCall(t *testing.T) {
	defer goleak.VerifyNone(t)
	if n, err := Call("x", long, func() (int, error) { return 3, nil }); n != 3 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	broken := errors.New("broken")
	if n, err := Call("x", long, func() (int, error) { return 4, broken }); n != 4 || err != broken {
		t.Errorf("got %d, %v", n, err)
	}
	_, err := Call("x", long, func() (int, error) { panic("bug") })
	var p *PanicError
	if !errors.As(err, &p) || !strings.Contains(err.Error(), "an error in vobs: bug") || !strings.Contains(string(p.Stack), "TestCall") {
		t.Errorf("a panic: %v", err)
	}
}

// A call that hangs is given up, and not repeated until it has returned.
func TestCallThatHangs(t *testing.T) {
	defer goleak.VerifyNone(t)
	f, release, calls := blocking(t)
	for range 3 {
		if n, err := Call("x", short, f); n != 0 || !errors.Is(err, ErrHangs) || !strings.HasPrefix(err.Error(), "x: no response") {
			t.Errorf("got %d, %v", n, err)
		}
	}
	if got := Hanging(); len(got) != 1 || got[0] != "x" {
		t.Errorf("hanging: %q", got)
	}
	if n, err := Call("y", long, func() (int, error) { return 3, nil }); n != 3 || err != nil {
		t.Errorf("another call: %d, %v", n, err)
	}
	release()
	testkit.Await(t, "nothing hangs any more", func() bool { return len(Hanging()) == 0 })
	if *calls != 1 {
		t.Errorf("%d calls", *calls)
	}
	if n, err := Call("x", long, f); n != 7 || err != nil {
		t.Errorf("after it returned: %d, %v", n, err)
	}
}

// A panic of a call that was given up is of no consequence.
func TestPanicAfterGivingUp(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := make(chan struct{})
	if _, err := Call("x", short, func() (int, error) { <-c; panic("bug") }); !errors.Is(err, ErrHangs) {
		t.Error(err)
	}
	close(c)
	testkit.Await(t, "nothing hangs any more", func() bool { return len(Hanging()) == 0 })
}

// The calls that hang are limited in number.
func TestMaxHanging(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := make(chan struct{})
	hang := func() (int, error) { <-c; return 0, nil }
	for i := range maxHanging {
		if _, err := Call(fmt.Sprint(i), short, hang); !errors.Is(err, ErrHangs) {
			t.Error(err)
		}
	}
	called := false
	if _, err := Call("one more", long, func() (int, error) { called = true; return 0, nil }); !errors.Is(err, ErrHangs) || called {
		t.Errorf("%v, called %v", err, called)
	}
	close(c)
	testkit.Await(t, "nothing hangs any more", func() bool { return len(Hanging()) == 0 })
	if _, err := Call("one more", long, func() (int, error) { return 0, nil }); err != nil {
		t.Error(err)
	}
}

func TestWait(t *testing.T) {
	c := make(chan struct{})
	if Wait(c, 0) || Wait(c, -time.Second) || Wait(c, short) {
		t.Error("nothing was closed")
	}
	close(c)
	if !Wait(c, 0) || !Wait(c, -time.Second) || !Wait(c, long) {
		t.Error("it was closed")
	}
}

func TestReadFile(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "x")
	if _, err := ReadFile(path, long); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := ReadFile(path, long); string(text) != "text" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := ReadFile(fifo, long); len(text) != 0 || err != nil {
		t.Errorf("a FIFO without a writer: %q, %v", text, err)
	}
	w, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := ReadFile(fifo, short); len(text) != 0 || !errors.Is(err, ErrHangs) {
		t.Errorf("a FIFO whose writer is silent: %q, %v", text, err)
	}
	w.Close()
	testkit.Await(t, "nothing hangs any more", func() bool { return len(Hanging()) == 0 })
}
