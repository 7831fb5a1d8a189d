package run

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

const exampleFile = "../../../testdata/events/example.json"

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func one(t testing.TB, doc string) *events.Event {
	t.Helper()
	var found []*events.Event
	for e, err := range events.Read(strings.NewReader(doc)) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, e)
	}
	if len(found) != 1 {
		t.Fatalf("%d events, want 1", len(found))
	}
	return found[0]
}

func render(t testing.TB, e *events.Event, o Options) *Run {
	t.Helper()
	if o.Now.IsZero() {
		o.Now = now
	}
	r, err := FromFile(e, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// document returns a run as indented JSON.
func document(t testing.TB, r *Run) []byte {
	t.Helper()
	copied := *r
	copied.Files = nil
	b, err := json.MarshalIndent(copied, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func TestGoldenRuns(t *testing.T) {
	core := `{"peak_vram_gb":64.0,"kv_cache_usage_perc":null,"prefix_cache_hit_rate":0.25,"spec_accept_rate":null,"loadavg_pre":[0.1,0.2,0.3],"loadavg_post":null,"engine_runtime_config":{"max_num_seqs":64,"other":"x<y","none":null,"list":[1,{"a":null}]},"flag_did_not_engage":false}`
	for name, e := range map[string]*events.Event{
		"example": one(t, string(read(t, exampleFile))),
		"core":    one(t, core),
		"log":     one(t, `{"message":"vLLM generation complete","extra":{"ctx":`+core+`},"level":"info"}`),
	} {
		got := document(t, render(t, e, Options{Writer: "vobs 1.2.3"}))
		testkit.Golden(t, "testdata/"+name+".json", got)
	}
}

func TestEventFileIsTheDeliveredEvent(t *testing.T) {
	doc := read(t, exampleFile)
	var want bytes.Buffer
	if err := json.Compact(&want, doc); err != nil {
		t.Fatal(err)
	}
	want.WriteByte('\n')
	e := one(t, string(doc))
	if files := render(t, e, Options{}).Files; len(files) != 1 || files[0].Name != "vobs-event.json" || !bytes.Equal(files[0].Content, want.Bytes()) {
		t.Errorf("the files are %q", files)
	}
	delivered := []byte(`{"as":"delivered"}` + "\n")
	r, err := FromEvent(e.GenerationObservability, delivered, Options{Now: now})
	if err != nil || !bytes.Equal(r.Files[0].Content, delivered) {
		t.Errorf("%v, %q", err, r.Files)
	}
	// Without it, the whole event is encoded.
	r, err = FromEvent(e.GenerationObservability, nil, Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if again := one(t, string(r.Files[0].Content)); again.GenerationObservability.Run.ID != e.GenerationObservability.Run.ID || again.CoreOnly {
		t.Errorf("encoded, it is %s", r.Files[0].Content)
	}
}

// The keys and values for the example; schema.WandbPayload has the rules.
func TestPayload(t *testing.T) {
	e := one(t, string(read(t, exampleFile)))
	for _, c := range []struct{ given, want string }{{"", "vllm_gen"}, {"mine", "mine"}, {"a/b", "a/b"}} {
		r := render(t, e, Options{Prefix: c.given})
		last := r.Rows[len(r.Rows)-1]
		for _, list := range [][]Item{r.Summary, last.Items} {
			var keys []string
			for _, i := range list {
				keys = append(keys, i.Key)
				if strings.HasSuffix(i.Key, "/flag_did_not_engage") && string(i.JSON) != "true" {
					t.Errorf("%s is %s", i.Key, i.JSON)
				}
			}
			if len(list) != 17 || keys[0] != c.want+"/peak_vram_gb" || keys[16] != c.want+"/engine_runtime/speculative_method" {
				t.Errorf("prefix %q: %q", c.given, keys)
			}
		}
		if len(r.Rows) != 8 || !last.Time.Equal(time.Date(2026, 11, 21, 10, 1, 41, 556e6, time.UTC)) {
			t.Errorf("rows %v: want seven of the series, and one at the command's end", r.Rows)
		}
	}
}

func TestFromEventEqualsFromFile(t *testing.T) {
	e := one(t, string(read(t, exampleFile)))
	live, err := FromEvent(e.GenerationObservability, e.Line, Options{Writer: "w"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(document(t, render(t, e, Options{Writer: "w"}))), string(document(t, live))); diff != "" {
		t.Errorf("(-file +live):\n%s", diff)
	}
}

func TestIDs(t *testing.T) {
	doc := string(read(t, exampleFile))
	id := render(t, one(t, doc), Options{}).ID
	if id != "019aa8f2-6c1e-7b6a-9d0e-3f6f1d2a9c11" {
		t.Errorf("the run's id is %q, want the event's", id)
	}
	odd := render(t, one(t, strings.ReplaceAll(doc, id, "a/b")), Options{}).ID
	other := render(t, one(t, strings.ReplaceAll(doc, id, "a/c")), Options{}).ID
	core := `{"peak_vram_gb":64.0}`
	first, second := render(t, one(t, core), Options{}), render(t, one(t, core+"\n"), Options{Now: now.Add(time.Hour)})
	for _, id := range []string{odd, other, first.ID} {
		if CheckID(id) != nil || !strings.HasPrefix(id, "vobs-") {
			t.Errorf("the id %q: %v", id, CheckID(id))
		}
	}
	if odd == other || first.ID == odd {
		t.Errorf("two events have one id: %q, %q, %q", odd, other, first.ID)
	}
	if first.ID != second.ID {
		t.Errorf("one event has two ids: %q and %q", first.ID, second.ID)
	}
	if !second.StartTime.Equal(now.Add(time.Hour)) || !second.Rows[0].Time.Equal(now.Add(time.Hour)) {
		t.Errorf("a core without times is of %v, %v", second.StartTime, second.Rows[0].Time)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		run  schema.Run
		core bool
		want int
	}{
		{"success", schema.Run{ExitCode: schema.Ptr(0)}, false, 0},
		{"failure", schema.Run{ExitCode: schema.Ptr(3)}, false, 3},
		{"terminated", schema.Run{Signal: schema.Ptr("SIGTERM")}, false, 143},
		{"killed", schema.Run{Signal: schema.Ptr("SIGKILL")}, false, 137},
		{"a real-time signal", schema.Run{Signal: schema.Ptr("SIG34")}, false, 162},
		{"an unknown signal", schema.Run{Signal: schema.Ptr("SIGWHAT")}, false, 1},
		{"not found", schema.Run{StartError: schema.Ptr(`cannot run "x": not found in PATH: no such file or directory; check its spelling`)}, false, 127},
		{"not found, redacted", schema.Run{StartError: schema.Ptr(`cannot run "KEY=<redacted>": no such file or directory; NAME=VALUE before a command is shell syntax`)}, false, 127},
		{"no hint", schema.Run{StartError: schema.Ptr(`cannot run "x": its interpreter "/y" was not found: no such file or directory`)}, false, 127},
		{"empty", schema.Run{StartError: schema.Ptr(`cannot run "": the command's name is empty: no such file or directory; is the variable that should hold it unset?`)}, false, 127},
		{"a name like an error", schema.Run{StartError: schema.Ptr(`cannot run "./\"x\": not found: no such file or directory; ": permission denied; make it executable`)}, false, 126},
		{"not executable", schema.Run{StartError: schema.Ptr(`cannot run "x": permission denied`)}, false, 126},
		{"an unknown end", schema.Run{}, false, 1},
		{"the core alone", schema.Run{}, true, 0},
	} {
		e := &source{Event: &events.Event{GenerationObservability: &schema.GenerationObservability{Run: c.run}, CoreOnly: c.core}}
		if got := e.exitCode(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func configOf(t testing.TB, r *Run) map[string]any {
	t.Helper()
	var out map[string]any
	if len(r.Config) != 1 || r.Config[0].Key != "vobs" {
		t.Fatalf("the configuration has %d items: %s", len(r.Config), r.Config)
	}
	if err := json.Unmarshal(r.Config[0].JSON, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPartialEvents(t *testing.T) {
	e := one(t, string(read(t, exampleFile)))
	if got := configOf(t, render(t, e, Options{}))["partial"]; got != false {
		t.Errorf("a whole event: partial is %v", got)
	}
	e.Partial, e.GenerationObservability.Run.EndedAt, e.GenerationObservability.Run.ExitCode = true, nil, nil
	r := render(t, e, Options{})
	if got := configOf(t, r)["partial"]; got != true || r.ExitCode == 0 {
		t.Errorf("a partial event: partial is %v, the exit code %d", got, r.ExitCode)
	}
}

func TestConfigOmitsTheUnknown(t *testing.T) {
	e := &schema.GenerationObservability{SchemaVersion: 1, Run: schema.Run{ID: "x", StartedAt: "2026-11-21T10:00:00Z", Command: []string{"a<b"}}}
	r, err := FromEvent(e, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"schema_version":1,"run_id":"x","partial":false,"command":["a<b"]}`; string(r.Config[0].JSON) != want {
		t.Errorf("the configuration is %s, want %s", r.Config[0].JSON, want)
	}
	e.GPUs = []schema.GPU{}
	if r, err = FromEvent(e, nil, Options{}); err != nil || configOf(t, r)["gpus"].(map[string]any)["count"] != 0.0 {
		t.Errorf("no GPU visible: %v, %s", err, r.Config)
	}
}

func TestNumbersThatJSONLacks(t *testing.T) {
	inf := schema.Float(1)
	inf /= 0.0000000001
	e := &schema.GenerationObservability{
		Core:   schema.Core{PeakVRAMGB: &inf},
		Engine: &schema.Engine{Config: &schema.EngineConfig{Values: map[string]any{"x": nan()}}},
		Run:    schema.Run{ID: "x", StartedAt: "2026-11-21T10:00:00Z"},
	}
	r, err := FromEvent(e, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(r.Config[0].JSON) || !strings.Contains(string(r.Config[0].JSON), `"x":null`) {
		t.Errorf("the configuration is %s", r.Config[0].JSON)
	}
}

func nan() float64 { var zero float64; return zero / zero }

func TestInvalidTimes(t *testing.T) {
	for _, run := range []schema.Run{{StartedAt: "yesterday"}, {StartedAt: "2026-11-21T10:00:00Z", DurationSeconds: -1}} {
		if _, err := FromEvent(&schema.GenerationObservability{Run: run}, nil, Options{}); err == nil {
			t.Errorf("%+v: no error", run)
		}
	}
}

func TestCheckID(t *testing.T) {
	for _, good := range []string{"a", "abc12345", "019aa8f2-6c1e-7b6a-9d0e-3f6f1d2a9c11", "with space", "ü", strings.Repeat("x", 64)} {
		if err := CheckID(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " a", "a\n", "a:b", "a;b", "a,b", "a#b", "a?b", "../a", "a'b", `a\b`, "a\x00b", "\xff", strings.Repeat("x", 65)} {
		if CheckID(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestMerge(t *testing.T) {
	got := Merge([]Item{{"a", []byte("1")}, {"b", []byte("2")}}, nil, []Item{{"c", []byte("3")}, {"a", []byte("4")}})
	if diff := cmp.Diff([]Item{{"a", []byte("4")}, {"b", []byte("2")}, {"c", []byte("3")}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
