//go:build linux && cgo

package threads

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A thread beyond those of Reserve, which none of vobs's code should need, is waited for while a
// limit is reached.
func TestThreadBeyondReserve(t *testing.T) {
	if dir := os.Getenv("VOBS_TEST_CGROUP"); dir != "" {
		exceedReserve(t, dir)
		return
	}
	dir := fmt.Sprintf("/sys/fs/cgroup/pids/vobs-test-threads-%d", os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		dir = strings.Replace(dir, "/pids/", "/", 1)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("SKIPPED: no cgroup can be made: run the test as root, where /sys/fs/cgroup is writable: %v", err)
		}
	}
	defer os.Remove(dir)
	limit := filepath.Join(dir, "pids.max")
	if err := os.WriteFile(limit, fmt.Append(nil, Max), 0); err != nil {
		t.Skipf("SKIPPED: the cgroup has no pids controller: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestThreadBeyondReserve$", "-test.v")
	cmd.Env = append(os.Environ(), "VOBS_TEST_CGROUP="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "limited" {
	}
	// Only the C library's nanosleep makes this system call, not that of the runtime. A thread that
	// waits is between two of them now and then.
	seen := false
	for deadline := time.Now().Add(time.Minute); !seen && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		seen = waiting(cmd.Process.Pid, unix.SYS_CLOCK_NANOSLEEP, "") > 0
	}
	if !seen {
		t.Error("no thread waits for another one")
	}
	if err := os.WriteFile(limit, []byte("max"), 0); err != nil {
		t.Error(err)
	}
	rest, err := io.ReadAll(out) // what the scanner has not taken
	if err = errors.Join(err, cmd.Wait()); err != nil {
		t.Errorf("%v\n%s", err, rest)
	}
}

func exceedReserve(t *testing.T, cgroup string) {
	Reserve()
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	fmt.Println("limited")
	blockThreads(t, blocking+1)()
}
