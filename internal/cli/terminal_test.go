package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const (
	ctrlC         = "\x03"
	ctrlBackslash = "\x1c"
)

// A typed key reaches the command once, from the terminal, however many vobs are in between;
// a signal that a process sends to vobs is forwarded, also from a process on the same
// terminal.
func TestTypedAndSentSignals(t *testing.T) {
	sent := 1
	if !cgo { // the sender is not known: vobs assumes the terminal
		sent = 0
	}
	nested := []string{"vobs", "run", "-o", "inner.json", "--"}
	for name, c := range map[string]struct {
		between, catch []string
		cause          func(*testing.T, *process)
		arrives        int
	}{
		"Ctrl-C":                     {nil, []string{"catch", "INT"}, typeOnTerminal(ctrlC), 1},
		"Ctrl-C, two vobs":           {nested, []string{"catch", "INT"}, typeOnTerminal(ctrlC), 1},
		`Ctrl-\`:                     {nil, []string{"catch", "QUIT"}, typeOnTerminal(ctrlBackslash), 1},
		"kill -INT":                  {nil, []string{"catch", "INT"}, sendSignal(syscall.SIGINT), sent},
		"kill -INT, two vobs":        {nested, []string{"catch", "INT"}, sendSignal(syscall.SIGINT), sent},
		"kill -INT by the command":   {nil, []string{"catch", "-from-me", "INT"}, nil, sent},
		"kill -TERM to vobs, a tree": {nested, []string{"catch", "TERM"}, sendSignal(syscall.SIGTERM), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := prepare(t, append(append([]string{"vobs", "run", "-q", "-o", "e.json", "--"}, c.between...), c.catch...)...)
			p.launchOnTerminal(t)
			pid := p.waitOutput(t, `ready (\d+)\.`)
			if c.cause != nil {
				c.cause(t, p)
			}
			what := c.catch[len(c.catch)-1]
			if c.arrives > 0 {
				p.waitOutput(t, "got "+what+` 1\.`)
			}
			p.waitFile(t, "e.json.partial") // vobs has received it too
			reportCount(t, p, pid, what)
			p.waitOutput(t, fmt.Sprintf(`in all %d\.`, c.arrives))
			if got := p.finish(t); got != "42" {
				t.Errorf("vobs ended with %s, the command with 42; it said:\n%s", got, &p.output)
			}
			wantRun(t, p.event(t, "e.json"), "42", true)
		})
	}
}

func typeOnTerminal(keys string) func(*testing.T, *process) {
	return func(t *testing.T, p *process) { p.typeKeys(t, keys) }
}

func sendSignal(sig syscall.Signal) func(*testing.T, *process) {
	return func(t *testing.T, p *process) { p.send(t, sig) }
}

// reportCount makes the catching command print its count: with a signal that goes through
// vobs after the others, or if it does not forward, directly.
func reportCount(t *testing.T, p *process, pid, what string) {
	t.Helper()
	if what != "TERM" {
		p.send(t, syscall.SIGUSR1)
		return
	}
	n, err := strconv.Atoi(pid)
	if err == nil {
		err = syscall.Kill(n, syscall.SIGWINCH)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A sender that signals the whole group, as timeout(1) does: with --forward-signals never the
// command gets the signal once. This is in a session without a terminal.
func TestSignalToGroup(t *testing.T) {
	t.Parallel()
	p := prepare(t, "vobs", "run", "--forward-signals", "never", "-o", "e.json", "--", "catch", "TERM")
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	pid := p.waitOutput(t, `ready (\d+)\.`)
	for i := range 3 {
		if err := syscall.Kill(-p.Process.Pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.waitOutput(t, fmt.Sprintf(`got TERM %d\.`, i+1))
		p.waitFile(t, "e.json.partial") // what vobs does before it would forward
	}
	reportCount(t, p, pid, "TERM")
	p.waitOutput(t, `in all 3\.`)
	if got := p.finish(t); got != "42" {
		t.Errorf("vobs ended with %s", got)
	}
	wantRun(t, p.event(t, "e.json"), "42", true)
}

// Without a terminal no signal counts as typed.
func TestWithoutTerminal(t *testing.T) {
	t.Parallel()
	// setsid as a user runs it, under a shell that does not lead a group.
	p := prepare(t, "sh", "-c", `setsid vobs run -o e.json -- sh -c 'cut -d " " -f 5-8 /proc/$$/stat; exec catch INT' & echo $! >pid; wait $!; echo status $?.`)
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	p.waitOutput(t, `ready (\d+)\.`)
	text, err := os.ReadFile(filepath.Join(p.Dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	vobs, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	// The group and the session are vobs's; there is no terminal and no foreground group
	// (proc_pid_stat(5)).
	p.waitOutput(t, fmt.Sprintf("%d %d 0 -1\n", vobs, vobs))
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGUSR1} {
		if err := syscall.Kill(vobs, sig); err != nil {
			t.Fatal(err)
		}
		if sig == syscall.SIGINT {
			p.waitOutput(t, `got INT 1\.`)
		}
	}
	p.waitOutput(t, `in all 1\.`)
	p.waitOutput(t, `status 42\.`)
	wantRun(t, p.event(t, "e.json"), "42", true)
}

// The terminal goes away: HUP reaches vobs and through it the command, unless both ignore it
// under nohup.
func TestHangup(t *testing.T) {
	for name, c := range map[string]struct {
		before, end string
		interrupted bool
	}{
		"plain": {"", "9", true},
		"nohup": {"exec nohup", "7", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := prepare(t, "sh", "-c", c.before+` vobs run -o e.json -- sh -c 'trap "exit 9" HUP; : >up; until [ -e go ]; do sleep 0.05; done; exit 7'`)
			if c.before == "" {
				p.Args[2] = "exec " + p.Args[2]
			}
			p.launchOnTerminal(t)
			p.waitFile(t, "up")
			p.terminal.Close()
			if !c.interrupted {
				p.touch(t, "go")
			}
			if got := p.finish(t); got != c.end {
				t.Errorf("vobs ended with %s, want %s", got, c.end)
			}
			wantRun(t, p.event(t, "e.json"), c.end, c.interrupted)
		})
	}
}

// Ctrl-C while vobs settles ends the settling, and the event is written. The clock is stopped
// here: no wait would end by itself.
func TestCtrlCWhileSettling(t *testing.T) {
	t.Parallel()
	clock := newClock(t)
	p := prepare(t, "vobs", "run", "-q", "-o", "e.json", "--",
		"sh", "-c", `setsid sleep 1000 >/dev/null 2>&1 & trap 'exit 6' INT; echo "ready $$."; while :; do sleep 0.05; done`)
	clock.drive(p)
	p.launchOnTerminal(t)
	command := p.waitOutput(t, `ready (\d+)\.`)
	clock.freeze(t)
	p.typeKeys(t, ctrlC)
	eventually(t, func() error { // it is reaped: vobs settles, or will at once
		if _, err := os.Stat("/proc/" + command); err == nil {
			return fmt.Errorf("the command did not end of Ctrl-C:\n%s", &p.output)
		}
		return nil
	})
	// What arrives before vobs has handled the first one is still for the command.
	eventually(t, func() error {
		select {
		case <-p.ended:
			return nil
		default:
			_, _ = p.terminal.WriteString(ctrlC) // the terminal may be gone by now
			return fmt.Errorf("vobs goes on settling:\n%s", &p.output)
		}
	})
	if got := p.finish(t); got != "6" {
		t.Errorf("vobs ended with %s, the command with 6", got)
	}
	e := p.event(t, "e.json")
	wantRun(t, e, "6", true)
	if len(e.Run.Leftovers) != 1 || e.Partial {
		t.Errorf("leftovers %+v, partial %v; %+v, %+v", e.Run.Leftovers, e.Partial, e.Validity, e.Unavailable)
	}
	if _, err := os.Stat(filepath.Join(p.Dir, "e.json.partial")); err == nil {
		t.Error("the partial event is still there beside the whole one")
	}
}
