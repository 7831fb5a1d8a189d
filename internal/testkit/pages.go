package testkit

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

// ReplaceLines replaces a line's beginning up to its value on a page; with an empty line,
// the lines that begin so are dropped.
func ReplaceLines(t testing.TB, page, begins, line string) string {
	t.Helper()
	var out strings.Builder
	found := false
	for l := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(l, "# HELP "), "# TYPE "), begins) {
			if !found || line == "" {
				out.WriteString(line)
			}
			found = true
			continue
		}
		out.WriteString(l)
	}
	if !found {
		t.Fatalf("the page has no line %s", begins)
	}
	return out.String()
}

// SetValues changes the values of a page's lines: each is the line with its new value.
func SetValues(t testing.TB, page string, lines ...string) string {
	t.Helper()
	for _, line := range lines {
		name := line[:strings.LastIndexByte(line, ' ')+1]
		i := strings.Index(page, "\n"+name) + 1
		if i == 0 {
			t.Fatalf("the page has no line %s", name)
		}
		page = page[:i] + line + page[i+strings.IndexByte(page[i:], '\n'):]
	}
	return page
}

// DropSamples drops the samples of families, and keeps their TYPE lines.
func DropSamples(t testing.TB, page, samples string) string {
	t.Helper()
	out := regexp.MustCompile(`(?m)^(`+samples+`).*\n`).ReplaceAllString(page, "")
	if out == page {
		t.Fatalf("the page has no samples of %s", samples)
	}
	return out
}

// ReplaceAll replaces what must be there.
func ReplaceAll(t testing.TB, page string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(page, pairs[i]) {
			t.Fatalf("the page has no %s", pairs[i])
		}
		page = strings.ReplaceAll(page, pairs[i], pairs[i+1])
	}
	return page
}

func Near(got *schema.Float, want float64) bool {
	return got != nil && math.Abs(float64(*got)-want) <= 1e-9*math.Max(1, math.Abs(want))
}

func JSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func Recorded(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(Root(t), "testdata", "expositions", name+".prom"))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// Root returns the root directory of the repository: that of go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the tests run outside the repository: there is no go.mod above them")
		}
		dir = filepath.Dir(dir)
	}
}

// Codes returns the validity codes of notes, in their order, with blanks between.
func Codes(notes schema.Notes) string {
	var codes []string
	for _, v := range notes.Validity {
		codes = append(codes, string(v.Code))
	}
	return strings.Join(codes, " ")
}

// Reason returns why a field is null; "" if the notes have no reason for it.
func Reason(notes schema.Notes, field string) string {
	for _, u := range notes.Unavailable {
		if u.Field == field {
			return u.Reason
		}
	}
	return ""
}
