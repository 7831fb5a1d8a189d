package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// Exit codes. `vobs run` exits with the command's own code, except for 125 to 127,
// which mean what they mean for coreutils' env and timeout.
const (
	exitOK         = 0
	exitProblems   = 1   // the answer is no: an event is not valid, or was not sent
	exitUsage      = 2   // wrong usage, or something cannot be read; not of run
	exitUndecided  = 3   // the answer is not known: the runs do not decide it
	exitFailed     = 4   // ab: a command failed
	exitInterrupt  = 130 // ab: Ctrl-C
	exitNotStarted = 125 // run: vobs failed before the command started
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
	return withHint(errors.New(flagMessage(err.Error())), "see "+name+" --help")
}

// flagMessage rewords a message of package flag or of urfave/cli; others stay.
func flagMessage(message string) string {
	var value, name string
	if flag, ok := strings.CutPrefix(message, "flag provided but not defined: -"); ok {
		return "unknown flag " + dashed(flag)
	}
	if flag, ok := strings.CutPrefix(message, "flag needs an argument: -"); ok {
		return dashed(flag) + " needs a value"
	}
	if n, _ := fmt.Sscanf(message, "invalid boolean value %q for -%s", &value, &name); n == 2 {
		return fmt.Sprintf("%s %q: use true or false", dashed(strings.TrimSuffix(name, ":")), value)
	}
	if n, _ := fmt.Sscanf(message, "could not parse %q as bool value from environment variable %q", &value, &name); n == 2 {
		return fmt.Sprintf("%s %q: use true or false", name, value)
	}
	// Only times are left.
	if n, _ := fmt.Sscanf(message, "invalid value %q for flag -%s", &value, &name); n == 2 {
		return fmt.Sprintf("%s %q: %s", dashed(strings.TrimSuffix(name, ":")), value, timeProblem(value))
	}
	if n, _ := fmt.Sscanf(message, "could not parse %q as duration value from environment variable %q", &value, &name); n == 2 {
		return fmt.Sprintf("%s %q: %s", name, value, timeProblem(value))
	}
	return message
}

// dashed returns a flag with its dashes: package flag drops one of two.
func dashed(flag string) string {
	if len(flag) > 1 {
		return "--" + flag
	}
	return "-" + flag
}

// timeProblem returns what is wrong with a time.
func timeProblem(value string) string {
	if _, err := strconv.ParseFloat(value, 64); err == nil {
		return "needs a unit, as in " + value + "s"
	}
	return "not a time: use one like 30s or 2m"
}

// hintedError is an error with a hint at what to do about it.
type hintedError struct {
	error
	hint string
}

func (h *hintedError) Unwrap() error { return h.error }

func withHint(err error, hint string) error { return &hintedError{err, hint} }
