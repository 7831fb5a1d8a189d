package bracket

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// program returns a stand-in for vobs: a script that gets the arguments of vobs run.
func program(t *testing.T, script string) string {
	t.Helper()
	event, err := filepath.Abs("../../testdata/events/example.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vobs")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n[ \"$1 $2\" = 'run --output' ] || exit 99\nevent="+event+"\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name, script string
		code         int
		failure      string // "" for an event
	}{
		{"done", `cp $event $3`, 0, ""},
		{"failed", `cp $event $3; exit 7`, 7, ""},
		{"killed", `cp $event $3; kill -KILL $$`, 137, ""},
		{"arguments", `[ "$4 $5 $6 $7" = '--quiet -- sleep 1' ] && [ "$KEPT" = yes ] && cp $event $3`, 0, ""},
		{"not found", `exit 127`, 127, "could not run the command (exit code 127)"},
		{"no event", `exit 0`, 0, "the event of vobs run: open "},
		{"an empty event", `: >$3`, 0, "the event of vobs run: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, code, err := Run(t.Context(), Options{
				Program: program(t, c.script), Flags: []string{"--quiet"}, Command: []string{"sleep", "1"},
				Env: append(os.Environ(), "KEPT=yes"), Event: filepath.Join(t.TempDir(), "event.json"), Output: os.Stderr,
			})
			switch {
			case code != c.code:
				t.Errorf("exit code %d, want %d", code, c.code)
			case c.failure == "" && (err != nil || e.Run.ID == ""):
				t.Errorf("%v", err)
			case c.failure != "" && (err == nil || !strings.Contains(err.Error(), c.failure)):
				t.Errorf("%v, want %q", err, c.failure)
			}
		})
	}
	var notRun *NotRunError
	if _, _, err := Run(t.Context(), Options{Program: program(t, "exit 126")}); !errors.As(err, &notRun) || notRun.Code != 126 {
		t.Error(err)
	}
	if _, _, err := Run(t.Context(), Options{Program: "/nonexistent"}); err == nil || !strings.HasPrefix(err.Error(), "starting vobs run: ") {
		t.Error(err)
	}
}

// When the context ends, the run gets a TERM. After a Ctrl-C it gets one only in a process group of
// its own.
func TestCancel(t *testing.T) {
	const script = `trap 'cp $event $3; exit 143' TERM
touch $3.started
while [ ! -e $3.end ]; do sleep 0.05; done
cp $event $3`
	for _, c := range []struct {
		name     string
		cause    error
		ownGroup bool
		code     int
	}{
		{"TERM", nil, false, 143},
		{"Ctrl-C", ErrInterrupt, false, 0},
		{"Ctrl-C, own group", ErrInterrupt, true, 143},
	} {
		t.Run(c.name, func(t *testing.T) {
			vobs := program(t, script)
			ctx, cancel := context.WithCancelCause(t.Context())
			event := filepath.Join(t.TempDir(), "event.json")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				e, code, err := Run(ctx, Options{Program: vobs, Event: event, OwnGroup: c.ownGroup})
				if err != nil || code != c.code || e == nil {
					t.Errorf("exit code %d, want %d: %v", code, c.code, err)
				}
			}()
			testkit.Await(t, "the start", func() bool { _, err := os.Stat(event + ".started"); return err == nil })
			cancel(c.cause)
			if c.code == 0 {
				if err := os.WriteFile(event+".end", nil, 0o666); err != nil {
					t.Error(err)
				}
			}
			<-ended
		})
	}
}
