package observe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

// patience bounds waits that take milliseconds on an idle machine.
const patience = 60 * time.Second

// simulatedServer is a shell with descendants that carry vLLM's titles, and an HTTP server
// that reports the engine's health.
type simulatedServer struct {
	t        *testing.T
	monitor  *coreMonitor
	pids     map[string]int // by title
	http     *httptest.Server
	health   atomic.Int32
	queried  chan struct{} // an item for every query
	examined chan string   // the debug messages about ends that were examined
}

// processScript sets its title to $1, prints its pid, and exits with the code
// that it reads.
const processScript = `printf %s $1 >/proc/self/comm; echo $1 $$; read code <&3; exit $code`

// Values of health that are not a status: the server closes the connection, or it reports a
// dead engine once and closes connections from then on.
const closesConnection, reportsDeathOnce = 0, 1

// newSimulatedServer starts a server with a core, two workers and the processes in more.
func newSimulatedServer(t *testing.T, ownGroup bool, more ...string) *simulatedServer {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: needs Linux's /proc and pidfds")
	}
	// Each process reads its own descriptor 3. The core is the parent of all but the
	// coordinator, and outlives them, because it must not reap them too early.
	script := `
spawn() { sh -c "$PROCESS" process "$1" 3<"$2" & }
export PROCESS
case $ROLE in
core)
	printf %s VLLM::EngineCor >/proc/self/comm
	spawn VLLM::Worker_0 w0
	spawn VLLM::Worker_1 w1
	echo VLLM::EngineCor $$
	read code <core; exit $code ;;
esac
ROLE=core sh -c "$SCRIPT" &
core=$!
for name; do spawn $name $name; done
wait $core
cat >/dev/null
`
	dir := t.TempDir()
	names := append([]string{"w0", "w1", "core"}, more...)
	for _, name := range names {
		if err := unix.Mkfifo(dir+"/"+name, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(dir+"/"+name, os.O_RDWR, 0) // so that no open blocks
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}
	cmd := exec.Command("sh", append([]string{"-c", script, "server"}, more...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PROCESS="+processScript, "SCRIPT="+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: ownGroup}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &simulatedServer{t: t, pids: map[string]int{}, queried: make(chan struct{}, 1000), examined: make(chan string, 10)}
	t.Cleanup(func() {
		for _, pid := range s.pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		stdin.Close()
		io.Copy(io.Discard, stdout) // until all of them have closed it
		cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for len(s.pids) < 3+len(more) && lines.Scan() {
		name, number, _ := strings.Cut(lines.Text(), " ")
		if s.pids[name], err = strconv.Atoi(number); err != nil {
			t.Fatal(err)
		}
	}
	s.health.Store(http.StatusOK)
	s.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != vllm.HealthPath {
			t.Errorf("unexpected query of %s", r.URL)
		}
		status := int(s.health.Load())
		if status == closesConnection {
			panic(http.ErrAbortHandler)
		}
		if status == reportsDeathOnce {
			s.health.Store(closesConnection)
			status = http.StatusServiceUnavailable
		}
		rw.WriteHeader(status)
		s.queried <- struct{}{}
	}))
	t.Cleanup(s.http.Close)
	target, err := scrape.ParseTarget(s.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.monitor = newCoreMonitor("/proc", probe.Config{}, func(message string) {
		if strings.Contains(message, "checked how process") {
			s.examined <- message
		}
	}, notRecovered)
	t.Cleanup(s.monitor.stop)
	processes, err := proc.NewTable("/proc").Descendants(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	s.monitor.track(processes[0], processes[1:], []scrape.Target{target})
	s.monitor.mu.Lock()
	watched := len(s.monitor.watched)
	s.monitor.mu.Unlock()
	if watched != 3 {
		t.Fatalf("%d processes of %+v are watched, want 3", watched, processes)
	}
	if w, err := proc.WatchExit("/proc", processes[0]); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skipf("SKIPPED: this kernel has no pidfds (Linux 5.3 and later do), or a sandbox refuses them: %v", err)
	} else if err == nil {
		w.Close()
	}
	return s
}

// kill kills processes, in this order.
func (s *simulatedServer) kill(names ...string) {
	for _, name := range names {
		if err := unix.Kill(s.pids[name], unix.SIGKILL); err != nil {
			s.t.Error(err)
		}
	}
}

// exit ends the core with an exit code.
func (s *simulatedServer) exit(code int) {
	in, err := os.OpenFile(fmt.Sprintf("/proc/%d/cwd/core", s.pids["VLLM::EngineCor"]), os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer in.Close()
	fmt.Fprintln(in, code)
}

// awaitExamined waits until the monitor has examined the end of a process.
func (s *simulatedServer) awaitExamined(name string) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case message := <-s.examined:
			if strings.Contains(message, "process "+strconv.Itoa(s.pids[name])+" ") {
				return
			}
		case <-timeout:
			s.t.Fatalf("the end of %s was not examined", name)
		}
	}
}

// awaitQueries waits for a number of health queries.
func (s *simulatedServer) awaitQueries(times int) {
	s.t.Helper()
	timeout := time.After(patience)
	for range times {
		select {
		case <-s.queried:
		case <-timeout:
			s.t.Fatal("the server was not queried")
		}
	}
}

// death returns the message of the one death recorded, or "".
func (s *simulatedServer) death() string {
	s.t.Helper()
	n := s.monitor.notes(time.Now())
	if len(n.Validity) == 0 {
		return ""
	}
	if len(n.Validity) > 1 || n.Validity[0].Code != "engine_died" || n.Validity[0].Severity != "error" {
		s.t.Errorf("%+v", n)
	}
	return n.Validity[0].Message
}

func (s *simulatedServer) wantDeath(part string) {
	s.t.Helper()
	if got := s.death(); !strings.Contains(got, part) || got == "" {
		s.t.Errorf("recorded %q, want %q in it", got, part)
	}
}

func (s *simulatedServer) wantNoDeath() {
	s.t.Helper()
	if got := s.death(); got != "" {
		s.t.Errorf("recorded: %s", got)
	}
}

// reportsExitStatus reports whether pidfds of this kernel have the exit status.
func reportsExitStatus() bool {
	var name unix.Utsname
	var major, minor int
	if unix.Uname(&name) != nil {
		return false
	}
	fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return major > 6 || major == 6 && minor >= 15
}

// notRecovered stands for run.recovered: a panic fails the test.
func notRecovered(_ string, part func()) { part() }

const core, worker0, worker1 = vllm.EngineCoreTitle, "VLLM::Worker_0", "VLLM::Worker_1"

func TestCoreKilled(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.health.Store(http.StatusServiceUnavailable)
	s.kill(core)
	s.awaitExamined(core)
	s.wantDeath("left its workers behind")
}

// With one GPU the worker is inside the core: only the server reports the death.
func TestCoreKilledWithoutWorkers(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(worker0, worker1, core)
	s.awaitQueries(2) // it has not noticed yet
	s.wantNoDeath()
	s.health.Store(http.StatusServiceUnavailable)
	s.awaitExamined(core)
	s.wantDeath(fmt.Sprintf("the engine core (process %d) ended", s.pids[core]))
}

// A vLLM that is shut down kills its workers and its core, and closes its port.
func TestCoreShutDown(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.http.Close()
	s.kill(worker0, worker1, core)
	s.awaitExamined(core)
	s.wantNoDeath()
}

// Between the end of its core and the closing of its port, a server that is shut down may
// report a dead engine once.
func TestCoreShutDownSlowly(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(worker0, worker1, core)
	s.health.Store(reportsDeathOnce)
	s.awaitExamined(core)
	s.wantNoDeath()
}

// A server that still answers 200 knows of no death, and then it is gone.
func TestCoreEndUnknownToServer(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(core)
	s.awaitQueries(3)
	s.http.Close()
	s.awaitExamined(core)
	s.wantNoDeath()
}

func TestCoreExits(t *testing.T) {
	t.Parallel()
	if !reportsExitStatus() {
		t.Skip("SKIPPED: pidfds report the exit status from Linux 6.15 on")
	}
	for _, c := range []struct {
		name     string
		code     int
		ownGroup bool
		closed   bool
		want     string
	}{
		{"shut down, and slow to close", 0, false, false, ""},
		{"an exception", 1, false, true, "failed with exit code 1"},
		{"an exception, possibly after a signal to its group", 1, true, true, ""},
		{"an exception that the server reports", 1, true, false, "ended with exit code 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSimulatedServer(t, c.ownGroup)
			s.exit(c.code)
			// A pidfd has the exit status once the parent has waited for the process.
			testkit.Await(t, "the core is gone", func() bool {
				return errors.Is(unix.Kill(s.pids[core], 0), unix.ESRCH)
			})
			s.health.Store(http.StatusServiceUnavailable)
			if c.closed {
				s.http.Close()
			}
			s.awaitExamined(core)
			if c.want == "" {
				s.wantNoDeath()
			} else {
				s.wantDeath(c.want)
			}
		})
	}
}

func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(worker1)
	s.awaitQueries(2)
	s.wantNoDeath() // the core has not reported it
	s.health.Store(http.StatusServiceUnavailable)
	s.awaitExamined(worker1)
	s.wantDeath("a worker of the engine core")
	// What follows is not another death.
	s.kill(core)
	s.awaitExamined(core)
	s.wantDeath("a worker of the engine core")
}

// The same end may be due to Ctrl-C on a terminal that is not the one of vobs.
func TestWorkerEndsInAnotherGroup(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, true)
	s.health.Store(http.StatusServiceUnavailable)
	s.kill(worker0)
	s.awaitExamined(worker0)
	s.wantNoDeath()
	// The end of its core is evidence, here too.
	s.kill(core)
	s.awaitExamined(core)
	s.wantDeath("left its workers behind")
}

// A worker that ends before its core, as in a shutdown.
func TestWorkerEndsFirst(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(worker0)
	s.awaitQueries(1)
	s.http.Close()
	s.awaitExamined(worker0)
	s.wantNoDeath()
}

// With data parallelism, a server that is shut down considers its engine dead, and its
// port stays open until its coordinator has ended.
func TestCoreEndsBeforeCoordinator(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false, vllm.CoordinatorTitle)
	s.kill(worker0, worker1, core)
	s.health.Store(http.StatusServiceUnavailable)
	began := time.Now()
	for time.Since(began) < 2*uncorroboratedDelay {
		s.awaitQueries(1)
	}
	s.wantNoDeath()
	s.kill(vllm.CoordinatorTitle)
	s.awaitExamined(core)
	s.wantDeath("ended")
}

func TestCoreDeathAndShutdownSignal(t *testing.T) {
	t.Parallel()
	at := time.Now()
	for _, c := range []struct {
		name  string
		after time.Duration // of the signal, after the death; 0: none
		want  bool
	}{
		{"no signal", 0, true}, {"before", -time.Minute, false}, {"together", time.Second / 2, false}, {"long after", time.Minute, true},
	} {
		m := newCoreMonitor("/proc", probe.Config{}, func(string) {}, notRecovered)
		m.addDeath(&coreServer{}, at, "x")
		if c.after != 0 {
			m.shutdownAt = at.Add(c.after)
		}
		if got := len(m.notes(at).Validity) > 0; got != c.want {
			t.Errorf("%s: recorded %v", c.name, got)
		}
		m.shutdownRequested()
		if c.after != 0 && !m.shutdownAt.Equal(at.Add(c.after)) {
			t.Errorf("%s: a later signal counts", c.name)
		}
	}
}

// stop does not wait for a server that is still being queried.
func TestCoreMonitorStops(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(core)
	s.awaitQueries(1)
	done := make(chan struct{})
	go func() { s.monitor.stop(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the monitor does not stop")
	}
	s.wantNoDeath()
	s.monitor.track(proc.Process{PID: os.Getppid()}, []proc.Process{{PID: os.Getpid(), PPID: os.Getppid(), Comm: vllm.EngineCoreTitle}}, nil)
	if len(s.monitor.servers) != 1 {
		t.Error("a server is tracked after the end")
	}
}

func TestDescendantsOf(t *testing.T) {
	processes := []proc.Process{{PID: 5, PPID: 4}, {PID: 2, PPID: 1}, {PID: 4, PPID: 2}, {PID: 3, PPID: 1}, {PID: 9, PPID: 8}}
	var got []int
	for _, p := range descendantsOf(2, processes) {
		got = append(got, p.PID)
	}
	slices.Sort(got)
	if !slices.Equal(got, []int{4, 5}) {
		t.Errorf("%v", got)
	}
}

func TestHealthWithoutServer(t *testing.T) {
	target, err := scrape.ParseTarget("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if status, err := probe.Health(context.Background(), probe.Config{}, target); err == nil || status != 0 {
		t.Errorf("%d, %v", status, err)
	}
}
