package events

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/schema"
)

func readAll(r io.Reader) (out []*Event, err error) {
	for e, err := range Read(r) {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

func TestRead(t *testing.T) {
	var line bytes.Buffer
	if err := json.Compact(&line, readFile(t, exampleFile)); err != nil {
		t.Fatal(err)
	}
	core := `{"peak_vram_gb":64.0,"engine_runtime_config":{"max_num_seqs":64}}`
	foreign := `{"message":"something else","ctx":{}}`
	log := `{"message":"vLLM generation complete","ctx":` + core + `}`
	structlog := `{"message":"vLLM generation complete","extra":{"ctx":` + core + `},"level":"info"}`
	events, err := readAll(strings.NewReader(strings.Join([]string{line.String(), foreign, line.String(), core, log, structlog, `{"flag_did_not_engage":true}`}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 6 {
		t.Fatalf("%d events, want 6", len(events))
	}
	for i, e := range events {
		if e.CoreOnly != (i > 1) {
			t.Errorf("event %d: CoreOnly is %v", i, e.CoreOnly)
		}
		if i > 1 && i < 5 && (float64(*e.PeakVRAMGB) != 64 || *e.EngineRuntimeConfig.MaxNumSeqs != 64 || e.Settings != nil) {
			t.Errorf("event %d: %+v, settings %s", i, e.Core, e.Settings)
		}
	}
	if !bytes.Equal(events[0].Line, append(line.Bytes(), '\n')) {
		t.Errorf("the line is %s", events[0].Line)
	}
	if last := events[5]; !last.FlagDidNotEngage || string(last.Settings) != "{}" {
		t.Errorf("the last: %+v, settings %s", last.Core, last.Settings)
	}
}

// Other programs put anything into engine_runtime_config.
func TestForeignSettings(t *testing.T) {
	const settings = `{"max_num_seqs":"64","other":[1,{"a":null}]}`
	events, err := readAll(strings.NewReader(`{"engine_runtime_config": ` + settings + `}`))
	if err != nil || len(events) != 1 {
		t.Fatalf("%v, %v", events, err)
	}
	if string(events[0].Settings) != settings || events[0].EngineRuntimeConfig != (schema.EngineRuntimeConfig{}) {
		t.Errorf("settings %s, %+v", events[0].Settings, events[0].EngineRuntimeConfig)
	}
}

func TestReadRefuses(t *testing.T) {
	document := string(readFile(t, exampleFile))
	for name, c := range map[string]struct {
		file   string
		events int // in front of the fault
		want   string
	}{
		"empty":           {"", 0, "empty"},
		"no JSON":         {"x", 0, "line 1"},
		"a list":          {"[1]", 0, "expected an event"},
		"another object":  {`{"loss":1}`, 0, "loss"},
		"another record":  {`{"message":"something else","ctx":{}}`, 0, "no event"},
		"no context":      {`{"message":"vLLM generation complete"}`, 0, "ctx"},
		"two averages":    {"\n" + `{"loadavg_pre":[1,2]}`, 0, "line 2: loadavg_pre"},
		"a newer version": {`{"schema_version":2}`, 0, "newer vobs"},
		"settings":        {`{"engine_runtime_config":[]}`, 0, "engine_runtime_config"},
		"no null":         {`{"engine_runtime_config":null}`, 0, "engine_runtime_config"},
		"cut":             {document[:2000], 0, "line "},
		"a second, cut":   {`{"peak_vram_gb":1}` + "\n" + `{"peak_vram_gb":1`, 1, "line 2"},
	} {
		events, err := readAll(strings.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) || len(events) != c.events {
			t.Errorf("%s: %d events, %v, want %d and an error with %q", name, len(events), err, c.events, c.want)
		}
	}
}

// Events are decoded as encoding/json decodes them.
func TestDecodesAsJSON(t *testing.T) {
	example := readFile(t, exampleFile)
	var compact bytes.Buffer
	if err := json.Compact(&compact, example); err != nil {
		t.Fatal(err)
	}
	text := compact.String()
	for name, doc := range map[string]string{
		"lines":              string(readFile(t, "../../testdata/compare/runs.jsonl")),
		"indented":           string(example),
		"compact":            text,
		"escapes":            strings.Replace(text, `"hostname":"bench-07"`, `"hostname":"a\u00e4\"\n"`, 1),
		"labels":             strings.Replace(text, `"labels":{`, `"labels":{"a.b":"c","":"d",`, 1),
		"unknown keys":       strings.Replace(text, `"schema_version":1`, `"schema_version":1,"later":{"a":[1,{}]}`, 1),
		"duplicate keys":     strings.Replace(text, `"partial":false`, `"partial":false,"loadavg_pre":[1,2,3],"host":{"cpu_count":1}`, 1),
		"a threshold":        strings.Replace(text, `"threshold":0.01`, `"threshold":{"a":[true,null,"x",1e3]}`, 1),
		"the core":           `{"peak_vram_gb":64,"loadavg_pre":null,"engine_runtime_config":{"max_num_seqs":64,"kv_cache_dtype":null}}`,
		"the core, settings": `{"peak_vram_gb":6.4e1,"engine_runtime_config":{"max_num_seqs":64,"dtype":"half"}}`,
		"an empty core":      `{}`,
	} {
		fast := 0
		v := schema.StreamValidator{}
		c := newChecker(strings.NewReader(doc), &v)
		for {
			part, _, err := c.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got, gotErr := decode(&v, part)
			want, wantErr := parse(part.text[:part.size])
			if diff := gocmp.Diff(want, got); diff != "" || gotErr != nil || wantErr != nil {
				t.Errorf("%s: %v, want %v (-want +got)\n%s", name, gotErr, wantErr, diff)
			}
			if _, _, ok := v.Event(); ok && v.Compact() {
				fast++
			}
		}
		slow := name == "indented" || name == "duplicate keys" || name == "the core, settings" || name == "an empty core"
		if (fast == 0) != slow {
			t.Errorf("%s: %d events were decoded without encoding/json", name, fast)
		}
	}
}

// An iteration can be left early.
func TestReadStops(t *testing.T) {
	n := 0
	for e, err := range Read(strings.NewReader(strings.Repeat(`{"peak_vram_gb":1}`+"\n", 3))) {
		if n++; err != nil || e == nil || n > 1 {
			t.Fatalf("%d: %v, %v", n, e, err)
		}
		break
	}
}

func TestOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "e.json")
	if err := os.WriteFile(name, []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "{}" || f.Close() != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := Open(name + "x"); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}

	stdin := os.Stdin
	defer func() { os.Stdin = stdin }()
	if os.Stdin, err = os.Open(name); err != nil {
		t.Fatal(err)
	}
	defer os.Stdin.Close()
	if f, err = Open("-"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "{}" {
		t.Errorf("stdin: %q, %v", text, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stdin.Stat(); err != nil {
		t.Errorf("Close closed stdin: %v", err)
	}
}

func TestLimit(t *testing.T) {
	for n, fits := range map[int64]bool{4: false, 5: true, 6: true} {
		text, err := io.ReadAll(Limit(strings.NewReader("12345"), n))
		if (err == nil) != fits || int64(len(text)) != min(n, 5) {
			t.Errorf("%d bytes: %q, %v", n, text, err)
		}
	}
	_, err := io.ReadAll(Limit(&repeated{text: strings.Repeat(" ", 1<<20), n: 3}, 2<<20))
	if err == nil || err.Error() != "larger than 2 MiB" {
		t.Errorf("the error is %v", err)
	}
}

// In a folder only regular files and links to them are read: opening a pipe would wait for a
// writer.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"b.json", "a.jsonl", "notes.txt"} {
		must(os.WriteFile(in(name), nil, 0o666))
	}
	must(os.Mkdir(in("folder.json"), 0o777))
	must(os.Mkdir(in("empty"), 0o777))
	must(syscall.Mkfifo(in("pipe.json"), 0o666))
	must(os.Symlink("b.json", in("link.json")))
	must(os.Symlink("pipe.json", in("pipelink.json")))
	must(os.Symlink("nowhere", in("nowhere.json")))

	files, err := Files(dir)
	if want := []string{in("a.jsonl"), in("b.json"), in("link.json"), in("nowhere.json")}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%q, %v, want %q", files, err, want)
	}
	// A pipe that is named is read, as of <(...).
	for _, name := range []string{in("pipe.json"), in("b.json"), in("missing"), "-"} {
		if files, err := Files(name); err != nil || !slices.Equal(files, []string{name}) {
			t.Errorf("%s: %q, %v", name, files, err)
		}
	}
	if files, err := Files(in("empty")); err == nil || !strings.HasSuffix(err.Error(), "has no files that end in .json or .jsonl") {
		t.Errorf("an empty folder: %q, %v", files, err)
	}
}
