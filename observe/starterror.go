package observe

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/redact"
)

// startErrorText returns why a command could not be started. The message contains the
// command's name, which may have a secret in it, for example if the user wrote NAME=VALUE
// before the command, as in a shell.
func startErrorText(r *redact.Redactor, start *child.StartError, name string) string {
	clean := r.Argument(name)
	if clean == name {
		return r.Text(start.Error())
	}
	text := fmt.Sprintf("cannot run %q: %s", clean, startErrorReason(start))
	if hint := startErrorHint(r, start, name, clean); hint != "" {
		text += "; " + hint
	}
	return text
}

// startErrorHint returns what to do about a command that could not be started. name is the
// command's name and clean the same without secrets. The hint depends on name, because clean may
// look like NAME=VALUE or have blanks where name does not, or the other way round.
func startErrorHint(r *redact.Redactor, start *child.StartError, name, clean string) string {
	const notFound = 127
	switch {
	case start.Code != notFound:
	case child.IsAssignment(name):
		return "NAME=VALUE before a command is shell syntax: use vobs run -- env NAME=VALUE COMMAND"
	case strings.ContainsAny(name, " \t\n;|&"):
		return "this is a single argument containing shell syntax; did you mean sh -c '...'?"
	}
	return r.Text(strings.ReplaceAll(start.Hint, name, clean))
}

// startErrorReason returns why a command could not be started, without its name.
func startErrorReason(start *child.StartError) string {
	var number syscall.Errno
	switch {
	case errors.As(start, &number):
		return number.Error()
	case start.Code == 127:
		return "not found"
	}
	return "it cannot be started"
}

// startErrorInEvent is startErrorText for the event, which may not show the command.
func (r *run) startErrorInEvent(start *child.StartError) string {
	if r.redactor.Shows() == redact.CommandNone {
		return "cannot run the command: " + startErrorReason(start)
	}
	return startErrorText(r.redactor, start, r.cfg.Args[0])
}
