package dataset

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func open(t testing.TB, text string, o Options) (*Dataset, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(name, o)
	if err == nil {
		t.Cleanup(func() { d.Close() })
	} else {
		err = fmt.Errorf("%s", strings.ReplaceAll(err.Error(), name, "FILE"))
	}
	return d, err
}

func all(t testing.TB, d *Dataset) (records []*Record) {
	t.Helper()
	for {
		r, err := d.Next()
		if err == io.EOF {
			return records
		}
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
}

func turns(r *Record) string {
	text, err := json.Marshal(r.Turns)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestPrompts(t *testing.T) {
	d, err := open(t, "\ufeff\n{\"prompt\":\"a \\u00e9\",\"output_tokens\":7}\r\n\n  {\"prompt\": [1, 2], \"max_tokens\": 8.0, \"id\": 3}\n{\"prompt\":\"b\",\"output_len\":9}\n{\"prompt\":\"c\"}", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []*Record{{Line: 2, Text: "a é", OutputTokens: 7}, {Line: 4, IDs: []int{1, 2}, OutputTokens: 8}, {Line: 5, Text: "b", OutputTokens: 9}, {Line: 6, Text: "c"}}
	if got := all(t, d); !reflect.DeepEqual(got, want) || d.Format != Prompts || d.Count != 4 || !d.TokenIDs || !d.Ended {
		t.Errorf("%+v, %+v", got, d)
	}
}

func TestMessages(t *testing.T) {
	text := `{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,<x>"}}]},{"role":"assistant","content":"a"},{"role":"user","content":"u"}],"max_completion_tokens":5}`
	d, err := open(t, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := all(t, d)[0]
	if string(r.Messages[1]) != `{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,<x>"}}]}` || len(r.Messages) != 4 || r.Turns != nil || r.OutputTokens != 5 {
		t.Errorf("%s, %+v", r.Messages, r)
	}
	if d, err = open(t, text, Options{Turns: true}); err != nil {
		t.Fatal(err)
	}
	if got := all(t, d)[0].Turns; len(got) != 2 || len(got[0]) != 2 || string(got[1][0]) != `{"role":"user","content":"u"}` {
		t.Errorf("%s", got)
	}
}

// ShareGPT's file is an array. Conversations without a message of the user are left out.
func TestShareGPT(t *testing.T) {
	d, err := Open("testdata/sharegpt.json", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := all(t, d)
	if len(got) != 2 || d.Count != 2 || d.Skipped != 2 || d.Format != ShareGPT || got[0].Line != 2 || got[1].Line != 14 {
		t.Fatalf("%d records, %+v", len(got), d)
	}
	if text := turns(got[0]); text != `[[{"role":"user","content":"What is a KV cache?"}],[{"role":"user","content":"And a \"prefix cache\" [of {blocks}]?"}],[{"role":"user","content":"Thanks."}]]` {
		t.Error(text)
	}
	if text := turns(got[1]); text != `[[{"role":"system","content":"Be brief."},{"role":"user","content":"2 + 2?"}]]` {
		t.Error(text)
	}
}

func TestMooncake(t *testing.T) {
	d, err := Open("testdata/mooncake.jsonl", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := all(t, d)
	if d.Format != Mooncake || d.Count != len(got) || d.Skipped != 0 || d.Span != got[len(got)-1].At {
		t.Errorf("%+v", d)
	}
	first := &Record{Line: 1, PromptTokens: 28, OutputTokens: 445, Blocks: []uint64{298}}
	if !reflect.DeepEqual(got[0], first) || got[1].At != (2469-529)*time.Millisecond {
		t.Errorf("%+v, %+v", got[0], got[1])
	}
	if d, err = Open("testdata/mooncake.jsonl", Options{Records: 3}); err != nil || d.Count != 3 {
		t.Errorf("%+v, %v", d, err)
	}
	d.Close()
	if d, err = Open("testdata/mooncake.jsonl", Options{Until: 2 * time.Second}); err != nil || d.Count != 2 || len(all(t, d)) != len(got) {
		t.Errorf("%+v, %v", d, err)
	}
	d.Close()
}

// BurstGPT is a CSV, here and with the columns of its third file, or has the same keys.
func TestBurstGPT(t *testing.T) {
	d, err := Open("testdata/burstgpt.csv", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := all(t, d)
	if d.Format != BurstGPT || len(got) != 5 || d.Skipped != 2 || d.Span != 893*time.Second {
		t.Fatalf("%d records, %+v", len(got), d)
	}
	if want := (&Record{Line: 3, PromptTokens: 1200, OutputTokens: 250, At: 45 * time.Second}); !reflect.DeepEqual(got[1], want) {
		t.Errorf("%+v", got[1])
	}
	for _, text := range []string{
		"Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n5.0,\"a,b\",1.5,GPT-4,472,18,490,API log\n",
		`{"Timestamp":5,"Model":"GPT-4","Request tokens":472,"Response tokens":18,"Total tokens":490,"Log Type":"API log"}`,
	} {
		d, err := open(t, text, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r := all(t, d)[0]; r.PromptTokens != 472 || r.OutputTokens != 18 || r.At != 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestGzip(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, strings.Repeat(`{"prompt":"a"}`+"\n", 100_000))
	w.Close()
	d, err := open(t, packed.String(), Options{})
	if err != nil || d.Count != 100_000 || len(all(t, d)) != 100_000 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := open(t, packed.String()[:packed.Len()-9], Options{}); err == nil || !strings.HasSuffix(err.Error(), "unexpected EOF") {
		t.Errorf("%v", err)
	}
}

// A pipe is read once: only its first record is checked before.
func TestPipe(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	fmt.Fprint(out, "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n{\"prompt\":3}\n")
	out.Close()
	d, err := Open(fmt.Sprintf("/dev/fd/%d", in.Fd()), Options{})
	if err != nil {
		t.Skip(err)
	}
	defer d.Close()
	for _, want := range []string{"a", "b"} {
		if r, err := d.Next(); err != nil || r.Text != want {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if _, err := d.Next(); d.Count != 0 || d.Format != Prompts || err == nil || !strings.HasSuffix(err.Error(), "line 3: prompt is neither a text nor a list of token ids") {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestErrors(t *testing.T) {
	const trace = `{"timestamp":1000,"input_length":600,"output_length":2,"hash_ids":[1,2]}` + "\n"
	for text, want := range map[string]string{
		"":                       "FILE: there is no record",
		" \n\n":                  "FILE: there is no record",
		"[]":                     "FILE: there is no record",
		"{\"prompt\":\"a\"}\nx":  "FILE, line 2: the record is not a JSON object (invalid character 'x' looking for beginning of value)",
		"{\"prompt\":\"a\"}\n[]": "FILE, line 2: the record is not a JSON object (it is of another type)",
		"{\"prompt\":\"a\"}\n{\"messages\":[{\"role\":\"user\"}]}": `FILE, line 2: the record has the key "messages", but the file begins with the format prompts`,
		`{"Prompt":"a"}`:                                                        "FILE, line 1: the record has no key of a known format: prompt, messages, conversations, input_length, or Request tokens",
		`{"prompt":"a","messages":[]}`:                                          `FILE, line 1: the record has both "prompt" and "messages"`,
		`{"prompt":""}`:                                                         "FILE, line 1: prompt is empty",
		`{"prompt":[]}`:                                                         "FILE, line 1: prompt is empty",
		`{"prompt":["a","b"]}`:                                                  "FILE, line 1: prompt is neither a text nor a list of token ids",
		`{"prompt":[1,-2]}`:                                                     "FILE, line 1: prompt has the token id -2",
		`{"prompt":"a","max_tokens":0}`:                                         "FILE, line 1: max_tokens is 0: use a whole number from 1 to 10000000",
		`{"prompt":"a","max_tokens":1.5}`:                                       "FILE, line 1: max_tokens is 1.5: use a whole number from 1 to 10000000",
		`{"prompt":"a","output_tokens":"5"}`:                                    `FILE, line 1: output_tokens is "5": use a number from 0 on`,
		`{"messages":[]}`:                                                       "FILE, line 1: messages is not a list of messages",
		`{"messages":[{"content":"a"}]}`:                                        "FILE, line 1: message 1 has no role",
		`{"conversations":{}}`:                                                  "FILE, line 1: conversations is not a list of objects",
		`{"conversations":[{"from":"human"}]}`:                                  "FILE, line 1: message 1 of the conversation has no texts in from and value",
		`{"conversations":[{"from":"x","value":""}]}`:                           `FILE, line 1: message 1 of the conversation is from "x": use human, gpt or system`,
		`{"conversations":[]}`:                                                  "FILE: none of the 1 records can be sent",
		`{"input_length":5,"output_length":2}`:                                  `FILE, line 1: the record has no "timestamp"`,
		`{"timestamp":-1,"input_length":5,"output_length":2}`:                   "FILE, line 1: timestamp is -1: use a number from 0 on",
		`{"timestamp":1e18,"input_length":5,"output_length":2}`:                 "FILE, line 1: timestamp is 1e18: that is too far",
		`{"timestamp":1,"input_length":0,"output_length":2}`:                    "FILE, line 1: input_length is 0: use a whole number from 1 to 10000000",
		`{"timestamp":1,"input_length":1,"output_length":null}`:                 `FILE, line 1: the record has no "output_length"`,
		`{"timestamp":1,"input_length":600,"output_length":2,"hash_ids":[1]}`:   "FILE, line 1: hash_ids has 1 blocks, but input_length 600 has 2 of 512 tokens",
		`{"timestamp":1,"input_length":600,"output_length":2,"hash_ids":["a"]}`: "FILE, line 1: hash_ids is not a list of whole numbers from 0 on",
		trace + strings.Replace(trace, "1000", "999", 1):                        "FILE, line 2: its time is before that of the record before it: sort the file by time",
		"a,b\n1,2": "FILE, line 1: the file is neither JSON nor a CSV with the columns of BurstGPT: Timestamp, Request tokens, Response tokens",
		"<html>\n": "FILE, line 1: the file is neither JSON nor a CSV with the columns of BurstGPT: Timestamp, Request tokens, Response tokens",
		"Timestamp,Request tokens,Response tokens\n1,2":     "FILE, line 2: the row has 2 fields, and the header has 3",
		"Timestamp,Request tokens,Response tokens\n\n1,2,x": `FILE, line 3: Response tokens is x: use a number from 0 on`,
		"Timestamp,Request tokens,Response tokens\n1,2,\"":  "FILE, line 2: the quotes of the row do not match",
		"Timestamp,Request tokens,Response tokens\n1,2,{}":  "FILE, line 2: Response tokens is {}: use a number from 0 on",
		"Timestamp,Request tokens,Response tokens\n":        "FILE: there is no record",
		"[{\"prompt\":\"a\"},\n 5]":                         "FILE, line 2: an element of the array is not an object",
		"[{\"prompt\":\"a\"}":                               "FILE, line 1: the file ends within the array",
		"[{\"prompt\":\"a\"}]\n{}":                          "FILE, line 2: something follows the array",
	} {
		if _, err := open(t, text, Options{}); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
	if _, err := open(t, trace+strings.Replace(trace, "1000", "999", 1), Options{AnyOrder: true}); err != nil {
		t.Error(err)
	}
	if _, err := open(t, `{"messages":[{"role":"tool","content":"a"}]}`, Options{Turns: true}); err == nil || !strings.Contains(err.Error(), `message 1 is of the role "tool"`) {
		t.Errorf("%v", err)
	}
	if _, err := open(t, `{"prompt":"`+strings.Repeat("a", maxRecord+1<<20)+`"}`, Options{}); err == nil || err.Error() != "FILE, line 1: the record is longer than 64 MiB" {
		t.Errorf("%v", err)
	}
	if _, err := Open(t.TempDir(), Options{}); err == nil || !strings.HasSuffix(err.Error(), "is a directory") {
		t.Errorf("%v", err)
	}
	if _, err := Open("testdata/none", Options{}); err == nil {
		t.Error("a file that is not there is opened")
	}
}

// inMemory is a file in memory.
type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// What is read once is read the same way again, and keeps within bounds.
func FuzzDataset(f *testing.F) {
	for _, name := range []string{"mooncake.jsonl", "burstgpt.csv", "sharegpt.json"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text[:min(len(text), 700)])
		f.Add(text)
	}
	f.Add([]byte(`{"messages":[{"role":"user","content":[]}]}` + "\n" + `{"prompt":[1]}`))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, text []byte) {
		d := &Dataset{name: "FILE", file: inMemory{bytes.NewReader(text)}}
		if d.check(true) != nil {
			return
		}
		records := all(t, d)
		if len(records) != d.Count || d.Count == 0 || d.Format == "" {
			t.Errorf("%d records, %d before", len(records), d.Count)
		}
		line, at := 0, time.Duration(0)
		for _, r := range records {
			if r.Line < line || r.At < at || r.PromptTokens < 0 || r.OutputTokens < 0 || r.PromptTokens > maxTokens {
				t.Errorf("%+v", r)
			}
			if d.Format.Timed() != (r.PromptTokens > 0) || d.Format.Chat() != (r.Messages != nil || r.Turns != nil) {
				t.Errorf("%s: %+v", d.Format, r)
			}
			line, at = r.Line, r.At
		}
	})
}

func BenchmarkMooncake(b *testing.B) {
	text, err := os.ReadFile("testdata/mooncake.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		d, err := Open("testdata/mooncake.jsonl", Options{})
		if err != nil {
			b.Fatal(err)
		}
		d.Close()
	}
}
