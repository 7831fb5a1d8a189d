package wandb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	built struct {
		sync.Once
		path string
		err  error
	}
	buildDir string
)

// program returns the path of vobs, which is built once.
func program(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		if buildDir, built.err = os.MkdirTemp("", "vobs-e2e-"); built.err != nil {
			return
		}
		built.path = filepath.Join(buildDir, "vobs")
		var out []byte
		if out, built.err = exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", built.path, "../..").CombinedOutput(); built.err != nil {
			t.Logf("%s", out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// vobs runs the program in the SDK's environment and returns its output.
func (h *sandbox) vobs(t *testing.T, code int, env []string, args ...string) string {
	t.Helper()
	path := program(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := h.prepare(ctx, "python")
	cmd.Path, cmd.Args = path, append([]string{"vobs"}, args...)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		t.Fatalf("%q ended with %v, want %d:\n%s", args, err, code, out)
	}
	t.Logf("vobs: %s", out)
	return string(out)
}

func (h *sandbox) python3() string { return filepath.Join(h.venv, "bin", "python") }

// The job logs to its own run, and vobs around it adds its event: with the program, as a
// user runs it.
func TestProgramAroundJob(t *testing.T) {
	t.Parallel()
	h := newSandbox(t)
	said := h.vobs(t, 7, []string{"WANDB_RUN_ID=job1"}, "run", "--wandb", "auto", "-o", "event.json", "--", h.python3(), "-c", "import wandb, sys\n"+job+"sys.exit(7)")
	run := h.backend.Run("ent0", "p", "job1")
	if run == nil || len(h.backend.Runs()) != 1 {
		t.Fatalf("runs: %+v", h.backend.Runs())
	}
	whole, err := os.ReadFile(filepath.Join(h.home, "event.json"))
	if err != nil {
		t.Fatal(err)
	}
	slots := seriesRows(t, whole)
	if !strings.Contains(said, "the event was added to ") || len(run.History()) != 4+slots || len(run.Overwritten) > 0 || run.State != "failed" || *run.ExitCode != 7 {
		t.Errorf("state %s, rows %q, overwritten %q", run.State, run.History(), run.Overwritten)
	}
	row, summary := object(t, run.History()[3+slots]), object(t, run.Summary)
	if row["_step"] != 6.0+float64(slots) || row["vllm_gen/flag_did_not_engage"] != false || summary["only_once"] != 7.0 || summary["vllm_gen/loadavg_pre_1m"] == nil {
		t.Errorf("row %v, summary %v", row, summary)
	}
	if !bytes.Equal(run.Files["vobs-event.json"], whole) {
		t.Errorf("the run's file is %s", run.Files["vobs-event.json"])
	}
}

// The same offline: the command that vobs prints uploads both.
func TestProgramAroundOfflineJob(t *testing.T) {
	t.Parallel()
	h := newSandbox(t)
	said := h.vobs(t, 0, []string{"WANDB_RUN_ID=job1", "WANDB_MODE=offline"}, "run", "--wandb", "auto", "-o", "event.json", "--", h.python3(), "-c", "import wandb, sys\n"+job+"run.finish()")
	h.sync(t, syncDirs(t, said)...)
	run := h.backend.Run("ent0", "p", "job1")
	if run == nil || len(h.backend.Runs()) != 1 {
		t.Fatalf("runs: %+v", h.backend.Runs())
	}
	whole, err := os.ReadFile(filepath.Join(h.home, "event.json"))
	if err != nil {
		t.Fatal(err)
	}
	summary, config := object(t, run.Summary), object(t, run.Config)
	if len(run.History()) != 4+seriesRows(t, whole) || len(run.Overwritten) > 0 || summary["only_once"] != 7.0 || summary["vllm_gen/flag_did_not_engage"] != false || config["lr"] == nil || config["vobs"] == nil {
		t.Errorf("rows %q, overwritten %q, summary %v, config %v", run.History(), run.Overwritten, summary, config)
	}
	if !slices.Equal(run.Tags, []string{"t1", "t2"}) || run.State != "finished" {
		t.Errorf("tags %q, state %s", run.Tags, run.State)
	}
}

// `wandb sync` of an offline run uploads what `vobs wandb` sends for the same event.
func TestProgramTwoWays(t *testing.T) {
	t.Parallel()
	h := newSandbox(t)
	said := h.vobs(t, 3, nil, "run", "--wandb", "offline", "-o", "event.json", "--", "sh", "-c", "exit 3")
	h.sync(t, syncDirs(t, said)...)
	online := newSandbox(t)
	online.vobs(t, 0, nil, "wandb", filepath.Join(h.home, "event.json"))
	if len(h.backend.Runs()) != 1 || len(online.backend.Runs()) != 1 {
		t.Fatalf("%d runs by sync, %d online", len(h.backend.Runs()), len(online.backend.Runs()))
	}
	same(t, online.backend.Runs()[0], h.backend.Runs()[0])
}

// seriesRows returns how many rows of history an event's series is: one for each slot, because
// the CPU time of the process tree is known in all of them.
func seriesRows(t *testing.T, event []byte) int {
	t.Helper()
	var e struct {
		Series *struct {
			Curves []struct{ Max []*float64 }
		}
	}
	if err := json.Unmarshal(event, &e); err != nil {
		t.Fatal(err)
	}
	if e.Series == nil {
		return 0
	}
	return len(e.Series.Curves[0].Max)
}

// syncDirs returns the arguments of the `wandb sync` command that vobs printed.
func syncDirs(t *testing.T, said string) []string {
	t.Helper()
	m := regexp.MustCompile(`upload it with: wandb sync ([^(\n]+)`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("no command in:\n%s", said)
	}
	return strings.Fields(m[1])
}
