package threads

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func tasks(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// After Reserve, as many goroutines as the table in the package comment lists can block in the
// kernel without a new thread, and Go code still runs.
func TestReserve(t *testing.T) {
	if os.Getenv("VOBS_TEST_RESERVE") == "" { // it changes the process for good
		cmd := exec.Command(os.Args[0], "-test.run=^TestReserve$", "-test.v")
		cmd.Env = append(os.Environ(), "VOBS_TEST_RESERVE=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestReserve") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	Reserve()
	before := tasks(t)
	if before != Max {
		t.Errorf("%d threads, want %d", before, Max)
	}
	if runtime.GOMAXPROCS(0) != 1 {
		t.Errorf("GOMAXPROCS is %d", runtime.GOMAXPROCS(0))
	}
	// All but the one that runs, the one that waits for the network, and the one to be parked.
	const n = blocking - 3
	release := blockThreads(t, n)
	if after := tasks(t); after != before {
		t.Errorf("%d threads, and %d while %d of them block", before, after, n)
	}
	release()
	if after := tasks(t); after != before {
		t.Errorf("%d threads, and %d in the end", before, after)
	}
}

// blockThreads blocks n threads until release is called, which waits for them to go on.
func blockThreads(t *testing.T, n int) (release func()) {
	t.Helper()
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	returned := make(chan error, n)
	for range n {
		go func() {
			_, err := syscall.Read(pipe[0], make([]byte, 1)) // it blocks: the pipe is empty
			returned <- err
		}()
	}
	deadline := time.Now().Add(time.Minute)
	got := blocked(t, pipe[0])
	for ; got < n && time.Now().Before(deadline); got = blocked(t, pipe[0]) {
		time.Sleep(time.Millisecond)
	}
	if got != n {
		t.Errorf("%d threads read the pipe, want %d", got, n)
	}
	return func() {
		t.Helper()
		if _, err := syscall.Write(pipe[1], make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := <-returned; err != nil {
				t.Error(err)
			}
		}
	}
}

// blocked returns the number of threads that read from a descriptor.
func blocked(t *testing.T, fd int) int {
	t.Helper()
	if _, err := os.ReadFile("/proc/self/syscall"); err != nil {
		t.Skipf("SKIPPED: the system calls of threads cannot be read: %v", err)
	}
	return waiting(os.Getpid(), syscall.SYS_READ, fmt.Sprintf("%#x ", fd))
}

// waiting returns the number of a process's threads that wait in a system call whose arguments
// begin with a text (proc_pid_syscall(5)).
func waiting(pid, call int, arguments string) (n int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err == nil && strings.HasPrefix(string(text), fmt.Sprintf("%d %s", call, arguments)) {
			n++
		}
	}
	return n
}

// No more than MaxBlocked calls are between Enter and Leave.
func TestEnter(t *testing.T) {
	for range MaxBlocked {
		Enter()
	}
	if EnterWithin(time.Millisecond) {
		t.Error("one too many")
	}
	entered := make(chan bool)
	go func() { entered <- EnterWithin(time.Minute) }()
	Leave()
	if !<-entered {
		t.Error("none may enter after one has left")
	}
	for range MaxBlocked {
		Leave()
	}
}
