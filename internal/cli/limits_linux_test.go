package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/threads"
)

func init() {
	programs["within"] = func() { os.Exit(withinMain(os.Args[1:])) }
	programs["fill"] = func() { os.Exit(fillMain(os.Args[1:])) }
}

// withinMain is `within LIMIT COMMAND...`: it becomes COMMAND under a limit, which is
// cgroup=DIRECTORY, nproc=N (from which root is exempt) or as=BYTES.
func withinMain(args []string) int {
	kind, value, _ := strings.Cut(args[0], "=")
	var err error
	n, _ := strconv.ParseUint(value, 10, 64)
	switch kind {
	case "cgroup":
		err = os.WriteFile(filepath.Join(value, "cgroup.procs"), []byte("0"), 0)
	case "nproc":
		err = unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: n, Max: n})
	case "as":
		err = unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: n, Max: n})
	}
	path, lookErr := exec.LookPath(args[1])
	if err = errors.Join(err, lookErr); err == nil {
		err = syscall.Exec(path, args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "within:", err)
	return 99
}

// fillMain is `fill DELAY HOLD [keep]`, a command that after a delay starts processes until a
// limit is reached, keeps it reached for a while, and exits with 7. With keep it leaves the
// processes behind.
func fillMain(args []string) int {
	threads.Reserve() // it needs its own, too
	delay, err1 := time.ParseDuration(args[0])
	hold, err2 := time.ParseDuration(args[1])
	if err := errors.Join(err1, err2); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	time.Sleep(delay)
	var pids []int
	var end time.Time
	for {
		pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "60"}, &syscall.ProcAttr{})
		if err == nil {
			pids = append(pids, pid)
			continue
		}
		if end.IsZero() {
			fmt.Printf("full after %d: %v\n", len(pids), err)
			end = time.Now().Add(hold)
		}
		if time.Now().After(end) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if len(args) == 2 {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return 7
}

// pidsCgroup makes a cgroup that allows so many processes and threads.
func pidsCgroup(t *testing.T, limit int) string {
	t.Helper()
	var errs []error
	for _, parent := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		dir, err := os.MkdirTemp(parent, "vobs-test-")
		if err == nil {
			t.Cleanup(func() {
				eventually(t, func() error { return os.Remove(dir) }) // busy while a process is ending
			})
			if err = os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(limit)), 0); err == nil {
				return dir
			}
		}
		errs = append(errs, err)
	}
	t.Skipf("SKIPPED: no cgroup with the pids controller can be made: run the test as root, where /sys/fs/cgroup is writable: %v", errors.Join(errs...))
	return ""
}

// A command uses up the limit on processes of its cgroup, at any moment and for any time. It
// ends as it would, and the event is whole.
func TestPidsLimit(t *testing.T) {
	t.Parallel()
	dir := pidsCgroup(t, 64)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range testkit.Scale(200, 20) {
		delay, hold := random.IntN(300), random.IntN(300)
		p := prepare(t, "within", "cgroup="+dir, "vobs", "run", "-o", "e.json", "--", "fill", fmt.Sprintf("%dms", delay), fmt.Sprintf("%dms", hold))
		if i%10 == 9 {
			p.Args = append(p.Args, "keep")
		}
		p.run(t)
		if t.Failed() {
			t.Fatalf("run %d of seed %d: %v", i, seed, p.Args)
		}
	}
}

// run runs vobs with the command fill.
func (p *process) run(t *testing.T) {
	t.Helper()
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	if got := p.finish(t); got != "7" || !strings.Contains(p.output.String(), "full after") {
		t.Errorf("vobs ended with %s; it said:\n%s", got, &p.output)
	}
	wantRun(t, p.event(t, "e.json"), "7", false)
	if left, err := filepath.Glob(filepath.Join(p.Dir, "*.partial")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL) // what fill has kept
}

// The same with the limit of a user (ulimit -u), which root is exempt from.
func TestUserLimit(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: processes of another user have to be counted: run the test as root")
	}
	dir, err := os.MkdirTemp("", "vobs-limited")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	user := 50000 + os.Getpid()%10000
	bin, work := filepath.Join(dir, "bin"), filepath.Join(dir, "work")
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(bin, 0o755), os.Mkdir(work, 0o755), os.Chown(work, user, user))
	for _, name := range []string{"within", "vobs", "fill"} {
		err = errors.Join(err, copyProgram(filepath.Join(bin, name), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		// The kernel counts a process for a moment after its end.
		eventually(t, func() error { return noProcessOf(user) })
		p := prepare(t, filepath.Join(bin, "within"), "nproc=60", filepath.Join(bin, "vobs"), "run", "-o", "e.json", "--", filepath.Join(bin, "fill"), "50ms", "200ms")
		p.Dir = work
		p.Env = append(p.Env, "LD_LIBRARY_PATH=")
		p.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}
		p.run(t)
	}
}

// noProcessOf returns an error if a user has processes.
func noProcessOf(user int) error {
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		var st unix.Stat_t
		if _, notPID := strconv.Atoi(e.Name()); notPID == nil && unix.Stat("/proc/"+e.Name(), &st) == nil && int(st.Uid) == user {
			return fmt.Errorf("process %s", e.Name())
		}
	}
	return err
}

// Little address space (ulimit -v): the runtime itself reserves 1.2 GiB.
func TestAddressSpaceLimit(t *testing.T) {
	t.Parallel()
	if testkit.RaceEnabled {
		t.Skip("SKIPPED: the race detector reserves more")
	}
	p := prepare(t, "within", fmt.Sprintf("as=%d", 13<<30/10), "vobs", "run", "-o", "e.json", "--", "sh", "-c", "exit 7")
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	if got := p.finish(t); got != "7" {
		t.Errorf("vobs ended with %s; it said:\n%s", got, &p.output)
	}
	wantRun(t, p.event(t, "e.json"), "7", false)
}

// Too few threads before the start are an error that says what to do.
func TestNoThreadsAtStart(t *testing.T) {
	t.Parallel()
	if !cgo {
		t.Skip("SKIPPED: without cgo the Go runtime's own message appears")
	}
	p := prepare(t, "within", "cgroup="+pidsCgroup(t, 10), "vobs", "run", "-o", "e.json", "--", "touch", "started")
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	if got := p.finish(t); got != "125" || !strings.Contains(p.output.String(), "vobs: error: cannot create the threads that a run needs: the limit on processes") {
		t.Errorf("vobs ended with %s; it said:\n%s", got, &p.output)
	}
	if _, err := os.Stat(filepath.Join(p.Dir, "started")); err == nil {
		t.Error("the command was started")
	}
}
