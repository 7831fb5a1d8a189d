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
