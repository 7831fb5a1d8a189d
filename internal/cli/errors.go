package cli

import (
	"errors"
	"fmt"
	"slices"
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
	exitInterrupt  = 130 // ab, load, diagnose: Ctrl-C
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
	var flags []cli.Flag
	if c.Command != nil {
		flags = c.Command.Flags
		if c.Command.Name != "" && c.Command.Name != "vobs" {
			name = "vobs " + c.Command.Name
		}
	}
	return withHint(errors.New(flagMessage(err.Error(), flags)), "see "+name+" --help")
}

// flagMessage rewords a message of package flag or of urfave/cli about one of the flags; others
// stay.
func flagMessage(message string, flags []cli.Flag) string {
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
	// Times and numbers are left.
	if n, _ := fmt.Sscanf(message, "invalid value %q for flag -%s", &value, &name); n == 2 {
		name = strings.TrimSuffix(name, ":")
		problem := valueProblem(flags, name, value)
		if strings.HasSuffix(message, ": value out of range") {
			problem = "out of range"
		}
		return fmt.Sprintf("%s %q: %s", dashed(name), value, problem)
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

// valueProblem returns what is wrong with the value of a flag that takes a number or a time.
func valueProblem(flags []cli.Flag, name, value string) string {
	for _, f := range flags {
		if !slices.Contains(f.Names(), name) {
			continue
		}
		switch f.(type) {
		case *cli.IntFlag, *cli.Int64Flag:
			return "not a whole number"
		case *cli.UintFlag, *cli.Uint64Flag:
			return "not a whole number from 0 on"
		case *cli.Float64Flag:
			return "not a number"
		}
	}
	return timeProblem(value)
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
