package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/wandb/run"
	"github.com/vobs/vobs/internal/wandb/wandbtest"
)

// wire returns everything that was sent to the server, for a golden file.
func wire(b *bench) []byte {
	var out bytes.Buffer
	for _, r := range b.backend.Requests() {
		fmt.Fprintf(&out, "== %s %s\n", r.Op, r.Path)
		for _, name := range []string{"Authorization", "Content-Type", "User-Agent", "X-Wandb-Username", "X-Wandb-User-Email", "X-Extra"} {
			for _, value := range r.Header.Values(name) {
				fmt.Fprintf(&out, "%s: %s\n", name, strings.ReplaceAll(value, APIKey(wandbtest.Key).(apiKey).encoded(), "KEY"))
			}
		}
		var body struct {
			Query     string
			Variables json.RawMessage
		}
		if json.Unmarshal(r.Body, &body) == nil && body.Query != "" {
			fmt.Fprintf(&out, "%s\nvariables: %s\n", body.Query, body.Variables)
			continue
		}
		fmt.Fprintf(&out, "%s\n", bytes.TrimSpace(r.Body))
	}
	return out.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	testkit.Golden(t, filepath.Join("testdata", name), got)
}

func TestNewRun(t *testing.T) {
	b := newBench(t)
	b.Username, b.Email, b.Headers = "me", "me@x", map[string]string{"X-Extra": "of the user"}
	got, err := b.Send(context.Background(), event(), Target{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Result{URL: b.server.URL + "/ent0/p/runs/vobs-1", Entity: "ent0", Project: "p", ID: "vobs-1"}, got); d != "" {
		t.Error(d)
	}
	golden(t, "new.golden", wire(b))

	stored := b.backend.Run("ent0", "p", "vobs-1")
	want(t, "state", stored.State, "failed")
	want(t, "exit code", *stored.ExitCode, 3)
	want(t, "rows", len(stored.History()), 2)
	want(t, "file", string(stored.Files["vobs-event.json"]), "{\"a\":1}\n")
	want(t, "uploaded", fmt.Sprint(stored.Uploaded), "[vobs-event.json]")
	want(t, "notes", stored.Notes, "of <it> & more")
	for _, r := range b.backend.Requests() {
		if r.Op == "PUT" && r.Header.Get("X-Extra") != "" {
			t.Error("the file storage got the user's headers")
		}
	}
}

// The same event sent again gives the same run, with nothing twice.
func TestSentTwice(t *testing.T) {
	b := newBench(t)
	for range 2 {
		if _, err := b.Send(context.Background(), event(), Target{}); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "runs", len(b.backend.Runs()), 1)
	stored := b.backend.Run("ent0", "p", "vobs-1")
	want(t, "rows", len(stored.History()), 2)
	want(t, "state", stored.State, "failed")

	// Somebody continues it, and the event is sent once more: what was added stays.
	b.backend.Change("ent0", "p", "vobs-1", func(r *wandbtest.Run) {
		r.Lines = append(r.Lines, `{"_step":2,"mine":NaN}`)
		r.Summary = `{"mine":NaN,"vllm_gen/peak_vram_gb":1,"_step":2,"_timestamp":9e9,"_wandb":{"runtime":500}}`
		r.Config = `{"mine":{"value":1},"_wandb":{"value":{"t":{}}}}`
		r.State = "finished"
	})
	if _, err := b.Send(context.Background(), event(), Target{}); err != nil {
		t.Fatal(err)
	}
	stored = b.backend.Run("ent0", "p", "vobs-1")
	want(t, "rows", len(stored.History()), 3)
	want(t, "state", stored.State, "finished")
	want(t, "summary", stored.Summary,
		`{"mine":NaN,"vllm_gen/peak_vram_gb":64.5,"_step":2,"_timestamp":9e9,"_wandb":{"runtime":500},"vllm_gen/flag_did_not_engage":false}`)
	want(t, "config", stored.Config, `{"mine":{"value":1},"_wandb":{"value":{"t":{}}}}`)

	// Somebody still writes to it: its end must stay open.
	b.backend.Change("ent0", "p", "vobs-1", func(r *wandbtest.Run) { r.State = "running" })
	if _, err := b.Send(context.Background(), event(), Target{}); err != nil {
		t.Fatal(err)
	}
	want(t, "state", b.backend.Run("ent0", "p", "vobs-1").State, "running")
}

// Names that the server chooses, and names that must be escaped in addresses.
func TestNames(t *testing.T) {
	b := newBench(t)
	bare := run.Run{ID: "a b+é", Project: "a b%é", Writer: "vobs", StartTime: began}
	bare.Entity = "team %one"
	got, err := b.Send(context.Background(), bare, Target{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "URL", got.URL, b.server.URL+"/team%20%25one/a%20b%25%C3%A9/runs/a%20b+%C3%A9")
	stored := b.backend.Run("team %one", "a b%é", "a b+é")
	if stored == nil {
		t.Fatal("the run is not at its address")
	}
	want(t, "state", stored.State, "finished")
	want(t, "summary", stored.Summary, `{"_step":0,"_timestamp":1795341600.25,"_runtime":0,"_wandb":{"runtime":0}}`)

	got, err = b.Send(context.Background(), run.Run{ID: "x", StartTime: began}, Target{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "where it went", got.Entity+"/"+got.Project, "ent0/uncategorized")
}

func TestAppURL(t *testing.T) {
	for base, app := range map[string]string{
		"https://api.wandb.ai":            "https://wandb.ai",
		"https://api.wandb.ai/":           "https://wandb.ai",
		"http://api.wandb.test":           "http://app.wandb.test",
		"https://api.example.com":         "https://app.example.com",
		"http://localhost:8080/":          "http://localhost:8080",
		"https://user:secret@wandb.local": "https://wandb.local",
	} {
		want(t, base, (&Client{BaseURL: base}).App(), app)
	}
	want(t, "explicit", (&Client{BaseURL: "https://api.wandb.ai", AppURL: "https://x/"}).RunURL("e", "p", "i"), "https://x/e/p/runs/i")
}

// Too many rows for one request are sent in several, in order, with the end last.
func TestRequests(t *testing.T) {
	code := 0
	s := stream{offset: 7, rows: []string{"aaaa", "bbbb", "cccccccccccc", "d"}, summary: "{}", uploaded: []string{"f"}, exitCode: &code}
	var got []string
	for _, p := range s.requests(10) {
		got = append(got, string(run.Encode(p)))
	}
	if d := cmp.Diff([]string{
		`{"files":{"wandb-history.jsonl":{"offset":7,"content":["aaaa","bbbb"]}}}`,
		`{"files":{"wandb-history.jsonl":{"offset":9,"content":["cccccccccccc"]}}}`,
		`{"files":{"wandb-history.jsonl":{"offset":10,"content":["d"]},"wandb-summary.json":{"offset":0,"content":["{}"]}},"uploaded":["f"],"complete":true,"exitcode":0}`,
	}, got); d != "" {
		t.Error(d)
	}
}

func TestBadInput(t *testing.T) {
	for name, change := range map[string]func(*run.Run){
		"the run has no id":                func(r *run.Run) { r.ID = "" },
		`config: the value of "k" is not`:  func(r *run.Run) { r.Config = []run.Item{item("k", "NaN")} },
		`summary: the value of "k" is not`: func(r *run.Run) { r.Summary = []run.Item{item("k", "")} },
		`history: the value of "k" is not`: func(r *run.Run) { r.Rows[1].Items = []run.Item{item("k", `1}`)} },
	} {
		b := newBench(t)
		r := event()
		change(&r)
		_, err := b.Send(context.Background(), r, Target{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
		want(t, "requests", len(b.backend.Requests()), 0)
	}
}

// Many runs through one client, and through separate clients.
func TestConcurrency(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for i := range 16 {
		r := event()
		r.ID = fmt.Sprintf("vobs-%d", i)
		c := b.Client
		if i%2 == 0 {
			c = b.client(t)
		}
		wg.Go(func() {
			if _, err := c.Send(context.Background(), r, Target{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want(t, "runs", len(b.backend.Runs()), 16)
	for _, stored := range b.backend.Runs() {
		want(t, stored.ID, len(stored.History()), 2)
	}
}
