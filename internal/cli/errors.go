package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// Exit codes. `vobs run` exits with the command's own code, except for 125 to 127,
// which mean what they mean for coreutils' env and timeout.
const (
	exitOK       = 0
	exitProblems = 1   // the answer is no: an event is not valid, or was not sent
	exitUsage    = 2   // wrong usage, or something cannot be read; not of run
	exitInternal = 125 // run: vobs failed before the command started
)

// exitError is an error with its exit code. A nil cause means that the error has
// been reported already.
type exitError struct {
	code  int
	cause error
}

func (e *exitError) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.cause.Error()
}

func (e *exitError) Unwrap() error { return e.cause }

// fail attaches an exit code to err, which may be nil.
func fail(code int, err error) error { return &exitError{code, err} }

// usageError rewords urfave/cli's error about a flag. Without it urfave/cli would
// print the whole help text.
func usageError(c *cli.Context, err error, _ bool) error {
	name := "vobs"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != "vobs" {
		name = "vobs " + c.Command.Name
	}
	message := err.Error()
	if flag, ok := strings.CutPrefix(message, "flag provided but not defined: -"); ok {
		if len(flag) > 1 { // package flag drops one of two dashes
			flag = "-" + flag
		}
		message = "unknown flag -" + flag
	}
	return withHint(errors.New(message), "see "+name+" --help")
}

// hintedError is an error with a hint at what to do about it.
type hintedError struct {
	error
	hint string
}

func (h *hintedError) Unwrap() error { return h.error }

func withHint(err error, hint string) error { return &hintedError{err, hint} }
