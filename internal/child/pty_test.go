package child

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// A terminal is an interactive bash on a real pseudo-terminal.
type terminal struct {
	*output
	tty *os.File
	dir string
}

const (
	ctrlC         = "\x03"
	ctrlZ         = "\x1a"
	ctrlBackslash = "\x1c"
	prompt        = `prompt>>> `
)

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("SKIPPED: needs bash in PATH for job control: install it")
	}
	term := &terminal{output: newOutput(), dir: t.TempDir()}
	cmd := exec.Command(bash, "--norc", "--noprofile", "--noediting", "-i")
	cmd.Dir = term.dir
	cmd.Env = append(os.Environ(), "PS1="+prompt, "TERM=dumb", "HISTFILE=", "PROMPT_COMMAND=",
		"DRIVER="+program("vobs-driver"), "CATCH="+program("vobs-catch"))
	if term.tty, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 101}); err != nil {
		t.Fatal(err)
	}
	go term.copyFrom(term.tty)
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the terminal hangs up when the session leader ends
		_ = cmd.Wait()
		term.tty.Close()
	})
	term.wait(t, prompt)
	return term
}

func (term *terminal) write(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(term.tty, keys); err != nil {
		t.Fatal(err)
	}
}

// script stores a script, so that the echo of what is typed does not contain what the
// test waits for.
func (term *terminal) script(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(term.dir, name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

const loop = `for i in 1 2 3; do "$DRIVER" -report "report$$" sh -c "echo started $i.; exec sleep 100"; done
echo loop ended.
`

func TestCtrlCEndsTheSurroundingLoop(t *testing.T) {
	t.Parallel()
	// In the interactive shell itself, and in a script run by it.
	for _, how := range []string{". ./loop.sh", "bash ./loop.sh"} {
		term := openTerminal(t)
		term.script(t, "loop.sh", loop)
		term.write(t, how+"\n")
		term.wait(t, `started 1\.`)
		term.write(t, ctrlC)
		term.wait(t, `started 1\.(?s:.*)`+prompt)
		term.write(t, "echo status=$?.\n")
		term.wait(t, `status=130\.`)
		if text := term.String(); strings.Contains(text, "started 2.") || strings.Contains(text, "loop ended.") {
			t.Errorf("%s: the loop went on:\n%s", how, text)
		}
		reports, err := filepath.Glob(filepath.Join(term.dir, "report*"))
		if err != nil || len(reports) != 1 {
			t.Fatalf("%s: %d reports, %v", how, len(reports), err)
		}
		if data, err := os.ReadFile(reports[0]); err != nil || !strings.Contains(string(data), `"Interrupted":true`) {
			t.Errorf("%s: the report does not say that it was interrupted: %s, %v", how, data, err)
		}
	}
}

func TestTypedSignalsArriveOnce(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"INT": ctrlC, "QUIT": ctrlBackslash} {
		term := openTerminal(t)
		term.write(t, `"$DRIVER" -announce "$CATCH" `+name+"\n")
		driver := term.waitInt(t, `driver (\d+)`)
		term.wait(t, `ready \d+`)
		term.write(t, key)
		term.wait(t, `shutdown SIG`+name)
		term.wait(t, `got SIG`+name+` 1\.`)
		// Forwarded after whatever the driver did with the first signal.
		if err := syscall.Kill(driver, syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		term.wait(t, `end `+name+`=1\.`)
		term.wait(t, `end (?s:.*)`+prompt)
		term.write(t, "echo status=$?.\n")
		term.wait(t, `status=42\.`)
	}
}

func TestSentSignalsOnATerminal(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT} {
		term := openTerminal(t)
		term.write(t, `"$DRIVER" -announce "$CATCH" `+name+"\n")
		driver := term.waitInt(t, `driver (\d+)`)
		term.wait(t, `ready \d+`)
		if err := syscall.Kill(driver, sig); err != nil {
			t.Fatal(err)
		}
		term.wait(t, `shutdown SIG`+name)
		arrives := 0 // without cgo vobs assumes that the terminal sent it
		if senderKnown {
			term.wait(t, `got SIG`+name+` 1\.`)
			arrives = 1
		}
		if err := syscall.Kill(driver, syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		term.wait(t, fmt.Sprintf(`end %s=%d\.`, name, arrives))
	}
}

func TestCtrlZAndFg(t *testing.T) {
	t.Parallel()
	term := openTerminal(t)
	term.write(t, `"$DRIVER" -announce "$CATCH" INT`+"\n")
	driver := term.waitInt(t, `driver (\d+)`)
	command := term.waitInt(t, `ready (\d+)`)
	term.write(t, ctrlZ)
	term.wait(t, `Stopped(?s:.*)`+prompt)
	waitStopped(t, driver)
	waitStopped(t, command)
	term.write(t, "fg\n")
	term.wait(t, `prompt>>> fg(?s:.*)DRIVER`) // bash prints the job that it resumes
	if err := syscall.Kill(driver, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	term.wait(t, `end INT=0\.(?s:.*)`+prompt)
	term.write(t, "echo status=$?.\n")
	term.wait(t, `status=42\.`)
}

func TestCommandHasTheTerminal(t *testing.T) {
	t.Parallel()
	term := openTerminal(t)
	term.script(t, "look.sh", "for fd in 0 1 2; do test -t $fd && echo fd $fd is a terminal.; done\nstty size; tty\nread line\necho \"read $line.\"\n")
	term.write(t, "\"$DRIVER\" sh ./look.sh; tty\n")
	term.wait(t, `fd 0 is a terminal\.\r\nfd 1 is a terminal\.\r\nfd 2 is a terminal\.\r\n33 101\r\n/dev/`)
	term.write(t, "hello\n")
	term.wait(t, `read hello\.`)
	term.wait(t, `read hello\.\r\n/dev/(?s:.*)`+prompt)
}
