package args

import (
	"math"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vobs/vobs/internal/pyvalue"
	"github.com/vobs/vobs/internal/testkit"
)

// TestSpellings compares the options of each command line in testdata/spellings.txt with
// those that vLLM's own parser returned to testdata/record.py.
func TestSpellings(t *testing.T) {
	text, err := os.ReadFile("testdata/spellings.json")
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := pyvalue.ParseJSON(string(text)) // as Python writes it, with NaN
	if err != nil {
		t.Fatal(err)
	}
	lines := recorded.([]any)
	if len(lines) < 700 {
		t.Fatalf("%d lines are recorded", len(lines))
	}
	for _, l := range lines {
		l := l.(map[string]any)
		line := l["line"].(string)
		refused, _ := l["refused"].(string)
		argv := testkit.ShellWords(line)
		if argv[0] == "api_server" {
			argv = append([]string{"python", "-m", "vllm.entrypoints.openai.api_server"}, argv[1:]...)
		} else {
			argv = append([]string{"vllm"}, argv...)
		}
		p := Parse(argv, "").Options
		want, ok := l["set"].(map[string]any)
		if !ok {
			// Only a config class itself can refuse a member of its JSON.
			if p != nil && !p.refused() && !strings.Contains(refused, "Unexpected keyword argument") {
				t.Errorf("%s\ngot %v\nvLLM refuses it: %s", line, p.Values, refused)
			}
			continue
		}
		if p == nil || p.refused() {
			t.Errorf("%s\nis refused: %+v\nvLLM makes of it %v", line, p, want)
			continue
		}
		for name := range p.Values {
			if o := commandOptions()["serve"].byFlag["--"+strings.ReplaceAll(name, "_", "-")]; o != nil && o.kind == "other" {
				delete(p.Values, name) // server settings with types of their own
				delete(want, name)
			}
		}
		if diff := cmp.Diff(want, p.Values, cmp.Comparer(func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }),
			cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Errorf("%s\n(-vLLM +here)\n%s", line, diff)
		}
	}
}
