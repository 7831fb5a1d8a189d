package observe

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/redact"
)

// startErrorText returns why a command could not be started. The message contains the
// command's name, which is a secret if the user wrote NAME=VALUE before the command, as
// in a shell.
func startErrorText(r *redact.Redactor, start *child.StartError, name string) string {
	clean := r.Argument(name)
	if clean == name {
		return r.Text(start.Error())
	}
	return fmt.Sprintf("cannot run %q: %s; NAME=VALUE before a command is shell syntax: use vobs run -- env NAME=VALUE COMMAND", clean, startErrorReason(start))
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
