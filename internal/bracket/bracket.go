// Package bracket runs a command inside a vobs run of its own and returns the event.
//
// One vobs process brackets one command. Whatever runs several commands, or needs the readings
// of a run, starts vobs itself.
package bracket

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/vobs/vobs/internal/events"
)

// Exit codes of vobs run that are not the command's own (those of coreutils' env).
const (
	exitNotStarted    = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// ErrInterrupt is the cause of a context that a Ctrl-C of the terminal ended.
var ErrInterrupt = errors.New("interrupted")

// NotRunError reports that vobs run did not run the command.
type NotRunError struct{ Code int }

func (e *NotRunError) Error() string {
	return fmt.Sprintf("vobs run could not run the command (exit code %d)", e.Code)
}

// Options of [Run].
type Options struct {
	// Program is the path of vobs.
	Program string
	// Flags are flags of vobs run, without --output.
	Flags []string
	// Command is the command and its arguments.
	Command []string
	// Env is the environment of vobs run; nil means this process's.
	Env []string
	// Event is the name of the file that vobs run writes the event to.
	Event string
	// Output takes the output of vobs run and of the command.
	Output *os.File
	// OwnGroup gives vobs run a process group of its own: a Ctrl-C of the terminal does not reach
	// it, only the signal that is sent when the context ends.
	OwnGroup bool
}

// Run runs a command inside vobs run and waits for both. It returns the event and the exit code:
// the command's own, or 128 and the signal's number if a signal killed it. When the context ends,
// vobs run gets a TERM, which it passes on; after a Ctrl-C only with OwnGroup, because the
// terminal has sent an INT already.
func Run(ctx context.Context, o Options) (e *events.Event, code int, err error) {
	args := append([]string{"run", "--output", o.Event}, o.Flags...)
	cmd := exec.Command(o.Program, append(append(args, "--"), o.Command...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = o.Output, o.Output, o.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: o.OwnGroup}
	if err := cmd.Start(); err != nil {
		return nil, 0, fmt.Errorf("starting vobs run: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			if o.OwnGroup || !errors.Is(context.Cause(ctx), ErrInterrupt) {
				_ = cmd.Process.Signal(syscall.SIGTERM)
			}
		case <-ended:
		}
	}()
	err = cmd.Wait()
	close(ended)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			code = 128 + int(status.Signal())
		}
	} else if err != nil {
		return nil, 0, fmt.Errorf("waiting for vobs run: %w", err)
	}
	switch code {
	case exitNotStarted, exitNotExecutable, exitNotFound:
		return nil, code, &NotRunError{code}
	}
	if e, err = readEvent(o.Event); err != nil {
		return nil, code, fmt.Errorf("the event of vobs run: %w", err)
	}
	return e, code, nil
}

func readEvent(file string) (*events.Event, error) {
	in, err := events.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	for e, err := range events.Read(in) {
		return e, err
	}
	return nil, errors.New("the file is empty")
}
