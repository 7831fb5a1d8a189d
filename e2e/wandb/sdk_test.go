// Package wandb_test compares vobs's client of Weights & Biases with the real SDK
// (`make e2e-wandb`).
package wandb_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/internal/wandb/api"
	"github.com/vobs/vobs/internal/wandb/run"
	"github.com/vobs/vobs/internal/wandb/rundir"
	"github.com/vobs/vobs/internal/wandb/wandbtest"
)

// A sandbox is a server, the virtual environment of the SDK and a home directory for it.
type sandbox struct {
	backend *wandbtest.Backend
	url     string
	venv    string
	home    string
}

func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	venv := os.Getenv("VOBS_E2E_WANDB")
	if venv == "" {
		t.Skip("SKIPPED: this test needs the wandb SDK: make e2e-wandb installs it")
	}
	backend := wandbtest.New()
	server := httptest.NewServer(backend)
	t.Cleanup(server.Close)
	return &sandbox{backend: backend, url: server.URL, venv: venv, home: t.TempDir()}
}

// wandbDir returns the directory in which the SDK keeps its runs.
func (h *sandbox) wandbDir() string { return filepath.Join(h.home, "wandb") }

// prepare returns a command that runs a program of the virtual environment.
func (h *sandbox) prepare(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(h.venv, "bin", name), args...)
	cmd.Dir = h.home
	cmd.WaitDelay = 5 * time.Second
	// The user's own wandb files may be neither read nor written.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + h.home, "TMPDIR=" + h.home, "NETRC=" + filepath.Join(h.home, "netrc"),
		"WANDB_BASE_URL=" + h.url, "WANDB_API_KEY=" + wandbtest.Key, "WANDB_DIR=" + h.home,
		"WANDB_CONFIG_DIR=" + h.home, "WANDB_CACHE_DIR=" + h.home, "WANDB_DATA_DIR=" + h.home,
		"WANDB_ERROR_REPORTING=false", "WANDB_DISABLE_GIT=true", "WANDB_X_DISABLE_STATS=true", "WANDB_CONSOLE=off",
	}
	return cmd
}

// command runs a program of the virtual environment and returns its output.
func (h *sandbox) command(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := h.prepare(ctx, name, args...).CombinedOutput()
	return string(out), err
}

// python runs a script with the SDK; code is the exit code it must end with.
func (h *sandbox) python(t *testing.T, code int, script string) {
	t.Helper()
	out, err := h.command("python", "-c", "import wandb, sys\n"+script)
	got := 0
	if e, ok := err.(*exec.ExitError); ok {
		got = e.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Fatalf("exit code %d, want %d:\n%s", got, code, out)
	}
}

func (h *sandbox) client(t *testing.T) *api.Client {
	c := &api.Client{BaseURL: h.url, Auth: api.APIKey(wandbtest.Key), UserAgent: "vobs/e2e"}
	t.Cleanup(c.Close)
	return c
}

// jobLog returns what the job's own file contains.
func (h *sandbox) jobLog(t *testing.T, id string) *api.JobLog {
	t.Helper()
	found, err := rundir.Find(context.Background(), h.wandbDir(), id)
	if err != nil || found == nil || found.Err != nil {
		t.Fatalf("the job's file: %+v, %v", found, err)
	}
	log := found.Log
	out := &api.JobLog{
		Entity: log.Entity, Project: log.Project, Rows: log.Rows, LastStep: found.LastStep, Started: found.Started,
		Unsynced: len(found.Unsynced) > 0, Summary: log.Summary, Exited: log.Exited, ExitCode: log.ExitCode,
	}
	if log.MayResume || log.Resumed {
		out.StartingStep = max(log.FirstStep, 0)
	}
	return out
}

// event returns a run that has just ended, as vobs makes it of an event.
func event() run.Run {
	ended := time.Now().Truncate(time.Microsecond)
	return run.Run{
		ID: "vobs-1", Project: "p", Group: "g", JobType: "gen", Name: "a name", Notes: "of <it> & more", Tags: []string{"x", "y"}, Host: "box",
		Config: []run.Item{item("vobs", `{"command":["sh","-c","a <b> & c"],"gpu":{"count":1,"names":["é"]},"version":null}`)},
		Rows: []run.Row{
			{Time: ended.Add(-time.Second), Items: []run.Item{item("vobs/gpu0/used_bytes", "85899345920")}},
			{Time: ended, Items: []run.Item{item("vllm_gen/peak_vram_gb", "64.5"), item("vllm_gen/flag_did_not_engage", "false"), item("vllm_gen/engine_runtime/kv_cache_dtype", `"auto"`)}},
		},
		Summary:   []run.Item{item("vllm_gen/peak_vram_gb", "64.5"), item("vllm_gen/flag_did_not_engage", "false"), item("vllm_gen/engine_runtime/kv_cache_dtype", `"auto"`)},
		Files:     []run.File{{Name: "vobs-event.json", Content: []byte("{\"a\":1}\n")}},
		StartTime: ended.Add(-90 * time.Second), Duration: 90 * time.Second, Writer: "vobs 1.2.3",
	}
}

func item(key, text string) run.Item {
	return run.Item{Key: key, JSON: json.RawMessage(text)}
}

// object reads a JSON object that may contain NaN and Infinity, as Python writes them.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	text = regexp.MustCompile(`([:,\[])(NaN|-?Infinity)`).ReplaceAllString(text, `$1"$2"`)
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

// job is a run of the SDK with unusual values, tags and a skipped step.
const job = `
run = wandb.init(project="p", id="job1", config={"lr": 0.1, "nested": {"a": 1}}, tags=["t1", "t2"], notes="its notes", group="its")
run.log({"loss": float("nan")})
run.log({"loss": 2.0, "only_once": 7})
run.log({"loss": 1.0}, step=5)
run.summary["best"] = {"at": 5, "of": float("inf")}
`

// (b) The SDK creates a run, vobs adds to it, the SDK resumes it.
func TestResume(t *testing.T) {
	for name, c := range map[string]struct {
		end   string
		code  int
		state string
	}{
		"finished": {"run.finish()", 0, "finished"},
		"failed":   {"sys.exit(7)", 7, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newSandbox(t)
			h.python(t, c.code, job+c.end)
			before := h.backend.Run("ent0", "p", "job1")
			if before == nil || before.State != c.state || len(before.History()) != 3 {
				t.Fatalf("the SDK's own run: %+v", before)
			}
			got, err := h.client(t).Send(context.Background(), event(), api.Target{JobRunID: "job1", JobLog: h.jobLog(t, "job1")})
			if err != nil || !got.Resumed || len(got.Warnings) > 0 {
				t.Fatalf("%+v, %v", got, err)
			}
			ours := h.backend.Run("ent0", "p", "job1")
			if ours.State != c.state || *ours.ExitCode != *before.ExitCode {
				t.Errorf("state %s with %d, was %s with %d", ours.State, *ours.ExitCode, before.State, *before.ExitCode)
			}
			if ours.Config != before.Config || !slices.Equal(ours.Tags, before.Tags) || ours.Notes != before.Notes || ours.Group != before.Group {
				t.Errorf("settings changed:\n%+v\n%+v", before, ours)
			}
			h.python(t, 0, `
run = wandb.init(project="p", id="job1", resume="must", config={"more": True})
assert run.resumed
assert run.config["lr"] == 0.1, run.config
run.log({"loss": 0.5})
run.log({"loss": 0.25, "late": 1})
run.finish()`)
			after := h.backend.Run("ent0", "p", "job1")
			if len(after.Overwritten) > 0 {
				t.Errorf("overwritten: %q", after.Overwritten)
			}
			var rows []string
			for _, line := range after.History() {
				row := object(t, line)
				delete(row, "_timestamp")
				delete(row, "_runtime")
				text, err := json.Marshal(row)
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, string(text))
			}
			if d := cmp.Diff([]string{
				`{"_step":0,"loss":"NaN"}`, `{"_step":1,"loss":2,"only_once":7}`, `{"_step":5,"loss":1}`,
				`{"_step":6,"vobs/gpu0/used_bytes":85899345920}`,
				`{"_step":7,"vllm_gen/engine_runtime/kv_cache_dtype":"auto","vllm_gen/flag_did_not_engage":false,"vllm_gen/peak_vram_gb":64.5}`,
				`{"_step":8,"loss":0.5}`, `{"_step":9,"late":1,"loss":0.25}`,
			}, rows); d != "" {
				t.Error(d)
			}
			summary := object(t, after.Summary)
			for _, key := range []string{"_timestamp", "_runtime", "_wandb"} {
				if summary[key] == nil {
					t.Errorf("the summary has no %s", key)
				}
				delete(summary, key)
			}
			if d := cmp.Diff(map[string]any{
				"loss": 0.25, "late": 1.0, "only_once": 7.0, "best": map[string]any{"at": 5.0, "of": "Infinity"}, "_step": 9.0,
				"vllm_gen/peak_vram_gb": 64.5, "vllm_gen/flag_did_not_engage": false, "vllm_gen/engine_runtime/kv_cache_dtype": "auto",
			}, summary); d != "" {
				t.Error(d)
			}
			config := object(t, after.Config)
			delete(config, "_wandb")
			if d := cmp.Diff(map[string]any{
				"lr": value(0.1), "nested": value(map[string]any{"a": 1.0}), "more": value(true),
			}, config); d != "" {
				t.Error(d)
			}
			if !slices.Equal(after.Tags, []string{"t1", "t2"}) || after.Notes != "its notes" || after.State != "finished" {
				t.Errorf("tags %q, notes %q, state %s", after.Tags, after.Notes, after.State)
			}
			again, err := h.client(t).Send(context.Background(), event(), api.Target{JobRunID: "job1", Resume: "allow", JobLog: h.jobLog(t, "job1")})
			if err != nil || !again.Resumed {
				t.Fatalf("%+v, %v", again, err)
			}
			twice := h.backend.Run("ent0", "p", "job1")
			if len(twice.History()) != 9 || len(twice.Overwritten) > 0 || object(t, twice.Lines[7])["_step"] != 10.0 {
				t.Errorf("after a second event: rows %q, overwritten %q", twice.History(), twice.Overwritten)
			}
			if string(after.Files["vobs-event.json"]) != "{\"a\":1}\n" || !slices.Contains(after.Uploaded, "vobs-event.json") {
				t.Errorf("files: %q", after.Uploaded)
			}
		})
	}
}

func value(v any) map[string]any { return map[string]any{"value": v} }

// A job that is still running is left alone: the event gets its own run, in a group
// named after the job's run.
func TestAlive(t *testing.T) {
	t.Parallel()
	h := newSandbox(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := h.prepare(ctx, "python", "-c", "import wandb, sys\n"+job+`
print("logged", flush=True)
sys.stdin.read()
run.log({"loss": 0.5}, step=6)
run.finish()`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "logged\n" {
		t.Fatalf("%q, %v", line, err)
	}
	ours := event()
	ours.Group, ours.JobType = "", ""
	got, err := h.client(t).Send(context.Background(), ours, api.Target{JobRunID: "job1", JobLog: h.jobLog(t, "job1")})
	if err != nil || got.Resumed || got.ID != "vobs-1" || !strings.HasPrefix(got.OwnRunReason, "the run job1 is running") {
		t.Errorf("%+v, %v", got, err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	stored, sibling := h.backend.Run("ent0", "p", "job1"), h.backend.Run("ent0", "p", "vobs-1")
	if len(stored.History()) != 4 || len(stored.Overwritten) > 0 || stored.State != "finished" || strings.Contains(stored.Summary, "vllm_gen") {
		t.Errorf("the job's run was touched: state %s, rows %q, overwritten %q, summary %s", stored.State, stored.History(), stored.Overwritten, stored.Summary)
	}
	if len(sibling.History()) != 2 || sibling.Group != "job1" || sibling.JobType != "report" {
		t.Errorf("the sibling: rows %q, group %q, job type %q", sibling.History(), sibling.Group, sibling.JobType)
	}
}

// The SDK can resume a run of ours.
func TestOursResumed(t *testing.T) {
	t.Parallel()
	h := newSandbox(t)
	if _, err := h.client(t).Send(context.Background(), event(), api.Target{}); err != nil {
		t.Fatal(err)
	}
	h.python(t, 0, `
run = wandb.init(project="p", id="vobs-1", resume="must")
assert run.config["vobs"]["gpu"]["count"] == 1, run.config
run.log({"loss": 1})
run.finish()`)
	stored := h.backend.Run("ent0", "p", "vobs-1")
	if len(stored.History()) != 3 || len(stored.Overwritten) > 0 {
		t.Errorf("rows %q, overwritten %q", stored.History(), stored.Overwritten)
	}
	if s := object(t, stored.Summary); s["vllm_gen/peak_vram_gb"] != 64.5 || s["loss"] != 1.0 {
		t.Errorf("summary: %s", stored.Summary)
	}
}

// (a), (c) `wandb sync` uploads from our offline run what we send online.
func TestSync(t *testing.T) {
	made := event()
	made.ExitCode = 3
	for name, r := range map[string]run.Run{"made up": made, "of an engine": ofEngine(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newSandbox(t)
			if _, err := h.client(t).Send(context.Background(), r, api.Target{}); err != nil {
				t.Fatal(err)
			}
			online := h.backend.Runs()[0]

			h = newSandbox(t)
			written, err := rundir.Write(h.wandbDir(), r, rundir.Options{Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			h.sync(t, written.Path)
			offline := h.backend.Runs()
			if len(offline) != 1 || offline[0].ID != online.ID || offline[0].Project != online.Project {
				t.Fatalf("what arrived: %+v, want the run %s in %s", offline, online.ID, online.Project)
			}
			same(t, online, offline[0])
		})
	}
}

// ofEngine is the event of a run with an engine and a GPU.
func ofEngine(t *testing.T) run.Run {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "testdata", "events", "example.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []run.Run
	for e, err := range events.Read(f) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := run.FromFile(e, run.Options{Writer: "vobs 1.2.3", Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, *r)
	}
	if len(out) != 1 {
		t.Fatalf("%d events, want 1", len(out))
	}
	return out[0]
}

// A job that ran offline and our offline run, synced with the command that vobs prints,
// are one run with everything of both.
func TestSyncBesideJob(t *testing.T) {
	t.Parallel()
	h := newSandbox(t)
	h.python(t, 0, strings.Replace(job, "init(", `init(mode="offline", `, 1)+"run.finish()")
	found, err := rundir.Find(context.Background(), h.wandbDir(), "job1")
	if err != nil || found == nil || !found.Offline {
		t.Fatalf("%+v, %v", found, err)
	}
	written, err := rundir.Write(h.wandbDir(), event(), rundir.Options{JobID: "job1", Job: found, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	dirs, ours := strings.CutPrefix(written.Sync, "wandb sync ")
	if !ours || len(strings.Fields(dirs)) != 2 {
		t.Fatalf("the command: %s", written.Sync)
	}
	h.sync(t, strings.Fields(dirs)...)
	stored := h.backend.Run("ent0", "p", "job1")
	if stored == nil || len(h.backend.Runs()) != 1 {
		t.Fatalf("runs: %+v", h.backend.Runs())
	}
	var steps []any
	for _, line := range stored.History() {
		steps = append(steps, object(t, line)["_step"])
	}
	if d := cmp.Diff([]any{0.0, 1.0, 5.0, 6.0, 7.0}, steps); d != "" || len(stored.Overwritten) > 0 {
		t.Errorf("steps: %s\noverwritten: %q", d, stored.Overwritten)
	}
	summary, config := object(t, stored.Summary), object(t, stored.Config)
	for _, key := range []string{"loss", "only_once", "best", "vllm_gen/peak_vram_gb"} {
		if summary[key] == nil {
			t.Errorf("the summary lost %s: %v", key, summary)
		}
	}
	for _, key := range []string{"lr", "nested", "vobs"} {
		if config[key] == nil {
			t.Errorf("the config lost %s: %v", key, config)
		}
	}
	if !slices.Equal(stored.Tags, []string{"t1", "t2"}) || stored.Notes != "its notes" || stored.State != "finished" {
		t.Errorf("tags %q, notes %q, state %s", stored.Tags, stored.Notes, stored.State)
	}
}

// sync runs `wandb sync` and fails if the output contains a warning.
func (h *sandbox) sync(t *testing.T, dirs ...string) {
	t.Helper()
	out, err := h.command("wandb", append([]string{"sync"}, dirs...)...)
	t.Logf("wandb sync: %s", out)
	if err != nil {
		t.Fatalf("wandb sync: %v\n%s", err, out)
	}
	for _, word := range []string{"warn", "error", "fail", "skip", "unable", "could not", "traceback"} {
		if strings.Contains(strings.ToLower(out), word) {
			t.Errorf("wandb sync says %q:\n%s", word, out)
		}
	}
	for _, dir := range dirs {
		logs, err := filepath.Glob(filepath.Join(dir, "*.synced"))
		if err != nil || len(logs) == 0 {
			t.Errorf("%s was not synced: %v", dir, err)
		}
	}
}

// same fails if two runs differ in what people see.
func same(t *testing.T, online, offline *wandbtest.Run) {
	t.Helper()
	seen := func(r *wandbtest.Run) map[string]any {
		config := object(t, r.Config)
		if w, ok := config["_wandb"].(map[string]any); !ok || w["value"].(map[string]any)["t"] == nil {
			t.Errorf("the run cannot be resumed: %v", config["_wandb"])
		}
		// What the SDK stores about itself.
		delete(config, "_wandb")
		var rows []any
		for _, line := range r.History() {
			rows = append(rows, object(t, line))
		}
		return map[string]any{
			"config": config, "rows": rows, "summary": object(t, r.Summary), "state": r.State, "exit code": fmt.Sprint(*r.ExitCode),
			"group": r.Group, "job type": r.JobType, "name": r.Name, "notes": r.Notes, "host": r.Host, "tags": r.Tags,
			"event": string(bytes.TrimSpace(r.Files["vobs-event.json"])), "uploaded": slices.Contains(r.Uploaded, "vobs-event.json"),
		}
	}
	if d := cmp.Diff(seen(online), seen(offline)); d != "" {
		t.Errorf("online and offline differ (-online +offline):\n%s", d)
	}
}
