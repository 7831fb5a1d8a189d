package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vobs/vobs/internal/wandb/wandbtest"
	"github.com/vobs/vobs/schema"
)

// wandbServer starts a W&B server that keeps state.
func wandbServer(t *testing.T) (*wandbtest.Backend, string) {
	t.Helper()
	b := wandbtest.New()
	server := httptest.NewServer(b)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return b, server.URL
}

// withWandb prepares vobs for a user of that server only.
func withWandb(t *testing.T, url string, args ...string) *process {
	t.Helper()
	p := prepare(t, append([]string{"vobs"}, args...)...)
	p.Env = slices.DeleteFunc(p.Env, func(e string) bool {
		return strings.HasPrefix(e, "WANDB_") || strings.HasPrefix(e, "HOME=") || strings.HasPrefix(e, "NETRC=") ||
			strings.HasPrefix(e, "VOBS_") || strings.Contains(strings.ToLower(e[:strings.IndexByte(e, '=')+1]), "_proxy")
	})
	p.Env = append(p.Env, "HOME="+p.Dir, "WANDB_BASE_URL="+url, "WANDB_API_KEY="+wandbtest.Key)
	return p
}

// checkNoKey fails the test if the key is in anything that the program left behind.
func (p *process) checkNoKey(t *testing.T) {
	t.Helper()
	if strings.Contains(p.output.String(), wandbtest.Key) {
		t.Errorf("the key was said:\n%s", &p.output)
	}
	err := filepath.WalkDir(p.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(wandbtest.Key)) {
			t.Errorf("the key is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// offlineRuns returns the .wandb files below a process's directory.
func (p *process) offlineRuns(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(p.Dir, "wandb", "offline-run-*", "run-*.wandb"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func decoded(t *testing.T, text string) (out map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

// An event is sent: the command's exit code is vobs's and the run's, the event is the run's
// file, its figures are in the summary and in one row.
func TestWandbOnline(t *testing.T) {
	b, url := wandbServer(t)
	p := withWandb(t, url, "run", "--wandb", "online", "--wandb-project", "bench", "-o", "e.json", "--", "sh", "-c", "exit 3", "--api-key", "sesame-open")
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	if end := p.finish(t); end != "3" {
		t.Errorf("ended with %s:\n%s", end, &p.output)
	}
	runs := b.Runs()
	if len(runs) != 1 {
		t.Fatalf("%d runs; %s", len(runs), &p.output)
	}
	r := runs[0]
	if r.Project != "bench" || r.State != "failed" || r.ExitCode == nil || *r.ExitCode != 3 {
		t.Errorf("run %+v", r)
	}
	if summary := decoded(t, r.Summary); summary["vllm_gen/flag_did_not_engage"] != false || summary["vllm_gen/loadavg_pre_1m"] == nil {
		t.Errorf("summary %s", r.Summary)
	}
	e := p.event(t, "e.json")
	rows := r.History()
	if len(rows) != 1+seriesSlots(&e) || decoded(t, rows[len(rows)-1])["vllm_gen/loadavg_post_15m"] == nil {
		t.Errorf("history %q", rows)
	}
	for i, text := range rows[:len(rows)-1] {
		row := decoded(t, text)
		if row["_step"] != float64(i) || row["vobs/host/tree_cpu_cores/max"] == nil || row["vobs/host/tree_cpu_cores/mean"] == nil || row["vllm_gen/flag_did_not_engage"] != nil {
			t.Errorf("row %d is %s", i, text)
		}
	}
	whole, err := os.ReadFile(filepath.Join(p.Dir, "e.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Files["vobs-event.json"]; !bytes.Equal(got, whole) {
		t.Errorf("the run's file is %s, the event %s", got, whole)
	}
	if !strings.Contains(r.Config, Version()) || !strings.Contains(r.Config, e.Run.Hostname) || strings.Contains(r.Config, "sesame") || !strings.Contains(r.Config, "redacted") {
		t.Errorf("config %s", r.Config)
	}
	page := url + "/" + r.Entity + "/bench/runs/" + r.ID
	if said := p.output.String(); !strings.Contains(said, "vobs: wandb: the event is at "+page+"\n") || strings.Contains(said, "warning") {
		t.Errorf("said:\n%s\nwant %s", said, page)
	}
	p.checkNoKey(t)

	// Again, from the file: the same run.
	again := withWandb(t, url, "wandb", "--wandb-project", "bench", filepath.Join(p.Dir, "e.json"))
	if err := again.launch(t); err != nil {
		t.Fatal(err)
	}
	if end := again.finish(t); end != "0" || !strings.Contains(again.output.String(), page) {
		t.Errorf("ended with %s:\n%s", end, &again.output)
	}
	if runs := b.Runs(); len(runs) != 1 || len(runs[0].History()) != len(rows) {
		t.Errorf("%d runs, history %q", len(runs), runs[0].History())
	}
}

// Nothing is sent by default, or if the user has disabled it; under auto, W&B's own variables
// decide.
func TestWandbModes(t *testing.T) {
	for _, c := range []struct {
		flags, env    string
		sent, offline int
		said          string
	}{
		{"", "", 0, 0, ""},
		{"--wandb disabled", "WANDB_MODE=online", 0, 0, ""},
		{"--wandb auto", "", 1, 0, "the event is at"},
		{"--wandb auto -q", "", 1, 0, ""},
		{"--wandb auto", "WANDB_SILENT=true", 1, 0, ""},
		{"--wandb auto", "WANDB_MODE=disabled", 0, 0, ""},
		{"--wandb auto", "WANDB_MODE=offline", 0, 1, "upload it with: wandb sync /"},
		{"--wandb online", "WANDB_MODE=offline", 1, 0, "the event is at"},
		{"--wandb offline", "WANDB_API_KEY=", 0, 1, "upload it with: wandb sync /"},
		{"--wandb online", "WANDB_API_KEY=", 0, 1, "warning: the event was not sent to W&B: no key for W&B: set WANDB_API_KEY"},
		{"--wandb online", "WANDB_API_KEY=short", 0, 1, "has 5 characters"},
		{"", "VOBS_WANDB=offline", 0, 1, "upload it with"},
	} {
		t.Run(c.flags+" "+c.env, func(t *testing.T) {
			t.Parallel()
			b, url := wandbServer(t)
			p := withWandb(t, url, slices.Concat([]string{"run", "-o", "e.json"}, strings.Fields(c.flags), []string{"--", "true"})...)
			if c.env != "" {
				p.Env = append(p.Env, c.env)
			}
			if err := p.launch(t); err != nil {
				t.Fatal(err)
			}
			if end := p.finish(t); end != "0" {
				t.Errorf("ended with %s", end)
			}
			if said := p.output.String(); !strings.Contains(said, c.said) || c.said == "" && said != "" || strings.Count(said, "\n") > 1 {
				t.Errorf("said %q, want %q", said, c.said)
			}
			if got := len(b.Runs()); got != c.sent {
				t.Errorf("%d runs at the server, want %d", got, c.sent)
			}
			if got := len(p.offlineRuns(t)); got != c.offline {
				t.Errorf("%d offline runs, want %d", got, c.offline)
			}
			p.event(t, "e.json")
			p.checkNoKey(t)
		})
	}
}

// Whatever the server does, the event is where it belongs, the exit code is the command's, and
// there is one warning, and an offline run with the command that sends it.
func TestWandbFaults(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	for name, c := range map[string]struct {
		fault wandbtest.Fault
		env   string
		said  string
	}{
		"401":             {wandbtest.Fault{Status: 401, Body: `{"errors":[{"message":"no"}]}`}, "", "401"},
		"403":             {wandbtest.Fault{Op: "UpsertBucket", Status: 403}, "", "403"},
		"409":             {wandbtest.Fault{Op: "UpsertBucket", Status: 409}, "", "409"},
		"500":             {wandbtest.Fault{Op: "file_stream", Status: 500, Body: "<html>"}, "", "500"},
		"429":             {wandbtest.Fault{Status: 429, Header: map[string]string{"Retry-After": "3600"}}, "", "429"},
		"hang":            {wandbtest.Fault{Hang: true}, "", ""},
		"reset":           {wandbtest.Fault{Reset: true}, "", ""},
		"HTML under 200":  {wandbtest.Fault{Body: "<html>welcome</html>"}, "", ""},
		"error under 200": {wandbtest.Fault{Op: "UpsertBucket", Body: `{"errors":[{"message":"project is gone"}]}`}, "", "project is gone"},
		"nothing in it":   {wandbtest.Fault{Op: "UpsertBucket", Body: `{"data":{}}`}, "", ""},
		"no server":       {wandbtest.Fault{}, "WANDB_BASE_URL=http://" + nobody, "refused"},
		"dead proxy":      {wandbtest.Fault{}, "WANDB_BASE_URL=http://wandb.invalid\nWANDB_HTTP_PROXY=http://u:sesame-open@" + nobody, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, url := wandbServer(t)
			if c.env == "" {
				b.Fail(c.fault)
			}
			p := withWandb(t, url, "run", "--wandb", "online", "--wandb-timeout", "3s", "-o", "e.json", "--", "sh", "-c", "kill -KILL $$")
			if c.env != "" {
				p.Env = append(p.Env, strings.Split(c.env, "\n")...)
			}
			if err := p.launch(t); err != nil {
				t.Fatal(err)
			}
			if end := p.finish(t); end != "SIGKILL" {
				t.Errorf("ended with %s", end)
			}
			said := p.output.String()
			runs := p.offlineRuns(t)
			if len(runs) != 1 {
				t.Fatalf("offline runs %q; said:\n%s", runs, said)
			}
			want := "upload it with: wandb sync " + filepath.Dir(runs[0])
			if !strings.HasPrefix(said, "vobs: warning: the event was not sent to W&B: ") || strings.Count(said, "\n") != 1 || !strings.Contains(said, want) || !strings.Contains(said, c.said) {
				t.Errorf("said %q, want one warning with %q and %q", said, c.said, want)
			}
			if strings.Contains(said, "sesame") {
				t.Errorf("said the proxy's password: %s", said)
			}
			p.event(t, "e.json")
			p.checkNoKey(t)
		})
	}
}

// A shutdown signal ends the upload, but loses neither the event nor the exit code.
func TestWandbInterrupted(t *testing.T) {
	b, url := wandbServer(t)
	b.Fail(wandbtest.Fault{Hang: true})
	p := withWandb(t, url, "run", "--wandb", "online", "--wandb-timeout", "1h", "-o", "e.json", "--", "sh", "-c", "exit 5")
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	p.eventually(t, func() error {
		if len(b.Requests()) == 0 {
			return fmt.Errorf("no request yet")
		}
		return nil
	})
	p.event(t, "e.json") // it is written before the upload
	p.send(t, syscall.SIGTERM)
	if end := p.finish(t); end != "5" {
		t.Errorf("ended with %s", end)
	}
	if len(p.offlineRuns(t)) != 1 {
		t.Errorf("no offline run; said:\n%s", &p.output)
	}
}

// The job's own run is continued where it ended: nothing of it is lost, and its state stays.
func TestWandbJobsRun(t *testing.T) {
	t.Parallel() // it waits for the server's lag
	b, url := wandbServer(t)
	code := 0
	b.Put(wandbtest.Run{Entity: "team", Project: "p", ID: "job1", State: "finished", ExitCode: &code, Tags: []string{"a"},
		Config:  `{"lr":{"value":1},"_wandb":{"value":{"t":{}}}}`,
		Summary: `{"loss":0.5,"_step":1,"_runtime":9,"_timestamp":1700000000}`,
		Lines:   []string{`{"loss":1,"_step":0,"_runtime":1,"_timestamp":1700000000}`, `{"loss":0.5,"_step":1,"_runtime":9,"_timestamp":1700000008}`}})
	p := withWandb(t, url, "run", "--wandb", "auto", "-o", "e.json", "--", "sh", "-c", "exit 4")
	p.Env = append(p.Env, "WANDB_RUN_ID=job1", "WANDB_ENTITY=team", "WANDB_PROJECT=p")
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	if end := p.finish(t); end != "4" {
		t.Errorf("ended with %s:\n%s", end, &p.output)
	}
	e := p.event(t, "e.json")
	r, slots := b.Run("team", "p", "job1"), seriesSlots(&e)
	if len(b.Runs()) != 1 || r.State != "finished" || *r.ExitCode != 0 || len(r.History()) != 3+slots || len(r.Overwritten) > 0 {
		t.Fatalf("runs %d, %+v; said:\n%s", len(b.Runs()), r, &p.output)
	}
	row, summary := decoded(t, r.History()[2+slots]), decoded(t, r.Summary)
	if row["_step"] != 2.0+float64(slots) || row["vllm_gen/flag_did_not_engage"] != false || summary["loss"] != 0.5 || summary["vllm_gen/flag_did_not_engage"] != false {
		t.Errorf("row %v, summary %v", row, summary)
	}
	if !strings.Contains(r.Config, `"lr"`) || !slices.Equal(r.Tags, []string{"a"}) || r.Files["vobs-event.json"] == nil {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(p.output.String(), "the event was added to ") {
		t.Errorf("said:\n%s", &p.output)
	}
}

// Wrong settings are reported before the command starts.
func TestWandbRefused(t *testing.T) {
	for args, want := range map[string]string{
		"run --wandb sometimes -- touch started":                 `--wandb: unknown value "sometimes"`,
		"run --wandb auto --wandb-run-id a/b -- touch started":   "--wandb-run-id",
		"run --wandb auto --wandb-project a/b -- touch started":  "--wandb-project",
		"run --wandb auto --wandb-timeout 0s -- touch started":   "--wandb-timeout",
		"run --wandb auto --wandb-timeout soon -- touch started": "wandb-timeout",
		"wandb":                            "no file to send",
		"wandb nowhere.json":               "nowhere.json",
		"wandb bad.json":                   "bad.json",
		"wandb none.json":                  "empty: expected an event",
		"wandb --wandb sometimes bad.json": "unknown value",
	} {
		b, url := wandbServer(t)
		p := withWandb(t, url, strings.Fields(args)...)
		for name, text := range map[string]string{"bad.json": `{"peak_vram_gb":"much"}`, "none.json": "\n"} {
			if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.launch(t); err != nil {
			t.Fatal(err)
		}
		code := "2"
		if strings.HasPrefix(args, "run") {
			code = "125"
		}
		if end := p.finish(t); end != code || !strings.Contains(p.output.String(), want) {
			t.Errorf("%s: ended with %s, said:\n%s", args, end, &p.output)
		}
		if _, err := os.Stat(filepath.Join(p.Dir, "started")); err == nil || len(b.Requests()) > 0 {
			t.Errorf("%s: something was done", args)
		}
	}
}

// Several events in one file, with what else such a file may contain.
func TestWandbFiles(t *testing.T) {
	b, url := wandbServer(t)
	made := withWandb(t, url, "run", "--append", "e.jsonl", "--", "true")
	for range 2 {
		p := withWandb(t, url, "run", "--append", filepath.Join(made.Dir, "e.jsonl"), "--", "true")
		if err := p.launch(t); err != nil {
			t.Fatal(err)
		}
		p.finish(t)
	}
	core := filepath.Join(made.Dir, "core.json")
	if err := os.WriteFile(core, []byte(`{"peak_vram_gb":64.5,"kv_cache_usage_perc":null,"prefix_cache_hit_rate":null,"spec_accept_rate":null,"loadavg_pre":null,"loadavg_post":null,"engine_runtime_config":{},"flag_did_not_engage":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := withWandb(t, url, "wandb", "--wandb-prefix", "x", filepath.Join(made.Dir, "e.jsonl"), core)
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	if end := p.finish(t); end != "0" || strings.Count(p.output.String(), "the event is at") != 3 {
		t.Errorf("ended with %s:\n%s", end, &p.output)
	}
	runs := b.Runs()
	if len(runs) != 3 {
		t.Fatalf("%d runs", len(runs))
	}
	if summary := decoded(t, runs[2].Summary); summary["x/peak_vram_gb"] != 64.5 || summary["x/flag_did_not_engage"] != true {
		t.Errorf("summary %s", runs[2].Summary)
	}

	// One that cannot be sent: exit code 1, and an offline run.
	b.Fail(wandbtest.Fault{Op: "UpsertBucket", Status: 403})
	p = withWandb(t, url, "wandb", core)
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	if end := p.finish(t); end != "1" || len(p.offlineRuns(t)) != 1 {
		t.Errorf("ended with %s:\n%s", end, &p.output)
	}
}

// seriesSlots returns the number of slots of an event's series; all of them have a reading of the
// process tree.
func seriesSlots(e *schema.GenerationObservability) int {
	if e.Series == nil {
		return 0
	}
	return len(e.Series.Curves[0].Max)
}
