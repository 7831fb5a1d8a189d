package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/schema"
)

// A transcript collects what a program writes.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A process is a program in a directory of its own and in a session of its own, with or
// without a terminal.
type process struct {
	*exec.Cmd
	output       transcript // stdout and stderr
	terminal     *os.File   // nil if it has none
	ended        chan struct{}
	skip         func(*testing.T) // asked at the end: could the test not run here?
	terminalRead chan struct{}    // closed once the terminal was read to its end; nil without one
}

// prepare returns a process that finds no GPU.
func prepare(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{})}
	p.Dir = t.TempDir()
	p.Env = append(os.Environ(), "LD_LIBRARY_PATH="+brokenNVML(t), "TERM=dumb")
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return p
}

// launch starts it without a terminal; stdin is /dev/null.
func (p *process) launch(t *testing.T) error {
	t.Helper()
	p.Stdout, p.Stderr = &p.output, &p.output
	// Leftovers may keep the pipe open after the program's end.
	p.WaitDelay = time.Second
	if err := p.Start(); err != nil {
		return err
	}
	p.reap(t)
	return nil
}

// launchOnTerminal starts it as the leader of a session, in the foreground of a terminal.
func (p *process) launchOnTerminal(t *testing.T) {
	t.Helper()
	tty, err := pty.Start(p.Cmd)
	if err != nil {
		t.Fatal(err)
	}
	// Opened anew and non-blocking: otherwise a close would wait for the reading, and the
	// terminal would stay open.
	fd, err := unix.FcntlInt(tty.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty.Close()
	p.terminal = os.NewFile(uintptr(fd), "terminal")
	p.terminalRead = make(chan struct{})
	go func() {
		_, _ = io.Copy(&p.output, p.terminal) // ends with EIO
		close(p.terminalRead)
	}()
	t.Cleanup(func() { p.terminal.Close() })
	p.reap(t)
}

func (p *process) reap(t *testing.T) {
	go func() {
		_ = p.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		_ = p.Process.Kill()
		endProcessesIn(p.Dir) // those that moved to another session
		<-p.ended
	})
}

func (p *process) send(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatalf("%v to %v: %v; it said:\n%s", sig, p.Args, err, &p.output)
	}
}

func (p *process) typeKeys(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(p.terminal, keys); err != nil {
		t.Fatal(err)
	}
}

// finish waits for its end and returns the exit code, or the signal's name.
func (p *process) finish(t *testing.T) string {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%v did not end; it said:\n%s", p.Args, &p.output)
	}
	if p.skip != nil {
		p.skip(t)
	}
	return exitOf(p.ProcessState)
}

func exitOf(state *os.ProcessState) string {
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return unix.SignalName(ws.Signal())
	}
	return fmt.Sprint(state.ExitCode())
}

// waitOutput waits for a match of pattern in the output, and returns its last group.
func (p *process) waitOutput(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var match []string
	p.eventually(t, func() error {
		if match = re.FindStringSubmatch(p.output.String()); match == nil {
			return fmt.Errorf("%v did not say %q, but:\n%s", p.Args, pattern, &p.output)
		}
		return nil
	})
	return match[len(match)-1]
}

// waitFile waits until a file exists.
func (p *process) waitFile(t *testing.T, name string) {
	t.Helper()
	p.eventually(t, func() error {
		if _, err := os.Stat(filepath.Join(p.Dir, name)); err != nil {
			return fmt.Errorf("%w; %v said:\n%s", err, p.Args, &p.output)
		}
		return nil
	})
}

// touch creates an empty file in its directory.
func (p *process) touch(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.Dir, name), nil, 0o666); err != nil {
		t.Fatal(err)
	}
}

// event reads an event, which must be valid.
func (p *process) event(t *testing.T, name string) schema.GenerationObservability {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.Dir, name))
	if err != nil {
		t.Fatalf("%v; %v said:\n%s", err, p.Args, &p.output)
	}
	return validEvent(t, text)
}

// validEvent parses an event, which must be strictly valid, with every null explained.
func validEvent(t *testing.T, text []byte) schema.GenerationObservability {
	t.Helper()
	var e schema.GenerationObservability
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if nulls := schema.UnexplainedNulls(&e); len(nulls) > 0 {
		t.Errorf("nulls without a reason: %v\n%s", nulls, text)
	}
	if problems := schema.Validate(text, schema.Options{Strict: true}); len(problems) > 0 {
		t.Errorf("not valid: %v\n%s", problems, text)
	}
	return e
}

// wantRun compares how a run ended, and whether it was interrupted.
func wantRun(t *testing.T, e schema.GenerationObservability, end string, interrupted bool) {
	t.Helper()
	got := "nothing"
	switch {
	case e.Run.Signal != nil:
		got = *e.Run.Signal
	case e.Run.ExitCode != nil:
		got = fmt.Sprint(*e.Run.ExitCode)
	}
	if got != end || e.Run.Interrupted != interrupted {
		t.Errorf("the event says that the command ended with %s, interrupted %v; want %s, %v", got, e.Run.Interrupted, end, interrupted)
	}
}

// eventually waits until check returns nil, or fails when p has ended.
func (p *process) eventually(t *testing.T, check func() error) {
	t.Helper()
	over := false
	eventually(t, func() error {
		select {
		case <-p.ended:
			if p.terminalRead != nil { // the last output may not have been read yet
				select {
				case <-p.terminalRead:
				case <-time.After(time.Second): // another process holds the terminal
				}
			}
			over = check() != nil
			return nil
		default:
			return check()
		}
	})
	if over {
		p.finish(t) // may skip the test
		t.Fatalf("%v has ended: %v", p.Args, check())
	}
}

// eventually waits until check returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	err := check()
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); err = check() {
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var signalsByName = map[string]syscall.Signal{"INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM}

// catchMain is `catch [-from-me] SIGNAL`, a command that counts a signal. With -from-me it
// sends it to its parent, as a process on the same terminal may. On USR1, or on WINCH, which
// vobs never forwards, it prints how often the signal arrived and exits with 42. Of several
// signals at once the Go runtime delivers the one with the lowest number first: WINCH (28)
// comes after all others, USR1 (10) after INT and QUIT.
func catchMain(args []string) int {
	name := args[len(args)-1]
	ch := make(chan os.Signal, 64)
	signal.Notify(ch, signalsByName[name], syscall.SIGUSR1, syscall.SIGWINCH)
	fmt.Printf("ready %d.\n", os.Getpid())
	if args[0] == "-from-me" {
		if err := syscall.Kill(os.Getppid(), signalsByName[name]); err != nil {
			fmt.Println(err)
		}
	}
	count := 0
	for sig := range ch {
		if sig != signalsByName[name] {
			fmt.Printf("in all %d.\n", count)
			break
		}
		count++
		fmt.Printf("got %s %d.\n", name, count)
	}
	return 42
}

// becomeRootMain is `become-root COMMAND...`: from a set-user-id file it becomes root in every
// respect, as sudo does, and runs COMMAND.
func becomeRootMain(args []string) int {
	err := syscall.Setreuid(0, 0)
	if err == nil {
		var path string
		if path, err = exec.LookPath(args[0]); err == nil {
			err = syscall.Exec(path, args, os.Environ())
		}
	}
	fmt.Fprintln(os.Stderr, "become-root:", strings.TrimSpace(err.Error()))
	return 99
}
