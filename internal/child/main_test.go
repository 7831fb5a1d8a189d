package child

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is for what takes milliseconds on an idle machine.
const patience = 60 * time.Second

// The test binary is several programs, chosen by the name it is called by. A variable
// would change the environment, which tests compare.
var programs = map[string]func(){
	"vobs-driver": driverMain,
	"vobs-catch":  catchMain,
	"vobs-burn":   burnMain,
	"vobs-mask":   maskMain,
	"vobs-root":   rootMain,
}

// programDir holds a link to the test binary for each program.
var programDir string

func program(name string) string { return filepath.Join(programDir, name) }

func TestMain(m *testing.M) {
	if run, ok := programs[filepath.Base(os.Args[0])]; ok {
		run()
		panic("a program must not return")
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	// Tests of inherited signals need to start from the defaults, but in the background
	// of a script go test has INT and QUIT ignored: start again without that.
	var ignored []os.Signal
	for _, sig := range caughtSignals {
		if wasIgnored(sig) {
			ignored = append(ignored, sig)
		}
	}
	if len(ignored) > 0 {
		signal.Notify(make(chan os.Signal, 1), ignored...)
		panic(syscall.Exec(self, os.Args, os.Environ()))
	}
	// The race detector makes every normal exit wait for a second.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if programDir, err = os.MkdirTemp("", "vobs-child"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(programDir)
	for name := range programs {
		if err := os.Symlink(self, program(name)); err != nil {
			panic(err)
		}
	}
	return m.Run()
}

// A report is what the driver learned about the command.
type report struct {
	Pid        int
	Exit       Exit
	CPU        time.Duration
	NoChildren bool
}

// driverMain does what vobs run does with this package, and no more.
func driverMain() {
	UseDefaultActions()
	flags := flag.NewFlagSet("driver", flag.ExitOnError)
	never := flags.Bool("never", false, "forward nothing")
	toStderr := flags.Bool("stderr", false, "the command's stdout is stderr")
	announce := flags.Bool("announce", false, "say the pid, and each call of BeforeShutdown")
	hang := flags.Bool("hang", false, "BeforeShutdown does not return")
	settle := flags.Bool("settle", false, "after the command, wait to be cancelled")
	wait := flags.Bool("wait", false, "wait before the start")
	out := flags.String("report", "", "write the report to this file")
	_ = flags.Parse(os.Args[1:])

	spec := Spec{
		Args:   flags.Args(),
		Stdout: os.Stdout,
		Warn:   func(msg string) { fmt.Fprintln(os.Stderr, "vobs: warning:", msg) },
		BeforeShutdown: func(sig syscall.Signal) {
			if *announce {
				fmt.Fprintln(os.Stderr, "shutdown", unix.SignalName(sig))
			}
			if *hang {
				select {}
			}
		},
	}
	if *never {
		spec.Forward = ForwardNever
	}
	if *toStderr {
		spec.Stdout = os.Stderr
	}
	if *wait {
		fmt.Fprintln(os.Stderr, "waiting")
		time.Sleep(patience)
	}
	c, err := Start(spec)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vobs: error:", err)
		code := 125
		if e, ok := err.(*StartError); ok {
			code = e.Code
		}
		os.Exit(code)
	}
	if *announce {
		fmt.Fprintln(os.Stderr, "driver", os.Getpid())
	}
	<-c.Done()
	if *settle {
		fmt.Fprintln(os.Stderr, "settling")
		select {
		case <-c.Cancelled():
			fmt.Fprintln(os.Stderr, "cancelled")
		case <-time.After(patience):
		}
	}
	if *out != "" {
		r := report{Pid: c.Pid(), Exit: c.Exit(), NoChildren: c.WaitNoChildren(patience), CPU: c.CPUTime()}
		data, err := json.Marshal(r)
		if err == nil {
			err = os.WriteFile(*out, data, 0o666)
		}
		if err != nil {
			panic(err)
		}
	}
	c.Exit().Mirror()
}

var signalNames = map[string]syscall.Signal{
	"INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "USR2": syscall.SIGUSR2,
	"ALRM": syscall.SIGALRM, "VTALRM": syscall.SIGVTALRM, "XCPU": syscall.SIGXCPU,
}

// catchMain is a command that handles the signals named by its arguments. On USR1 and
// WINCH it prints how often each arrived and exits with 42. vobs does not forward WINCH,
// and its number is higher than theirs: of several signals at once the Go runtime
// delivers the lowest first.
func catchMain() {
	ch := make(chan os.Signal, 64)
	signal.Notify(ch, syscall.SIGUSR1, syscall.SIGWINCH)
	for _, name := range os.Args[1:] {
		signal.Notify(ch, signalNames[name])
	}
	fmt.Println("ready", os.Getpid())
	counts := map[os.Signal]int{}
	for sig := range ch {
		if sig == syscall.SIGUSR1 || sig == syscall.SIGWINCH {
			var b strings.Builder
			for _, name := range os.Args[1:] {
				fmt.Fprintf(&b, " %s=%d", name, counts[signalNames[name]])
			}
			fmt.Printf("end%s.\n", b.String())
			os.Exit(42)
		}
		counts[sig]++
		fmt.Printf("got %s %d.\n", unix.SignalName(sig.(syscall.Signal)), counts[sig])
	}
}

// burnMain uses the CPU time named by its argument.
func burnMain() {
	want, err := time.ParseDuration(os.Args[1])
	if err != nil {
		panic(err)
	}
	for x := 1.0; ; x = x*1.0000001 + 1 {
		var ru syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil || x < 0 {
			panic(err)
		}
		if time.Duration(syscall.TimevalToNsec(ru.Utime)+syscall.TimevalToNsec(ru.Stime)) >= want {
			os.Exit(0)
		}
	}
}

// An output collects what a program writes and lets a test wait for it.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
	closed  bool
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

func (o *output) copyFrom(r io.Reader) {
	_, _ = io.Copy(o, r) // a pseudo-terminal ends with EIO
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	close(o.changed)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// wait waits for a match of pattern and returns its last group.
func (o *output) wait(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		o.mu.Lock()
		text, changed, closed := o.text.String(), o.changed, o.closed
		o.mu.Unlock()
		if m := re.FindStringSubmatch(text); m != nil {
			return m[len(m)-1]
		}
		if closed {
			t.Fatalf("output ended without %q:\n%s", pattern, text)
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("no %q in the output:\n%s", pattern, text)
		}
	}
}

func (o *output) waitInt(t *testing.T, pattern string) int {
	t.Helper()
	n, err := strconv.Atoi(o.wait(t, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A session is a program with its output, in a session of its own and therefore without
// a terminal.
type session struct {
	*exec.Cmd
	out    *output // stdout and stderr
	report string
}

// startDriver runs prefix, the driver with options, and the command.
func startDriver(t *testing.T, prefix, options, command []string) *session {
	t.Helper()
	s := &session{out: newOutput(), report: filepath.Join(t.TempDir(), "report")}
	args := append(append([]string{}, prefix...), program("vobs-driver"), "-report", s.report)
	args = append(append(args, options...), "--")
	args = append(args, command...)
	s.Cmd = exec.Command(args[0], args[1:]...)
	s.Dir = t.TempDir()
	s.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.Stdout, s.Stderr = w, w
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go s.out.copyFrom(r)
	t.Cleanup(func() {
		_ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL)
		_ = s.Process.Kill()
		r.Close()
	})
	return s
}

func (s *session) send(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.Process.Signal(sig); err != nil {
		t.Fatalf("cannot send %v to the driver: %v; output:\n%s", sig, err, s.out)
	}
}

// finish waits for the driver's end and returns its status and report.
func (s *session) finish(t *testing.T) (syscall.WaitStatus, report) {
	t.Helper()
	hurry := time.AfterFunc(patience, func() { _ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL) })
	defer hurry.Stop()
	_ = s.Wait()
	var r report
	data, err := os.ReadFile(s.report)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatalf("no report of the driver (%v): %v; output:\n%s", s.ProcessState, err, s.out)
	}
	return s.ProcessState.Sys().(syscall.WaitStatus), r
}
