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
	clean := r.Command([]string{name})[0]
	if clean == name {
		return r.Text(start.Error())
	}
	reason := "it cannot be started"
	var number syscall.Errno
	if errors.As(start, &number) {
		reason = number.Error()
	}
	return fmt.Sprintf("cannot run %q: %s; NAME=VALUE before a command is shell syntax: use vobs run -- env NAME=VALUE COMMAND", clean, reason)
}
