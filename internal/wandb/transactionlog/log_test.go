package transactionlog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/wandb/run"
)

func item1(key, text string) run.Item {
	return run.Item{Key: key, JSON: json.RawMessage(text)}
}

// example returns a run with everything that a run can have.
func example() *run.Run {
	start := time.Unix(1795343020, 250e6).UTC()
	return &run.Run{
		ID: "own1", Entity: "ent0", Project: "proj", Group: "g", JobType: "report", Name: "a name", Notes: "some notes",
		Tags: []string{"t1", "t2"}, Host: "bench-07",
		Config: []run.Item{item1("vobs_version", `"1.2.3"`), item1("command", `["python","x.py"]`)},
		Rows: []run.Row{
			{Time: start.Add(time.Second), Items: []run.Item{item1("vobs/power", `300.5`)}},
			{Time: start.Add(12500 * time.Millisecond), Items: []run.Item{item1("vllm_gen/kv_cache_usage_perc", `0.5`), item1("odd", "NaN")}},
		},
		Summary:   []run.Item{item1("vllm_gen/kv_cache_usage_perc", `0.5`), item1("vllm_gen/flag_did_not_engage", `false`)},
		Files:     []run.File{{Name: "vobs-event.json", Content: []byte("{}\n")}},
		StartTime: start, Duration: 12500 * time.Millisecond, ExitCode: 3, Writer: "vobs 1.2.3",
	}
}

func encode(t testing.TB, r *run.Run, earlier *Previous) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r, earlier); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(t testing.TB, file []byte) *Log {
	t.Helper()
	l, err := Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func texts(items []run.Item) map[string]string {
	out := map[string]string{}
	for _, i := range items {
		out[i.Key] = string(i.JSON)
	}
	return out
}

// `wandb sync` of the SDK 0.31.0 accepted the golden file against a local backend, and all
// of it arrived.
func TestGoldenFile(t *testing.T) {
	got := encode(t, example(), nil)
	const name = "testdata/own.wandb"
	if testkit.Update() {
		if err := os.WriteFile(name, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the file is\n%s\nwant\n%s", hex.Dump(got), hex.Dump(want))
	}
	if !strings.HasPrefix(hex.EncodeToString(want), "3a572642e1be00") {
		t.Errorf("it begins with %x", want[:7])
	}
}

// order returns the fields and numbers of the records.
func order(t *testing.T, file []byte) (out []string) {
	t.Helper()
	records, _ := unframe(file)
	for _, b := range records {
		var num uint64
		var name string
		err := each(b, func(field protowire.Number, v value) error {
			if field == recordNum {
				num = v.n
			} else {
				name = map[protowire.Number]string{
					recordHeader: "header", recordRun: "run", recordHistory: "history", recordSummary: "summary", recordFiles: "files",
					recordExit: "exit", recordFinal: "final", recordEnvironment: "environment",
				}[field]
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(num, " ", name))
	}
	return out
}

func TestOrderOfRecords(t *testing.T) {
	want := []string{"1 header", "2 run", "3 history", "4 history", "5 summary", "6 files", "7 exit", "8 final"}
	if diff := cmp.Diff(want, order(t, encode(t, example(), nil))); diff != "" {
		t.Error(diff)
	}
	want = []string{"1 header", "2 run", "3 environment", "4 history", "5 history", "6 summary", "7 files", "8 exit", "9 final"}
	if diff := cmp.Diff(want, order(t, encode(t, example(), &Previous{Environment: []byte{8, 1}}))); diff != "" {
		t.Error(diff)
	}
}

func TestOwnFilesAreReadBack(t *testing.T) {
	r := example()
	l := decode(t, encode(t, r, nil))
	want := &Log{
		Producer: "vobs 1.2.3", HasRun: true, ID: r.ID, Entity: r.Entity, Project: r.Project, Group: r.Group, JobType: r.JobType,
		Name: r.Name, Notes: r.Notes, Host: r.Host, Tags: r.Tags, Started: r.StartTime, Rows: 2, FirstStep: 0, LastStep: 1,
		LastRuntime: 12.5, Files: []string{"vobs-event.json"}, Exited: true, ExitCode: 3, Telemetry: []byte("\x2a\x0avobs 1.2.3"),
		Config: l.Config, Summary: l.Summary,
	}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(texts(r.Config), texts(l.Config)); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{
		"vllm_gen/kv_cache_usage_perc": "0.5", "vllm_gen/flag_did_not_engage": "false",
		"_step": "1", "_runtime": "12.5", "_timestamp": "1795343032.75", "_wandb": `{"runtime":12}`,
	}, texts(l.Summary)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// rows returns the history rows as they are sent.
func rows(t *testing.T, file []byte) (out []map[string]string) {
	t.Helper()
	records, _ := unframe(file)
	for _, b := range records {
		err := each(b, func(field protowire.Number, v value) error {
			if field != recordHistory {
				return nil
			}
			row := map[string]string{}
			out = append(out, row)
			return each(v.b, func(field protowire.Number, v value) error {
				switch field {
				case historyItem:
					path, text, err := item(v.b)
					row[strings.Join(path, ".")] = text
					return err
				case historyStep:
					return each(v.b, func(_ protowire.Number, v value) error { row["step"] = fmt.Sprint(v.n); return nil })
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestHistoryRows(t *testing.T) {
	want := []map[string]string{
		{"vobs/power": "300.5", "_step": "0", "_runtime": "1", "_timestamp": "1795343021.25"},
		{"vllm_gen/kv_cache_usage_perc": "0.5", "odd": "NaN", "_step": "1", "step": "1", "_runtime": "12.5", "_timestamp": "1795343032.75"},
	}
	if diff := cmp.Diff(want, rows(t, encode(t, example(), nil))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestContinuationRepeatsConfigAndSummary(t *testing.T) {
	sdk, err := os.ReadFile("testdata/sdk-0.31.0.wandb")
	if err != nil {
		t.Fatal(err)
	}
	job := decode(t, sdk)
	r := example()
	r.StartTime = job.Started.Add(-2 * time.Second) // the command starts before its run
	r.Rows = []run.Row{{Time: r.StartTime.Add(r.Duration), Items: r.Rows[1].Items}}
	file := encode(t, r, &Previous{
		NextStep: job.LastStep + 1, Started: job.Started, LastStarted: job.Started, Runtime: job.LastRuntime, Config: job.Config, Summary: job.Summary,
		SweepID: "sweep1", Telemetry: job.Telemetry, Environment: []byte{8, 1},
	})
	l := decode(t, file)
	wantConfig, wantSummary := texts(job.Config), texts(job.Summary)
	wantConfig["vobs_version"], wantConfig["command"] = `"1.2.3"`, `["python","x.py"]`
	wantSummary["vllm_gen/kv_cache_usage_perc"], wantSummary["vllm_gen/flag_did_not_engage"] = "0.5", "false"
	wantSummary["_step"], wantSummary["_runtime"], wantSummary["_wandb"] = "4", "10.5", `{"runtime":10}`
	wantSummary["_timestamp"] = string(decimal(float64(r.Rows[0].Time.UnixMicro()) / 1e6))
	if diff := cmp.Diff(wantConfig, texts(l.Config)); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantSummary, texts(l.Summary)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if l.FirstStep != 4 || l.LastStep != 4 || l.Sweep != "sweep1" || !bytes.Equal(l.Telemetry, job.Telemetry) || string(l.Environment) != "\x08\x01" {
		t.Errorf("steps %d to %d, sweep %q, telemetry %x, environment %x", l.FirstStep, l.LastStep, l.Sweep, l.Telemetry, l.Environment)
	}
	// wandb sync reads the files of one run in the order of their start times.
	if !l.Started.After(job.Started) {
		t.Errorf("it starts at %v, the run before at %v", l.Started, job.Started)
	}
	if got := rows(t, file)[0]["_runtime"]; got != "10.5" {
		t.Errorf("its line has _runtime %s, want 10.5", got)
	}
}

func TestContinuationStartsLater(t *testing.T) {
	r := example()
	r.Config = []run.Item{item1("vobs", "2")}
	// By another machine's clock, the job's run began after the end of our command.
	last := r.StartTime.Add(time.Hour)
	l := decode(t, encode(t, r, &Previous{NextStep: 1, Started: last, LastStarted: last, Config: []run.Item{item1("vobs", "1"), item1("lr", "3")}}))
	if !l.Started.After(last) {
		t.Errorf("it starts at %v, the run before at %v", l.Started, last)
	}
	if diff := cmp.Diff(map[string]string{"vobs": "2", "lr": "3"}, texts(l.Config)); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if l.LastRuntime != 0 {
		t.Errorf("it had lasted %v s before it began", l.LastRuntime)
	}
}

// The recording and record.py, which made it, are in testdata.
func TestFileOfTheSDK(t *testing.T) {
	file, err := os.ReadFile("testdata/sdk-0.31.0.wandb")
	if err != nil {
		t.Fatal(err)
	}
	l := decode(t, file)
	started, err := time.Parse(time.RFC3339Nano, "2026-11-22T10:31:07.96665Z")
	if err != nil {
		t.Fatal(err)
	}
	want := &Log{
		Producer: "0.31.0+15f8cbc581d1c5cfc6e31f68b48bdd13cec2dd2c", HasRun: true, ID: "job1abcd", Entity: "ent0", Project: "proj",
		Group: "g", JobType: "train", Name: "a job", Notes: "n", Host: "host0", Tags: []string{"t1", "t2"}, Started: started,
		Rows: 4, FirstStep: 0, LastStep: 3, LastRuntime: 0.301530579, Exited: true, ExitCode: 3,
		Config: l.Config, Summary: l.Summary, Telemetry: l.Telemetry,
	}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"_wandb": "{}", "late": "true", "lr": "0.1", "nested": `{"a":1,"b":{"c":[1,2]}}`}, texts(l.Config)); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{
		"_runtime": "0", "_step": "3", "_timestamp": "1.795343468271418e+09", "_wandb": `{"runtime":0}`, "best": "0.5",
		"big": `"` + strings.Repeat("x", 33000) + `"`, "d": `{"x":2,"y":NaN}`, "inf": "Infinity", "loss": "0.3333333333333333",
		"nest": `{"p":1,"q":{"r":2,"s":3}}`, "val/acc": "2",
	}, texts(l.Summary)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if !bytes.Contains(l.Telemetry, []byte("0.31.0")) {
		t.Errorf("telemetry %x", l.Telemetry)
	}
	// Cut within the exit record, it is the file of a run that has not ended.
	if l, err := Decode(bytes.NewReader(file[:len(file)-1])); !errors.Is(err, ErrTruncated) || l.Exited || l.Rows != 4 || l.LastStep != 3 {
		t.Errorf("cut: %v, exited %t, %d rows, last step %d", err, l.Exited, l.Rows, l.LastStep)
	}
}

// nested returns an update or a removal of a value at a path, as the SDK writes them.
func nested(field protowire.Number, text string, path ...string) []byte {
	var b []byte
	for _, key := range path {
		b = append(b, message(itemNested, []byte(key))...)
	}
	if text != "" {
		b = append(b, message(itemJSON, []byte(text))...)
	}
	return message(field, b)
}

func record(field protowire.Number, parts ...[]byte) []byte { return message(field, join(parts...)) }

func TestUpdates(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500)
	file := frame(t,
		record(recordRun, message(runConfig, join(nested(update, `{"a":1,"b":2}`, "c"), nested(update, "5", "k"), nested(update, "1", "gone")))),
		// wandb-core merges an object into the configuration, but replaces an object in
		// the summary.
		record(recordConfig, nested(update, `{"q":1}`, "c"), nested(update, "6", "k", "deep"), nested(remove, "", "gone"), nested(remove, "", "never", "was")),
		record(recordSummary, nested(update, `{"a":1,"b":{"x":1}}`, "n"), nested(update, `{"a":1}`, "m")),
		record(recordSummary, nested(update, "2", "n", "b", "y"), nested(update, `{"b":NaN}`, "m"), nested(remove, "", "n", "a")),
		record(recordSummary, nested(update, `1`, "v"), nested(update, "-Infinity", "v", "d")),
		record(recordSummary, nested(update, `1`, "dotted.key"), nested(update, ` { "x" : 1 , "é\n" : [ {} , NaN ] } `, "spaced"), nested(update, `{"x":1,"x":2}`, "twice")),
		record(recordSummary, nested(update, `{"a":Infinity,"b":-Infinity,"c":NaN}`, "tokens"), nested(remove, "", "tokens", "c")),
		record(recordSummary, nested(update, `{broken`, "odd"), nested(update, `{"a":1} x`, "odd2"), nested(update, deep, "deep"), nested(update, "", "nothing")),
	)
	l := decode(t, file)
	if diff := cmp.Diff(map[string]string{"c": `{"a":1,"b":2,"q":1}`, "k": `{"deep":6}`}, texts(l.Config)); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{
		"tokens": `{"a":Infinity,"b":-Infinity}`,
		"n":      `{"b":{"x":1,"y":2}}`, "m": `{"b":NaN}`, "v": `{"d":-Infinity}`, "dotted.key": "1", "twice": `{"x":2}`,
		"spaced": `{"x":1,"é\n":[ {} , NaN ]}`, "odd": "{broken", "odd2": `{"a":1} x`, "deep": deep,
	}, texts(l.Summary)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestStepsOfHistory(t *testing.T) {
	line := func(parts ...[]byte) []byte { return record(recordHistory, parts...) }
	for _, c := range []struct {
		name              string
		records           [][]byte
		rows, first, last int64
		runtime           float64
	}{
		{name: "no history", records: [][]byte{record(recordHeader)}, first: -1, last: -1},
		{"no step at all", [][]byte{line(nested(historyItem, "1", "loss"))}, 1, -1, -1, 0},
		{"a step of 0 is left out of its message", [][]byte{line(message(historyStep, nil))}, 1, 0, 0, 0},
		{"an item", [][]byte{line(nested(historyItem, "7", "_step"), nested(historyItem, "1.5", "_runtime"))}, 1, 7, 7, 1.5},
		{"a number", [][]byte{line(message(historyStep, number(stepNum, 9)))}, 1, 9, 9, 0},
		{"both", [][]byte{line(nested(historyItem, "3", "_step"), message(historyStep, number(stepNum, 3)))}, 1, 3, 3, 0},
		{"many, not in order", [][]byte{line(nested(historyItem, "5", "_step")), line(nested(historyItem, "50", "_step")), line(nested(historyItem, "20", "_step"))}, 3, 5, 50, 0},
		{"tokens that are no numbers", [][]byte{line(nested(historyItem, "NaN", "_step"), nested(historyItem, "Infinity", "_runtime"), nested(historyItem, "NaN", "loss"))}, 1, -1, -1, 0},
		{"a summary alone", [][]byte{record(recordSummary, nested(update, "9.5", "_runtime"))}, 0, -1, -1, 9.5},
		{"below 0", [][]byte{line(nested(historyItem, "-4", "_step"), message(historyStep, number(stepNum, -4)))}, 1, 0, 0, 0},
	} {
		l := decode(t, frame(t, c.records...))
		if l.Rows != c.rows || l.FirstStep != c.first || l.LastStep != c.last || l.LastRuntime != c.runtime {
			t.Errorf("%s: %d rows, steps %d to %d, %v s; want %d, %d to %d, %v", c.name, l.Rows, l.FirstStep, l.LastStep, l.LastRuntime, c.rows, c.first, c.last, c.runtime)
		}
	}
}

func TestRunRecord(t *testing.T) {
	for _, c := range []struct {
		name               string
		record             []byte
		resumed, mayResume bool
	}{
		{name: "new", record: text(runID, "x")},
		{"resume=allow", number(runResume, 1), false, true},
		{"resumed", number(runResumed, 1), true, false},
		{"with a starting step", number(runStartingStep, 5), true, false},
	} {
		l := decode(t, frame(t, record(recordRun, c.record)))
		if !l.HasRun || l.Resumed != c.resumed || l.MayResume != c.mayResume {
			t.Errorf("%s: run %t, resumed %t, may resume %t", c.name, l.HasRun, l.Resumed, l.MayResume)
		}
	}
	for seconds, want := range map[int64]bool{0: true, 1795343020: true, -1: false, 1 << 60: false, 253402300800: false} {
		l := decode(t, frame(t, record(recordRun, message(runStarted, number(timestampSeconds, seconds)))))
		if l.Started.IsZero() == want {
			t.Errorf("begun at %d s: %v", seconds, l.Started)
		}
	}
	for code, want := range map[int64]int{0: 0, 1: 1, 255: 255, -1: -1} {
		if l := decode(t, frame(t, record(recordExit, number(exitCode, code)))); !l.Exited || l.ExitCode != want {
			t.Errorf("exit code %d: exited %t with %d", code, l.Exited, l.ExitCode)
		}
	}
	if l := decode(t, frame(t, record(recordHeader))); l.HasRun || l.Exited {
		t.Error("a header alone is no run and no end")
	}
}

func TestInvalidProtobuf(t *testing.T) {
	good := record(recordExit, number(exitCode, 3))
	for name, bad := range map[string][]byte{
		"a tag alone":            {0x0a},
		"a length beyond":        {0x12, 0x7f, 0x0a},
		"a group without end":    {0x0b},
		"field 0":                {0x02, 0x00},
		"nested":                 record(recordHistory, []byte{0x0a, 0x05, 0x82}),
		"nested in the exit":     record(recordExit, []byte{0x08}),
		"nested in the run":      record(recordRun, message(runStarted, []byte{0xff})),
		"nested in the config":   record(recordConfig, message(update, []byte{0x0a, 0x09})),
		"nested in the files":    record(recordFiles, message(filesItem, []byte{0x0a, 0x09})),
		"nested in the header":   record(recordHeader, message(headerVersion, []byte{0x0a, 0x09})),
		"nested in the step":     record(recordHistory, message(historyStep, []byte{0x08})),
		"nested in the summary":  record(recordSummary, []byte{0x0f}),
		"nested in config's run": record(recordRun, message(runConfig, []byte{0x0a, 0x09})),
	} {
		l, err := Decode(bytes.NewReader(frame(t, good, bad, record(recordRun, text(runID, "x")))))
		if !errors.Is(err, ErrCorrupt) || !l.Exited || l.HasRun {
			t.Errorf("%s: %v; exited %t, run %t: want what was before, and %v", name, err, l.Exited, l.HasRun, ErrCorrupt)
		}
	}
}

func TestEnvironmentRecordsAreJoined(t *testing.T) {
	big := make([]byte, maxEnvironment)
	l := decode(t, frame(t, record(recordEnvironment, text(1, "os")), record(recordEnvironment, text(12, "host")), record(recordEnvironment, message(5, big)), record(recordTelemetry, text(telemetryCLI, "1")), record(recordTelemetry, text(telemetryCLI, "2"))))
	if want := join(text(1, "os"), text(12, "host")); !bytes.Equal(l.Environment, want) {
		t.Errorf("%d bytes %.40q, want %q", len(l.Environment), l.Environment, want)
	}
	// Each telemetry record is complete.
	if want := text(telemetryCLI, "2"); !bytes.Equal(l.Telemetry, want) {
		t.Errorf("telemetry %q, want %q", l.Telemetry, want)
	}
}

func TestInvalidUTF8IsRepaired(t *testing.T) {
	r := example()
	r.Host, r.Name = "h\xff", "\xc3("
	l := decode(t, encode(t, r, nil))
	if l.Host != "h\ufffd" || l.Name != "\ufffd(" {
		t.Errorf("host %q, name %q", l.Host, l.Name)
	}
}

func TestUnwritableRuns(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, &run.Run{}, nil); err == nil || b.Len() > 0 {
		t.Errorf("a run without an id: %v, %d bytes", err, b.Len())
	}
	whole := len(encode(t, example(), nil))
	for _, room := range []int{0, 6, 20, whole / 2, whole - 1} {
		if err := Write(&fullDisk{room}, example(), nil); err == nil {
			t.Errorf("room for %d bytes of %d: no error", room, whole)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, name := range []string{"testdata/own.wandb", "testdata/sdk-0.31.0.wandb"} {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file[:min(len(file), 700)])
		records, _ := unframe(file)
		for _, b := range records {
			if len(b) < 500 {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		// Anything else is taken as a record, since a fuzzer does not get past the checksum.
		if !bytes.HasPrefix(file, fileHeader[:]) {
			file = frame(t, file)
		}
		l, err := Decode(bytes.NewReader(file))
		if e := (*Error)(nil); err != nil && (!errors.As(err, &e) || e.Offset < 0 || e.Offset > int64(len(file))) {
			t.Fatalf("the error %v tells no place within %d bytes", err, len(file))
		}
		// What was read is written into another file, and read back.
		r := &run.Run{ID: "x", Config: l.Config, Summary: l.Summary}
		again := decode(t, encode(t, r, nil))
		for _, pair := range [][2][]run.Item{{l.Config, again.Config}, {l.Summary, again.Summary}} {
			after := texts(pair[1])
			for _, i := range pair[0] {
				if _, ok := after[strings.ToValidUTF8(i.Key, "\ufffd")]; !ok {
					t.Fatalf("the key %q is lost: %q", i.Key, after)
				}
			}
		}
		records, _ := unframe(file)
		got, _ := unframe(frame(t, records...))
		if len(records) != len(got) {
			t.Fatalf("%d records became %d", len(records), len(got))
		}
		for i := range records {
			if !bytes.Equal(records[i], got[i]) {
				t.Fatalf("record %d differs", i)
			}
		}
	})
}

func FuzzValues(f *testing.F) {
	for _, text := range []string{`{"a":{"b":[1,{"c":NaN}]},"d":-Infinity}`, `{}`, `{"a":1,}`, `"\`, `[`, `{"x":1,"x":{"y":2}}`, ` { } `, `{"\ud800":1}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if json.Valid([]byte(text)) && !valid(text) {
			t.Fatalf("%q is JSON", text)
		}
		o := object{}
		o.set([]string{"k"}, text, false)
		if got := string(o.items()[0].JSON); valid(text) && !valid(got) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

// valid reports whether text is one value of JSON, or of what Python's json module writes.
func valid(text string) bool {
	items, err := run.Members([]byte(`{"k":` + text + "}"))
	return err == nil && len(items) == 1
}
