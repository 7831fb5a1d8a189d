package render

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// example has what formats differ on: text that each of them must quote or escape,
// values that people and programs read differently, a missing value, several lines.
func example() *Table {
	t := &Table{Columns: []Column{
		{Key: "name", Title: "Name"},
		{Key: "bytes", Title: "Memory", Right: true},
		{Key: "note"},
	}}
	t.Add(String("plain"), Cell{Bytes(3 << 29), int64(3 << 29)}, String("kv_cache_usage"))
	t.Add(String(`a,"b"`), Cell{"-", nil}, String("x|y\\ *z* _u_ <b> [c] `d` ~e~ &amp;"))
	t.Add(String("é"), Cell{"n/a", math.NaN()}, String("one\ntwo"))
	t.Add(String(" space"), Cell{"0.1", 0.1}, Cell{"yes", true})
	return t
}

func TestFormats(t *testing.T) {
	for format, want := range map[Format]string{
		Text: `
Name     Memory note
plain  1.50 GiB kv_cache_usage
a,"b"         - x|y\ *z* _u_ <b> [c] ` + "`d`" + ` ~e~ &amp;
é           n/a one
                two
 space      0.1 yes
`,
		Markdown: `
| Name | Memory | note |
| --- | ---: | --- |
| plain | 1.50 GiB | kv_cache_usage |
| a,"b" | - | x\|y\\ \*z\* \_u\_ \<b> \[c\] \` + "`d\\`" + ` \~e\~ \&amp; |
| é | n/a | one<br>two |
|  space | 0.1 | yes |
`,
		CSV: `
name,bytes,note
plain,1610612736,kv_cache_usage
"a,""b""",,x|y\ *z* _u_ <b> [c] ` + "`d`" + ` ~e~ &amp;
é,,"one
two"
" space",0.1,true
`,
		JSON: `
[{"name":"plain","bytes":1610612736,"note":"kv_cache_usage"},
{"name":"a,\"b\"","bytes":null,"note":"x|y\\ *z* _u_ <b> [c] ` + "`d`" + ` ~e~ &amp;"},
{"name":"é","bytes":null,"note":"one\ntwo"},
{"name":" space","bytes":0.1,"note":true}]
`,
	} {
		var b strings.Builder
		if err := example().Write(&b, format, TextOptions{Multiline: true}); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
	if err := example().Write(&strings.Builder{}, "html", TextOptions{}); err == nil {
		t.Error("an unknown format is no error")
	}
}

// A command or a label cannot write to the terminal, or begin a line of its own.
func TestControlCharacters(t *testing.T) {
	table := Table{Columns: []Column{{Key: "name"}, {Key: "note"}}}
	const awkward = "\x1b[2Jred\x1b[0m\r\t\x00\x7f\u009b\x9b\u202eé\ufffd 🚀"
	table.Add(String("a\npassed"), String(awkward))
	for format, want := range map[Format]string{
		Text: `
name      note
a\npassed \x1b[2Jred\x1b[0m\r\t\x00\x7f\u009b\x9b\u202eé` + "\ufffd" + ` 🚀
`,
		Markdown: `
| name | note |
| --- | --- |
| a<br>passed | \\x1b\[2Jred\\x1b\[0m\\r\\t\\x00\\x7f\\u009b\\x9b\\u202eé` + "\ufffd" + ` 🚀 |
`,
	} {
		var b strings.Builder
		if err := table.Write(&b, format, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
	var multiline strings.Builder
	if err := table.WriteText(&multiline, TextOptions{NoTitles: true, Multiline: true}); err != nil || strings.Count(multiline.String(), "\n") != 2 || strings.Contains(multiline.String(), "\x1b") {
		t.Errorf("%q, %v", multiline.String(), err)
	}
	// Programs get the text as it is.
	var b strings.Builder
	if err := table.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(records) != 2 || records[1][0] != "a\npassed" || records[1][1] != awkward {
		t.Errorf("CSV: %q, %v", records, err)
	}
	b.Reset()
	if err := table.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var objects []map[string]string
	if err := json.Unmarshal([]byte(b.String()), &objects); err != nil || len(objects) != 1 || objects[0]["name"] != "a\npassed" {
		t.Errorf("JSON: %q, %v", objects, err)
	}
}

// What is written can be read back.
func TestReadBack(t *testing.T) {
	var b strings.Builder
	if err := example().WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(records) != 5 || records[2][0] != `a,"b"` || records[3][2] != "one\ntwo" || records[4][0] != " space" {
		t.Errorf("CSV: %q, %v", records, err)
	}
	b.Reset()
	if err := example().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var objects []map[string]any
	if err := json.Unmarshal([]byte(b.String()), &objects); err != nil || len(objects) != 4 || objects[1]["name"] != `a,"b"` {
		t.Errorf("JSON: %v, %v", objects, err)
	}
}

func TestEmptyTables(t *testing.T) {
	columns := []Column{{Key: "a"}, {Key: "b"}}
	for format, want := range map[Format][2]string{
		Text:     {"", "a b\n"},
		Markdown: {"", "| a | b |\n| --- | --- |\n"},
		CSV:      {"", "a,b\n"},
		JSON:     {"[]\n", "[]\n"},
	} {
		for i, table := range []Table{{}, {Columns: columns}} {
			var b strings.Builder
			if err := table.Write(&b, format, TextOptions{}); err != nil || b.String() != want[i] {
				t.Errorf("%s, table %d: %q, %v, want %q", format, i, b.String(), err, want[i])
			}
		}
	}
}

func TestTextOptions(t *testing.T) {
	table := Table{Columns: []Column{{Key: "name", MinWidth: 6}, {Key: "text"}}}
	table.Add(String("a"), String("the quick brown fox jumps over the lazy dog"))
	table.Add(String("b"), String("x"+strings.Repeat("y", 45)))
	table.Add(String("c"), String(""))
	for _, c := range []struct {
		options TextOptions
		want    string
	}{
		{TextOptions{NoTitles: true}, `
a      the quick brown fox jumps over the lazy dog
b      xyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy
c
`},
		{TextOptions{Indent: 2, Width: 30}, `
  name   text
  a      the quick brown fox
         jumps over the lazy
         dog
  b      xyyyyyyyyyyyyyyyyyyyy
         yyyyyyyyyyyyyyyyyyyyy
         yyyy
  c
`},
		// There is no room to wrap in.
		{TextOptions{NoTitles: true, Width: 20}, `
a      the quick brown fox jumps over the lazy dog
b      xyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy
c
`},
	} {
		var b strings.Builder
		if err := table.WriteText(&b, c.options); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), b.String()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.options, diff)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestWriteErrors(t *testing.T) {
	for _, format := range Formats {
		if err := example().Write(brokenWriter{}, format, TextOptions{}); err == nil {
			t.Errorf("%s: no error", format)
		}
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range Formats {
		if got, err := ParseFormat(string(f)); err != nil || got != f {
			t.Errorf("%s: %q, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("html"); err == nil || err.Error() != `format "html": use text, markdown, csv or json` {
		t.Errorf("html: %v", err)
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Bytes(0), "0.0 MiB"},
		{Bytes(1<<30 - 1), "1024.0 MiB"},
		{Bytes(1 << 30), "1.00 GiB"},
		{Bytes(80 << 30), "80.00 GiB"},
		{Percent(0), "0.0 %"},
		{Percent(0.00031), "0.031 %"},
		{Percent(0.01), "1.0 %"},
		{Percent(0.123), "12.3 %"},
		{Percent(-0.002), "-0.2 %"},
		{Seconds(0.0125), "12.5 ms"},
		{Seconds(1), "1.00 s"},
		{Seconds(90.5), "90.50 s"},
		{SecondsAtMost(0), "0 ms"},
		{SecondsAtMost(0.0000333), "0.1 ms"},
		{SecondsAtMost(0.001), "1 ms"},
		{SecondsAtMost(0.00166), "2 ms"},
		{SecondsAtMost(0.29), "290 ms"},
		{SecondsAtMost(0.9991), "1 s"},
		{SecondsAtMost(2.501), "2.51 s"},
		{SecondsAtMost(7.5), "7.5 s"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestTerminalWidth(t *testing.T) {
	controller, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer controller.Close()
	defer terminal.Close()
	if err := pty.Setsize(controller, &pty.Winsize{Rows: 24, Cols: 97}); err != nil {
		t.Fatal(err)
	}
	if width, ok := TerminalWidth(terminal.Fd()); width != 97 || !ok {
		t.Errorf("%d, %v, want 97", width, ok)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if width, ok := TerminalWidth(null.Fd()); ok {
		t.Errorf("/dev/null is a terminal of width %d", width)
	}
}
