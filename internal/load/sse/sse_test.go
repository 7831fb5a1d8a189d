package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// chunks is a stream that arrives in the given pieces.
type chunks struct {
	pieces []string
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; c.pieces[0] == "" {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

// all returns the events of a stream as texts, and the error that ended it.
func all(r *Reader) (events []string, err error) {
	for {
		e, err := r.Next()
		if err != nil {
			return events, err
		}
		text := string(e.Data)
		if len(e.Type) > 0 {
			text = string(e.Type) + "|" + text
		}
		events = append(events, text)
	}
}

func TestReader(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		want         []string
		err          error
	}{
		{"empty", "", nil, io.EOF},
		{"one event", "data: a\n\n", []string{"a"}, io.EOF},
		{"LF", "data: a\n\ndata: b\n\n", []string{"a", "b"}, io.EOF},
		{"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}, io.EOF},
		{"CR", "data: a\r\rdata: b\r\r", []string{"a", "b"}, io.EOF},
		{"mixed ends", "data: a\r\ndata: b\n\rdata: c\r\r\ndata: d\n\r\n", []string{"a\nb", "c", "d"}, io.EOF},
		{"several lines", "data: a\ndata: b\ndata\ndata: c\n\n", []string{"a\nb\n\nc"}, io.EOF},
		{"no space", "data:a\n\ndata:  b\n\n", []string{"a", " b"}, io.EOF},
		{"empty data", "data\n\ndata:\n\ndata: \n\n", []string{"", "", ""}, io.EOF},
		{"colon in the value", "data: a: b\n\n", []string{"a: b"}, io.EOF},
		{"comments", ": ping\n\n:\n\ndata: a\n: inside\ndata: b\n\n: end\n\n", []string{"a\nb"}, io.EOF},
		{"other fields", "id: 1\nretry: 10\nfoo: x\nfoo\ndata: a\nid: 2\n\n", []string{"a"}, io.EOF},
		{"a type", "event: error\ndata: a\n\ndata: b\n\n", []string{"error|a", "b"}, io.EOF},
		{"a type without data", "event: error\n\ndata: b\n\n", []string{"b"}, io.EOF},
		{"names are exact", "Data: a\n data: b\ndata : c\n\n", nil, io.EOF},
		{"blank lines", "\n\n\r\n\r\rdata: a\n\n\n\n", []string{"a"}, io.EOF},
		{"byte order mark", "\xef\xbb\xbfdata: a\n\n", []string{"a"}, io.EOF},
		{"second mark", "\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", []string{"b"}, io.EOF},
		{"half a mark", "\xef\xbbdata: a\n\n\xef\n", nil, io.EOF},
		{"half a mark alone", "\xef\xbb", nil, io.ErrUnexpectedEOF},
		{"characters of several bytes", "data: é漢😀\n\n", []string{"é漢😀"}, io.EOF},
		{"invalid UTF-8", "data: \xff\xfe\n\n", []string{"\xff\xfe"}, io.EOF},
		{"a zero byte", "data: a\x00b\n\n", []string{"a\x00b"}, io.EOF},
		{"cut in a line", "data: a\n\ndata: b", []string{"a"}, io.ErrUnexpectedEOF},
		{"cut before the blank line", "data: a\n\ndata: b\n", []string{"a"}, io.ErrUnexpectedEOF},
		{"cut in a type", "data: a\n\nevent: b\n", []string{"a"}, io.ErrUnexpectedEOF},
		{"end after CR", "data: a\n\r", []string{"a"}, io.EOF},
		{"done", "data: {}\n\ndata: [DONE]\n\n", []string{"{}", "[DONE]"}, io.EOF},
		{"large", "data: " + strings.Repeat("x", 20_000) + "\n\ndata: b\n\n", []string{strings.Repeat("x", 20_000), "b"}, io.EOF},
		{"large lines", "data: " + strings.Repeat("x", 5_000) + "\ndata: " + strings.Repeat("y", 5_000) + "\n\ndata: b\n\n",
			[]string{strings.Repeat("x", 5_000) + "\n" + strings.Repeat("y", 5_000), "b"}, io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Reader
			check := func(how string, source io.Reader) {
				t.Helper()
				r.Reset(source)
				got, err := all(&r)
				if d := cmp.Diff(c.want, got); d != "" {
					t.Fatalf("%s: %s", how, d)
				}
				if err != c.err {
					t.Fatalf("%s: %v, want %v", how, err, c.err)
				}
				if _, again := r.Next(); again != c.err {
					t.Fatalf("%s: then %v, want %v again", how, again, c.err)
				}
			}
			check("whole", strings.NewReader(c.stream))
			check("byte by byte", iotest.OneByteReader(strings.NewReader(c.stream)))
			check("data with the error", iotest.DataErrReader(strings.NewReader(c.stream)))
			if len(c.stream) < 200 {
				for i := range len(c.stream) {
					check(fmt.Sprintf("cut at %d", i), &chunks{[]string{c.stream[:i], c.stream[i:]}})
				}
			}
		})
	}
}

// An event is returned as soon as its blank line has arrived, even if a LF may follow its CR.
func TestNoWaiting(t *testing.T) {
	for _, stream := range []string{"data: a\n\n", "data: a\r\r", "data: a\r\n\r", "data: a\r\n\r\n"} {
		in, out := io.Pipe()
		go func() { _, _ = out.Write([]byte(stream)) }() // and the stream stays open
		e, err := NewReader(in).Next()
		if string(e.Data) != "a" || err != nil {
			t.Errorf("%q: %q, %v", stream, e.Data, err)
		}
		in.Close()
	}
}

func TestErrors(t *testing.T) {
	broken := errors.New("connection reset")
	r := NewReader(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(broken)))
	if got, err := all(r); len(got) != 1 || err != broken {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := all(NewReader(iotest.ErrReader(broken))); len(got) != 0 || err != broken {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := NewReader(silent{}).Next(); err != io.ErrNoProgress {
		t.Errorf("a source that returns nothing: %v", err)
	}
	endless := io.MultiReader(strings.NewReader("data: a\n\ndata: "), &zeros{})
	if got, err := all(NewReader(endless)); len(got) != 1 || err != ErrTooLarge {
		t.Errorf("an endless event: %d, %v", len(got), err)
	}
	if _, err := all(NewReader(io.MultiReader(strings.NewReader(": "), &zeros{}))); err != ErrTooLarge {
		t.Errorf("an endless comment: %v", err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

type zeros struct{}

func (*zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A long stream of comments takes no memory.
func TestKeepAlive(t *testing.T) {
	r := NewReader(strings.NewReader(strings.Repeat(": keep-alive\n\n", 100_000) + "data: a\n\n"))
	if e, err := r.Next(); string(e.Data) != "a" || err != nil {
		t.Errorf("%q, %v", e.Data, err)
	}
	if len(r.buf) > firstBuffer {
		t.Errorf("the buffer has grown to %d bytes", len(r.buf))
	}
}

// stream is what vLLM sends for n tokens.
func stream(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `data: {"id":"cmpl-3a1f0f1c3b7f4b8e9a6d5c4b3a291807","object":"text_completion","created":1764500000,"model":"meta-llama/Llama-3.1-8B-Instruct",`+
			`"choices":[{"index":0,"text":" token%d","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}`+"\n\n", i)
	}
	b.WriteString("data: [DONE]\n\n")
	return b.Bytes()
}

func TestNoAllocations(t *testing.T) {
	text := stream(1000)
	r := NewReader(nil)
	source := bytes.NewReader(nil)
	per := testing.AllocsPerRun(10, func() {
		source.Reset(text)
		r.Reset(source)
		n := 0
		for {
			if _, err := r.Next(); err != nil {
				break
			}
			n++
		}
		if n != 1001 {
			t.Fatalf("%d events", n)
		}
	})
	if per > 0 {
		t.Errorf("%.0f allocations for 1001 events", per)
	}
}

// reference reads a whole stream as the standard describes it, line by line.
func reference(text string) (events []string) {
	text = strings.TrimPrefix(text, "\xef\xbb\xbf")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(text, "\n")
	data, hasData, typ := "", false, ""
	for _, line := range lines[:len(lines)-1] { // the last one has no end
		if line == "" {
			if hasData {
				if typ != "" {
					data = typ + "|" + data
				}
				events = append(events, strings.TrimSuffix(data, "\n"))
			}
			data, hasData, typ = "", false, ""
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data, hasData = data+value+"\n", true
		case "event":
			typ = value
		}
	}
	return events
}

func FuzzReader(f *testing.F) {
	for _, s := range []string{"data: a\n\n", "\xef\xbb\xbfdata: é\r\n\r\ndata: [DONE]\r\r", "event: x\ndata: a\ndata\n: c\n\n", "data: a\r\n\r", "\r\n\ndata:x\r\r\n"} {
		f.Add(s, uint8(1), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, first, step uint8) {
		want := reference(text)
		var pieces []string
		for rest, n := text, int(first)+1; rest != ""; n = int(step) + 1 {
			n = min(n, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		got, err := all(NewReader(&chunks{pieces}))
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Error(err)
		}
	})
}
