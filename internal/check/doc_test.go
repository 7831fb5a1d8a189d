package check

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/quantity"
	"github.com/vobs/vobs/internal/slo"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// docs/check.md shows the SLOs as they are, and a limits file that is valid.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile(testkit.Root(t) + "/docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range slo.Presets() {
		row := regexp.MustCompile("(?m)^\\| `" + p.Name + "`.* \\| (.*) \\| (.*) \\| (.*) \\|$").FindSubmatch(page)
		if row == nil {
			t.Errorf("no row for %s", p.Name)
			continue
		}
		for i, want := range []float64{p.TTFT, p.ITL, p.E2E} {
			if got, err := quantity.Parse(string(row[i+1]), schema.UnitSeconds); err != nil || got != want {
				t.Errorf("%s: %s, %v, want %v s", p.Name, row[i+1], err, want)
			}
		}
	}
	_, after, found := strings.Cut(string(page), "```json\n")
	example, _, _ := strings.Cut(after, "```")
	if !found {
		t.Fatal("no limits file")
	}
	f, err := ParseFile([]byte(example))
	if err != nil || len(f.Limits) != 4 || len(f.SLO) != 3 || !f.StrictValidity {
		t.Errorf("%+v, %v", f, err)
	}
	if !valid(t, compileSchema(t), example) {
		t.Error("the limits file is not valid by the schema")
	}
}
