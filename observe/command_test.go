package observe

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/intent"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/schema"
)

// Reasons that quote arguments show no more of them than the command line in the event.
func TestReasonsShowNoSecretArguments(t *testing.T) {
	for mode, shown := range map[redact.CommandMode]string{redact.CommandFull: "'PLAIN'", redact.CommandNames: "", redact.CommandNone: ""} {
		argv := []string{"vllm", "serve", "--hftoken", "SECRET", "--max-num-seqs", "PLAIN", "--kv-transfer-config", `{"token": "SECRET`}
		r := &run{cfg: Config{Args: argv}, redactor: redact.New(nil), intents: intent.FromCommandLine(args.Parse(argv, ""))}
		r.redactor.Show(mode)
		settings := map[string]any{"max_num_seqs": int64(7), "seed": int64(1)}
		got := readings{engine: aggregate.Output{Settings: settings}}
		e := r.assemble(schema.Run{}, got, schema.Notes{})
		text := testkit.JSON(e.FlagsUnchecked)
		if strings.Contains(text, "SECRET") {
			t.Errorf("%s: %s", mode, text)
		}
		if !strings.Contains(text, "max_num_seqs") || strings.Contains(text, "PLAIN") != (shown != "") {
			t.Errorf("%s: %s", mode, text)
		}
	}
}

// A setting may contain a secret.
func TestMismatchesShowNoSecret(t *testing.T) {
	argv := []string{"vllm", "serve", "m", "--kv-transfer-config", `{"token": ["SECRET"], "k": [{"api_key": "SECRET"}, "PLAIN"]}`}
	r := &run{cfg: Config{Args: argv}, redactor: redact.New(nil), intents: intent.FromCommandLine(args.Parse(argv, ""))}
	got := readings{engine: aggregate.Output{Settings: map[string]any{"kv_transfer_config.k": []any{"other"}}}}
	e := r.assemble(schema.Run{}, got, schema.Notes{})
	if text := testkit.JSON(e.FlagMismatches); strings.Contains(text, "SECRET") || !strings.Contains(text, "PLAIN") {
		t.Error(text)
	}
}

// With --command none the event does not name the command, even if it does not start.
func TestStartErrorWithoutCommand(t *testing.T) {
	start := &child.StartError{Code: 127, Err: &os.PathError{Op: "fork/exec", Path: "/x/PLAIN", Err: syscall.ENOENT}, Hint: "PLAIN"}
	r := &run{cfg: Config{Args: []string{"PLAIN"}}, redactor: redact.New(nil)}
	if got := r.startErrorInEvent(start); !strings.Contains(got, "PLAIN") {
		t.Error(got)
	}
	r.redactor.Show(redact.CommandNone)
	if got := r.startErrorInEvent(start); got != "cannot run the command: no such file or directory" {
		t.Error(got)
	}
	start.Err = os.ErrNotExist
	if got := r.startErrorInEvent(start); got != "cannot run the command: not found" {
		t.Error(got)
	}
}
