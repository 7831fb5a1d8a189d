package intent

import (
	"math"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSpellings compares the reading of each argument line with vLLM's own, which
// testdata/record.py has recorded.
func TestSpellings(t *testing.T) {
	text, err := os.ReadFile("testdata/spellings.json")
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := readJSON(string(text)) // Python's JSON: it has NaN
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
		args := shellWords(line)
		if args[0] == "api_server" {
			args = append([]string{"python", "-m", "vllm.entrypoints.openai.api_server"}, args[1:]...)
		} else {
			args = append([]string{"vllm"}, args...)
		}
		c := Find(args)
		var p *parsed
		if c.Name != "" {
			p, _ = parseCommand(c, args[c.At:])
		}
		want, ok := l["set"].(map[string]any)
		if !ok {
			// What is in the JSON of a config class only the class itself can refuse.
			if p != nil && !p.refused() && !strings.Contains(refused, "Unexpected keyword argument") {
				t.Errorf("%s\ngot %v\nvLLM refuses it: %s", line, p.set, refused)
			}
			continue
		}
		if p == nil || p.refused() {
			t.Errorf("%s\nis refused: %+v\nvLLM makes of it %v", line, p, want)
			continue
		}
		for name := range p.set {
			if o := table()["serve"].byFlag["--"+strings.ReplaceAll(name, "_", "-")]; o != nil && o.kind == "other" {
				delete(p.set, name) // objects of classes of their own: settings of the server
				delete(want, name)
			}
		}
		if diff := cmp.Diff(want, p.set, cmp.Comparer(func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }),
			cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Errorf("%s\n(-vLLM +here)\n%s", line, diff)
		}
	}
}

// shellWords splits a line as Python's shlex does, which recorded it.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote == '\'' && c != quote, quote == '"' && c != quote && c != '\\':
			word.WriteByte(c)
		case quote == '"' && c == '\\':
			i++
			if line[i] != '"' && line[i] != '\\' {
				word.WriteByte('\\')
			}
			word.WriteByte(line[i])
		case c == quote:
			quote = 0
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
