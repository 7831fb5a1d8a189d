package observe

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/redact"
)

func TestStartErrorsShowNoSecret(t *testing.T) {
	for name, want := range map[string]string{
		"HF_TOKEN=SECRET":        `cannot run "HF_TOKEN=<redacted>": no such file or directory; NAME=VALUE before a command is shell syntax: use vobs run -- env NAME=VALUE COMMAND`,
		"python --api-key SECRE": "",
		"nosuch":                 `cannot run "nosuch": not found`,
	} {
		start := &child.StartError{Code: 127, Err: fmt.Errorf("cannot run %q: not found: %w", name, os.ErrNotExist)}
		if want != "" && strings.Contains(want, "no such file") {
			start.Err = fmt.Errorf("cannot run %q: %w", name, syscall.ENOENT)
		}
		got := startErrorText(redact.New(nil), start, name)
		if strings.Contains(got, "SECRE") || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// The hint is the one for the name as the user wrote it.
func TestStartErrorHints(t *testing.T) {
	const secret = "Zq7Wn3Xk9"
	const shellSyntax = "NAME=VALUE before a command is shell syntax"
	r := redact.New([]string{"HF_TOKEN=" + secret, "LONGER_TOKEN=A_B=" + secret})
	for name, want := range map[string]string{
		secret + "-nope":               `cannot run "<redacted>-nope": no such file or directory; check its spelling or write ./<redacted>-nope`,
		secret:                         `cannot run "<redacted>": no such file or directory; check its spelling or write ./<redacted>`,
		"A_B=" + secret:                `cannot run "<redacted>": no such file or directory; ` + shellSyntax + ": use vobs run -- env NAME=VALUE COMMAND",
		"X=" + secret:                  `cannot run "X=<redacted>": no such file or directory; ` + shellSyntax + ": use vobs run -- env NAME=VALUE COMMAND",
		"python --api-key " + secret:   `cannot run "python --api-key <redacted>": no such file or directory; this is a single argument containing shell syntax; did you mean sh -c '...'?`,
		"./x?token=" + secret + "/run": `cannot run "./x?token=<redacted>": no such file or directory; check its spelling or write ././x?token=<redacted>`,
	} {
		start := &child.StartError{Code: 127, Err: fmt.Errorf("cannot run %q: %w", name, syscall.ENOENT), Hint: "check its spelling or write ./" + name}
		got := startErrorText(r, start, name)
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
		if strings.Contains(got, secret) {
			t.Errorf("%s: shows a secret: %s", name, got)
		}
	}
	// A hint about a part of the name.
	start := &child.StartError{Code: 126, Err: syscall.EACCES, Hint: "chmod +x " + secret}
	if got := startErrorText(r, start, "./"+secret); strings.Contains(got, secret) {
		t.Error(got)
	}
}
