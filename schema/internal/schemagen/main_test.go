package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The generated files that are checked in are what the types give.
func TestFresh(t *testing.T) {
	out, page := filepath.Join(t.TempDir(), "event.schema.json"), filepath.Join(t.TempDir(), "event.md")
	checkedIn := read(t, "../../../docs/event.md")
	if err := os.WriteFile(page, checkedIn, 0o600); err != nil {
		t.Fatal(err)
	}
	models := filepath.Join(t.TempDir(), "models.py")
	if err := run(out, "../..", page, models); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, models), read(t, "../../../python/vobs/models.py")) {
		t.Error("python/vobs/models.py is stale: run go generate ./schema")
	}
	if !bytes.Equal(read(t, page), checkedIn) {
		t.Error("docs/event.md is stale: run go generate ./schema")
	}
	if !bytes.Equal(read(t, out), read(t, "../../event.schema.json")) {
		t.Error("event.schema.json is stale: run go generate ./schema")
	}
}

// The page has every key, every code, and explains every kind.
func TestPageComplete(t *testing.T) {
	page := string(read(t, "../../../docs/event.md"))
	for _, f := range schema.Fields() {
		if !strings.Contains(page, "\n| "+string(f.Kind)+" | ") {
			t.Errorf("docs/event.md does not explain the kind %s", f.Kind)
		}
	}
	for _, g := range schema.Codes() {
		for _, c := range g.Codes {
			if !strings.Contains(page, "\n| `"+string(c.Code)+"` | ") {
				t.Errorf("docs/event.md lacks the code %s", c.Code)
			}
		}
	}
	comments, err := readComments("../..")
	if err != nil {
		t.Fatal(err)
	}
	meanings := 0
	for key, meaning := range comments {
		if _, ok := typeNamed(key); !ok {
			continue
		}
		meanings++
		if meaning == "" || !strings.Contains(page, cell(meaning)) {
			t.Errorf("docs/event.md lacks the meaning of %s, %q", key, meaning)
		}
	}
	if meanings < 200 {
		t.Errorf("only %d keys were looked for", meanings)
	}
}

// typeNamed returns the field of the event's types that a comment's key, as
// "Type.Field", names.
func typeNamed(key string) (f reflect.StructField, ok bool) {
	name, field, _ := strings.Cut(key, ".")
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		if t.Name() == name && !ok {
			f, ok = t.FieldByName(field)
		}
		for i := range t.NumField() {
			if inner := structIn(t.Field(i).Type); inner != nil {
				walk(inner)
			}
		}
	}
	walk(reflect.TypeFor[schema.GenerationObservability]())
	return f, ok
}

// A part that grew must not run over the text behind it.
func TestReplacePartKeepsTheRest(t *testing.T) {
	begin, end := "<!-- keys: generated, run go generate ./schema -->\n", "<!-- end of keys -->\n"
	after := "\n" + strings.Repeat("Text behind the part.\n", 50)
	page := []byte("before\n" + begin + end + after)
	for _, text := range []string{"one line\n", "two\nlines\n", "a longer part\nof three\nlines\n", "short\n"} {
		var err error
		if page, err = replacePart(page, "keys", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if want := "before\n" + begin + "\n" + text + "\n" + end + after; string(page) != want {
			t.Fatalf("got %q, want %q", page, want)
		}
	}
	for _, broken := range []string{"", begin, end + begin, strings.TrimSpace(begin) + end} {
		if _, err := replacePart([]byte(broken), "keys", nil); err == nil {
			t.Errorf("%q was accepted", broken)
		}
	}
}

func TestCell(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                         "plain",
		"a|b <c> `<d>` and `e|f` < `g`": "a\\|b &lt;c> `<d>` and `e\\|f` &lt; `g`",
	} {
		if got := cell(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Parent is a type that the first events do not have.
type Parent struct {
	PID  int      `json:"pid"`
	Name string   `json:"name"`
	Args []string `json:"args"`
}

const leftoverKeys = "# a comment\n\nLeftover.pid\nLeftover.command\nLeftover.rss_bytes\nLeftover.gpu_memory_bytes\n"

// A key that required.txt lacks is not required, so that older events stay valid.
func TestNewKeysAreOptional(t *testing.T) {
	type Leftover struct {
		PID            int     `json:"pid"`
		Command        string  `json:"command"`
		RSSBytes       *int64  `json:"rss_bytes"`
		GPUMemoryBytes *int64  `json:"gpu_memory_bytes"`
		State          *string `json:"state"`
		Threads        []int   `json:"threads" schema:"nullable"`
		Parent         *Parent `json:"parent"`
	}
	g := newGenerator(nil, leftoverKeys)
	body := g.body(reflect.TypeFor[Leftover](), false)
	if err := g.check(); err != nil {
		t.Fatal(err)
	}
	if got, want := body["required"].([]string), []string{"pid", "command", "rss_bytes", "gpu_memory_bytes"}; !slices.Equal(got, want) {
		t.Errorf("required are %v, want %v", got, want)
	}
	if got := body["properties"].(map[string]any); len(got) != 7 {
		t.Errorf("the properties are %v", got)
	}
	if got := g.defs["Parent"].(map[string]any); got["required"] != nil {
		t.Errorf("a new object requires %v", got["required"])
	}
}

// A new key of an old object must be nullable: decoded from an older event it
// would be zero else.
func TestNewKeysAreNullable(t *testing.T) {
	type Leftover struct {
		PID            int      `json:"pid"`
		Command        string   `json:"command"`
		RSSBytes       *int64   `json:"rss_bytes"`
		GPUMemoryBytes *int64   `json:"gpu_memory_bytes"`
		Threads        int      `json:"threads"`
		Children       []string `json:"children"`
		Parent         Parent   `json:"parent"`
		Worker         *string  `json:"worker,omitempty"`
		Any            any      `json:"any"`
	}
	g := newGenerator(nil, leftoverKeys)
	g.body(reflect.TypeFor[Leftover](), false)
	err := g.check()
	if err == nil {
		t.Fatal("no error")
	}
	for key, want := range map[string]bool{
		"Leftover.threads": true, "Leftover.children": true, "Leftover.parent": true,
		"Leftover.pid": false, "Leftover.worker": false, "Leftover.any": false, "Parent.pid": false,
	} {
		if strings.Contains(err.Error(), key+" ") != want {
			t.Errorf("%s is named: %v, want %v, in\n%v", key, !want, want, err)
		}
	}
}

// A required key may not go, and may not become one that is left out at times.
func TestRequiredKeysStay(t *testing.T) {
	type Leftover struct {
		PID      int    `json:"pid"`
		Command  string `json:"command"`
		RSSBytes *int64 `json:"rss_bytes,omitempty"`
	}
	g := newGenerator(nil, leftoverKeys)
	g.body(reflect.TypeFor[Leftover](), false)
	err := g.check()
	if err == nil || !strings.Contains(err.Error(), "Leftover.rss_bytes is in") || !strings.Contains(err.Error(), "Leftover.gpu_memory_bytes is in") ||
		strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v", err)
	}
}
