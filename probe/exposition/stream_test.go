package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/vobs/vobs/internal/testkit"
)

// ParseReader yields what Parse does, however the stream splits the page.
func TestParseReaderEqualsParse(t *testing.T) {
	for name, body := range recordings(t) {
		want, got := Page{}, Page{}
		if err := NewParser(nil).Parse(body, &want); err != nil {
			t.Fatal(err)
		}
		large := bytes.Repeat(body, 3) // more than three chunks
		wantLarge := Page{}
		if err := NewParser(nil).Parse(large, &wantLarge); err != nil {
			t.Fatal(err)
		}
		parser := NewParser(nil)
		for how, c := range map[string]struct {
			r    io.Reader
			want Page
		}{
			"in one read":    {bytes.NewReader(body), want},
			"byte by byte":   {iotest.OneByteReader(bytes.NewReader(body)), want},
			"EOF with data":  {iotest.DataErrReader(bytes.NewReader(body)), want},
			"in halves":      {iotest.HalfReader(bytes.NewReader(large)), wantLarge},
			"several chunks": {bytes.NewReader(large), wantLarge},
		} {
			if err := parser.ParseReader(c.r, &got); err != nil {
				t.Fatalf("%s, %s: %v", name, how, err)
			}
			if diff := cmp.Diff(flats(&c.want), flats(&got)); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, how, diff)
			}
			if !maps.Equal(c.want.Types, got.Types) {
				t.Errorf("%s, %s: types %v, want %v", name, how, got.Types, c.want.Types)
			}
		}
	}
}

// flats returns a page's samples as text.
func flats(page *Page) []string {
	var out []string
	for _, s := range page.Samples {
		out = append(out, fmt.Sprintf("%s{%s} %v", s.Name, s.Labels.Key(), s.Value))
	}
	return out
}

// endless repeats a text without end.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k := copy(b[n:], e.text[e.at:])
		n, e.at = n+k, (e.at+k)%len(e.text)
	}
	return n, nil
}

// numbered writes lines that all differ.
type numbered struct {
	format string
	line   int
	rest   []byte
}

func (n *numbered) Read(b []byte) (int, error) {
	if len(n.rest) == 0 {
		n.rest = fmt.Appendf(n.rest, n.format, n.line)
		n.line++
	}
	k := copy(b, n.rest)
	n.rest = n.rest[k:]
	return k, nil
}

var errEnough = errors.New("enough")

// stop ends a stream after some bytes, as a limit does.
func stop(r io.Reader, bytes int64) io.Reader {
	return io.MultiReader(io.LimitReader(r, bytes), iotest.ErrReader(errEnough))
}

// A flood takes little memory. If it is not a page, reading stops at its first lines.
func TestFloods(t *testing.T) {
	const size = 6 << 20
	for _, c := range []struct {
		name string
		r    io.Reader
		want string
	}{
		{"one endless line", &endless{text: "vllm:x{"}, "line 1: longer than"},
		{"one endless line that is not wanted", stop(&endless{text: "x{"}, 2*maxLine), "enough"},
		{"an endless name", &endless{text: "x"}, "line 1: no metric name at"},
		{"zeros", &endless{text: "\x00"}, "line 1: no metric name at"},
		{"blanks", stop(&endless{text: " "}, size), "line 1: no metric name at"},
		{"one endless comment", stop(&endless{text: "# HELP "}, 2*maxLine), "enough"},
		{"comments", stop(&endless{text: "# nothing\n"}, size), "enough"},
		{"lines that are not wanted", stop(&endless{text: "node_load1 0.5\n"}, size), "enough"},
		{"HTML", stop(&endless{text: "<html>\n"}, size), "line 1: no metric name"},
		{"one sample repeated", &endless{text: "vllm:x 1\n"}, ErrTooMany.Error()},
		{"labels that all differ", &numbered{format: "vllm:x{id=\"request-%d-" + strings.Repeat("y", 20) + "\"} 1\n"}, ErrTooMany.Error()},
		{"long labels that all differ", stop(&numbered{format: "vllm:x{id=\"%d-" + strings.Repeat("y", 2000) + "\"} 1\n"}, 3*maxLabels/2), ErrLabels.Error()},
		{"names that all differ", stop(&numbered{format: "node_%d_" + strings.Repeat("y", 500) + " 1\n"}, size), "enough"},
	} {
		t.Run(c.name, func(t *testing.T) {
			parser, page := NewParser(func(name string) bool { return strings.HasPrefix(name, "vllm:") }), Page{}
			before := testkit.Heap()
			err := parser.ParseReader(c.r, &page)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if kept := int64(testkit.Heap()) - int64(before); kept > 4<<20 {
				t.Errorf("%d more bytes are reachable afterwards", kept)
			}
			if err := parser.ParseReader(strings.NewReader("vllm:x 2\n"), &page); err != nil || len(page.Samples) != 1 || page.Samples[0].Value != 2 {
				t.Errorf("the next page: %v %v", page.Samples, err)
			}
			runtime.KeepAlive(parser)
		})
	}
}

// Labels that change with every page do not stay in the cache.
func TestChangingLabels(t *testing.T) {
	parser, page := NewParser(nil), Page{}
	n := 0
	for range 100 {
		var body bytes.Buffer
		for range 1000 {
			n++
			fmt.Fprintf(&body, "x{id=\"%060d\"} 1\n", n)
		}
		if err := parser.ParseReader(&body, &page); err != nil {
			t.Fatal(err)
		}
	}
	if parser.cached > maxCached || len(parser.labels) > maxCached/60 {
		t.Errorf("%d label sets, %d bytes, are cached", len(parser.labels), parser.cached)
	}
}

// Pages that are cut off, or that are something else, are errors.
func TestCutPages(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a 1\nb 12", "cut off"},
		{"a 1\nb", "cut off"},
		{"# HELP a of", "cut off"},
		{"{\"status\":\"ok\"}", "line 1: label status has no value"},
		{"<html></html>", "line 1: no metric name"},
		{"a 1\n{\"b\"", "cut off"},
	} {
		for how, r := range map[string]io.Reader{"whole": nil, "stream": iotest.OneByteReader(strings.NewReader(c.text))} {
			var page Page
			err := NewParser(nil).Parse([]byte(c.text), &page)
			if r != nil {
				err = NewParser(nil).ParseReader(r, &page)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q, %s: error %v, want one with %q", c.text, how, err, c.want)
			}
		}
	}
}
