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

	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

// patience is for what takes milliseconds on an idle machine.
const patience = 60 * time.Second

// simulatedServer is a shell with helpers that carry vLLM's names, and a door at
// which it tells how its engine is.
type simulatedServer struct {
	t      *testing.T
	watch  *coreWatch
	pids   map[string]int // by name
	door   *httptest.Server
	health atomic.Int32
	asked  chan struct{} // an item for every question
	judged chan string   // the debug messages of ends that were looked into
}

// aHelper titles itself, tells its id, and ends as its input says: a number is an
// exit code. $1 is its name.
const aHelper = `printf %s $1 >/proc/self/comm; echo $1 $$; read code <&3; exit $code`

// What the server does instead of answering: it hangs up; it says that the engine
// is dead, once, and hangs up from then on.
const hangsUp, lastWord = 0, 1

// newSimulatedServer starts a server with a core and two workers, and what else is named.
func newSimulatedServer(t *testing.T, ownGroup bool, more ...string) *simulatedServer {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: needs Linux's /proc and pidfds")
	}
	// Each helper reads its own descriptor 3; the core has the others but the
	// coordinator below it, and outlives them as it must not reap them too early.
	script := `
helper() { sh -c "$HELPER" helper "$1" 3<"$2" & }
export HELPER
case $ROLE in
core)
	printf %s VLLM::EngineCor >/proc/self/comm
	helper VLLM::Worker_0 w0
	helper VLLM::Worker_1 w1
	echo VLLM::EngineCor $$
	read code <core; exit $code ;;
esac
ROLE=core sh -c "$SCRIPT" &
core=$!
for name; do helper $name $name; done
wait $core
cat >/dev/null
`
	dir := t.TempDir()
	names := append([]string{"w0", "w1", "core"}, more...)
	for _, name := range names {
		if err := unix.Mkfifo(dir+"/"+name, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(dir+"/"+name, os.O_RDWR, 0) // so that no opening waits
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}
	cmd := exec.Command("sh", append([]string{"-c", script, "server"}, more...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HELPER="+aHelper, "SCRIPT="+script)
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
	s := &simulatedServer{t: t, pids: map[string]int{}, asked: make(chan struct{}, 1000), judged: make(chan string, 10)}
	t.Cleanup(func() {
		for _, pid := range s.pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		stdin.Close()
		io.Copy(io.Discard, stdout) // until none of them holds it any more
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
	s.door = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != vllm.HealthPath {
			t.Errorf("asked for %s", r.URL)
		}
		status := int(s.health.Load())
		if status == hangsUp {
			panic(http.ErrAbortHandler)
		}
		if status == lastWord {
			s.health.Store(hangsUp)
			status = http.StatusServiceUnavailable
		}
		rw.WriteHeader(status)
		s.asked <- struct{}{}
	}))
	t.Cleanup(s.door.Close)
	target, err := scrape.ParseTarget(s.door.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.watch = newCoreWatch("/proc", probe.Config{})
	t.Cleanup(s.watch.stop)
	s.watch.debug = func(message string) {
		if strings.Contains(message, "looked into") {
			s.judged <- message
		}
	}
	processes, err := proc.Descendants("/proc", cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	s.watch.see(processes[0], processes[1:], []scrape.Target{target})
	s.watch.mu.Lock()
	watched := len(s.watch.watched)
	s.watch.mu.Unlock()
	if watched != 3 {
		t.Fatalf("%d processes are watched of %+v", watched, processes)
	}
	if w, err := proc.WatchExit("/proc", processes[0]); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skipf("SKIPPED: this kernel has no pidfds, or a sandbox refuses them (Linux 5.3 has them): %v", err)
	} else if err == nil {
		w.Close()
	}
	return s
}

// kill ends helpers at once, those named first in front.
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

// awaitJudged waits until the end of a helper was looked into.
func (s *simulatedServer) awaitJudged(name string) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case message := <-s.judged:
			if strings.Contains(message, "process "+strconv.Itoa(s.pids[name])+" ") {
				return
			}
		case <-timeout:
			s.t.Fatalf("nobody looked into the end of %s", name)
		}
	}
}

func (s *simulatedServer) awaitAsked(times int) {
	s.t.Helper()
	timeout := time.After(patience)
	for range times {
		select {
		case <-s.asked:
		case <-timeout:
			s.t.Fatal("the server was not asked")
		}
	}
}

// died gives the message of the one death noted; "" for none.
func (s *simulatedServer) died() string {
	s.t.Helper()
	n := s.watch.notes(time.Now())
	if len(n.Validity) == 0 {
		return ""
	}
	if len(n.Validity) > 1 || n.Validity[0].Code != "engine_died" || n.Validity[0].Severity != "error" {
		s.t.Errorf("%+v", n)
	}
	return n.Validity[0].Message
}

func (s *simulatedServer) wantDied(part string) {
	s.t.Helper()
	if got := s.died(); !strings.Contains(got, part) || got == "" {
		s.t.Errorf("noted %q, want %q in it", got, part)
	}
}

func (s *simulatedServer) wantNothing() {
	s.t.Helper()
	if got := s.died(); got != "" {
		s.t.Errorf("noted: %s", got)
	}
}

// tellsExits says whether the kernel tells how a process ended.
func tellsExits() bool {
	var name unix.Utsname
	var major, minor int
	if unix.Uname(&name) != nil {
		return false
	}
	fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return major > 6 || major == 6 && minor >= 15
}

const core, worker0, worker1 = vllm.EngineCoreTitle, "VLLM::Worker_0", "VLLM::Worker_1"

func TestCoreKilled(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.health.Store(http.StatusServiceUnavailable)
	s.kill(core)
	s.awaitJudged(core)
	s.wantDied("left its workers behind")
}

// With one GPU the worker is inside the core: there is the server's word alone.
func TestCoreKilledWithoutWorkers(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(worker0, worker1, core)
	s.awaitAsked(2) // it has not noticed yet
	s.wantNothing()
	s.health.Store(http.StatusServiceUnavailable)
	s.awaitJudged(core)
	s.wantDied(fmt.Sprintf("the engine core (process %d) ended", s.pids[core]))
}

// As vLLM ends when it is asked to: it kills its workers and its core, and closes
// its door.
func TestCoreAskedToEnd(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.door.Close()
	s.kill(worker0, worker1, core)
	s.awaitJudged(core)
	s.wantNothing()
}

// Between its core's end and the closing of its door an asked server may say once
// that its engine is dead.
func TestCoreAskedToEndAtLeisure(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(worker0, worker1, core)
	s.health.Store(lastWord)
	s.awaitJudged(core)
	s.wantNothing()
}

// A server that still says 200 knows of no death, and then it is gone.
func TestCoreEndUnknownToServer(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(core)
	s.awaitAsked(3)
	s.door.Close()
	s.awaitJudged(core)
	s.wantNothing()
}

func TestCoreExits(t *testing.T) {
	t.Parallel()
	if !tellsExits() {
		t.Skip("SKIPPED: how a process ended is told by pidfds from Linux 6.15 on")
	}
	for _, c := range []struct {
		name          string
		code          int
		ownGroup      bool
		closed        bool
		want, without string
	}{
		{"asked to, and slow to close", 0, false, false, "", ""},
		{"an exception", 1, false, true, "failed with exit code 1", ""},
		{"an exception after a signal to its group, it may be", 1, true, true, "", ""},
		{"an exception, and the server says so", 1, true, false, "ended with exit code 1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSimulatedServer(t, c.ownGroup)
			s.health.Store(http.StatusServiceUnavailable)
			if c.closed {
				s.door.Close()
			}
			s.exit(c.code)
			s.awaitJudged(core)
			if c.want == "" {
				s.wantNothing()
			} else {
				s.wantDied(c.want)
			}
		})
	}
}

func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(worker1)
	s.awaitAsked(2)
	s.wantNothing() // the core has not told of it
	s.health.Store(http.StatusServiceUnavailable)
	s.awaitJudged(worker1)
	s.wantDied("a worker of the engine core")
	// What follows is not told again.
	s.kill(core)
	s.awaitJudged(core)
	s.wantDied("a worker of the engine core")
}

// The same after Ctrl-C, it may be, on a terminal that vobs is not at.
func TestWorkerEndsInAnotherGroup(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, true)
	s.health.Store(http.StatusServiceUnavailable)
	s.kill(worker0)
	s.awaitJudged(worker0)
	s.wantNothing()
	// Its core's end tells, here too.
	s.kill(core)
	s.awaitJudged(core)
	s.wantDied("left its workers behind")
}

// A worker that goes before its core, as on request.
func TestWorkerEndsFirst(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(worker0)
	s.awaitAsked(1)
	s.door.Close()
	s.awaitJudged(worker0)
	s.wantNothing()
}

// With data parallelism a server that was asked to end takes its engine for dead,
// and its door is open until its coordinator has gone.
func TestCoreEndsBeforeCoordinator(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false, vllm.CoordinatorTitle)
	s.kill(worker0, worker1, core)
	s.health.Store(http.StatusServiceUnavailable)
	began := time.Now()
	for time.Since(began) < 2*unsupportedAfter {
		s.awaitAsked(1)
	}
	s.wantNothing()
	s.kill(vllm.CoordinatorTitle)
	s.awaitJudged(core)
	s.wantDied("ended")
}

func TestCoreDeathAndSignals(t *testing.T) {
	t.Parallel()
	at := time.Now()
	for _, c := range []struct {
		name  string
		after time.Duration // of the signal, after the death; 0: none
		want  bool
	}{
		{"no signal", 0, true}, {"before", -time.Minute, false}, {"together", time.Second / 2, false}, {"long after", time.Minute, true},
	} {
		w := newCoreWatch("/proc", probe.Config{})
		w.note(&coreServer{}, at, "x")
		if c.after != 0 {
			w.asked = at.Add(c.after)
		}
		if got := len(w.notes(at).Validity) > 0; got != c.want {
			t.Errorf("%s: noted %v", c.name, got)
		}
		w.signalled()
		if c.after != 0 && !w.asked.Equal(at.Add(c.after)) {
			t.Errorf("%s: a later signal counts", c.name)
		}
	}
}

// At the end of the run nothing is waited for.
func TestCoreWatchStops(t *testing.T) {
	t.Parallel()
	s := newSimulatedServer(t, false)
	s.kill(core)
	s.awaitAsked(1)
	done := make(chan struct{})
	go func() { s.watch.stop(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the watch does not stop")
	}
	s.wantNothing()
	s.watch.see(proc.Process{PID: os.Getppid()}, []proc.Process{{PID: os.Getpid(), PPID: os.Getppid(), Comm: vllm.EngineCoreTitle}}, nil)
	if len(s.watch.servers) != 1 {
		t.Error("a server is watched after the end")
	}
}

func TestBelow(t *testing.T) {
	processes := []proc.Process{{PID: 5, PPID: 4}, {PID: 2, PPID: 1}, {PID: 4, PPID: 2}, {PID: 3, PPID: 1}, {PID: 9, PPID: 8}}
	var got []int
	for _, p := range below(2, processes) {
		got = append(got, p.PID)
	}
	slices.Sort(got)
	if !slices.Equal(got, []int{4, 5}) {
		t.Errorf("%v", got)
	}
}

func TestHealthOfNobody(t *testing.T) {
	target, err := scrape.ParseTarget("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if status, err := probe.Health(context.Background(), probe.Config{}, target); err == nil || status != 0 {
		t.Errorf("%d, %v", status, err)
	}
}
