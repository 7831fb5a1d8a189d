package load

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/load/dataset"
	"github.com/vobs/vobs/internal/load/loadtest"
)

const traceFile = "dataset/testdata/mooncake.jsonl"

// replayed returns options that send a file in its order, one request after another.
func replayed(t testing.TB, name string, o dataset.Options) *Options {
	t.Helper()
	d, err := dataset.Open(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	out := options(t)
	out.PromptTokens, out.OutputTokens = Lengths{}, lengths(t, "2")
	out.Requests, out.Concurrency, out.Scale, out.Dataset = 0, 1, 1, d
	return out
}

func file(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func records(t testing.TB, name string) (records []*dataset.Record) {
	t.Helper()
	d, err := dataset.Open(name, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for r, err := d.Next(); err == nil; r, err = d.Next() {
		records = append(records, r)
	}
	return records
}

// Prompts of a trace have the lengths of their records, and share exactly the blocks that the
// trace shares.
func TestTraceBlocks(t *testing.T) {
	want := records(t, traceFile)
	for _, vocab := range []int{0, 32_000} { // a tiny vocabulary by /tokenize, and a real one
		s := simulated(t, nil)
		o := replayed(t, traceFile, dataset.Options{})
		o.FixedOutput, o.Vocab = true, vocab
		c := mustRun(t, s.URL, o).Client
		sent := bodies(s)
		if len(sent) != len(want) || *c.Requests.Completed != int64(len(want)) || *c.Tokens.Prompt != 16158 {
			t.Fatalf("%d requests of %d, %+v, %d prompt tokens", len(sent), len(want), c.Requests, *c.Tokens.Prompt)
		}
		blocks, texts, shared := map[uint64][]int{}, map[string]uint64{}, 0
		for i, b := range sent {
			if len(b.Prompt) != want[i].PromptTokens || b.MaxTokens != 2 {
				t.Fatalf("request %d has %d tokens, want %d", i, len(b.Prompt), want[i].PromptTokens)
			}
			for j, part := range slices.Collect(slices.Chunk(b.Prompt, dataset.BlockTokens)) {
				id := want[i].Blocks[j]
				if known, ok := blocks[id]; ok {
					shared++
					if n := min(len(known), len(part)); !slices.Equal(known[:n], part[:n]) {
						t.Errorf("block %d of request %d differs from the one before", id, i)
					}
				}
				if text := fmt.Sprint(part); texts[text] != 0 && texts[text] != id {
					t.Errorf("the blocks %d and %d are equal", texts[text], id)
				} else {
					texts[text] = id
				}
				if len(part) > len(blocks[id]) {
					blocks[id] = part
				}
			}
		}
		if shared != 11 {
			t.Errorf("%d shared blocks", shared)
		}
	}
}

// On chat, equal blocks are equal words; and the seed decides which.
func TestTraceChat(t *testing.T) {
	sent := func(seed uint64) (texts []string) {
		s := simulated(t, nil)
		s.NoTokenizer = true // all words
		o := replayed(t, traceFile, dataset.Options{})
		o.Endpoint, o.FixedOutput, o.Seed = Chat, true, seed
		mustRun(t, s.URL, o)
		for i, b := range bodies(s) {
			if n := len(strings.Fields(b.Messages[0].Content)); n != records(t, traceFile)[i].PromptTokens {
				t.Fatalf("request %d has %d words", i, n)
			}
			texts = append(texts, b.Messages[0].Content)
		}
		return texts
	}
	one, again, two := sent(1), sent(1), sent(2)
	if !slices.Equal(one, again) || one[0] == two[0] {
		t.Error("the seed does not decide the prompts")
	}
	texts, different := map[string]bool{}, map[string]bool{}
	for i, r := range records(t, traceFile) {
		texts[one[i]], different[fmt.Sprint(r.PromptTokens, r.Blocks)] = true, true
	}
	if len(texts) != len(different) || len(texts) < 30 {
		t.Errorf("%d different prompts of %d different records", len(texts), len(different))
	}
}

// A trace is sent at its times, and --scale makes it faster. A rate takes precedence.
func TestTraceTimes(t *testing.T) {
	trace := file(t, `{"timestamp":5000,"input_length":5,"output_length":3}
{"timestamp":5000,"input_length":5,"output_length":3}
{"timestamp":5400,"input_length":5,"output_length":3}
{"timestamp":5800,"input_length":5,"output_length":3}
{"timestamp":65000,"input_length":5,"output_length":3}
`)
	for _, c := range []struct {
		scale, rate float64
		duration    time.Duration
		want        []time.Duration
	}{
		{1, 0, time.Second, []time.Duration{0, 0, 400 * time.Millisecond, 800 * time.Millisecond}},
		{4, 0, time.Second, []time.Duration{0, 0, 100 * time.Millisecond, 200 * time.Millisecond}},
		{1, 100, 0, []time.Duration{0, 10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond, 40 * time.Millisecond}},
	} {
		s := simulated(t, nil)
		o := replayed(t, trace, dataset.Options{})
		o.Concurrency, o.Scale, o.Rate, o.Duration = 0, c.scale, c.rate, c.duration
		o.Arrivals, _ = ParseArrivals("constant")
		var got []time.Duration
		o.Done = func(r *Request) {
			if got = append(got, r.Intended); r.Sent < r.Intended {
				t.Errorf("sent at %v, before its time", r.Sent)
			}
		}
		r := mustRun(t, s.URL, o)
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("scale %v, rate %v: %v, want %v", c.scale, c.rate, got, c.want)
		}
		if n := *r.Client.Requests.Completed; int(n) != len(c.want) || *r.Client.Tokens.Generation != 3*n {
			t.Errorf("%+v, %d tokens", r.Client.Requests, *r.Client.Tokens.Generation)
		}
	}
}

// Prompts and messages reach the server as the file has them.
func TestRecords(t *testing.T) {
	s := simulated(t, nil)
	s.NoTokenizer = true // which nothing here needs
	o := replayed(t, file(t, `{"prompt":"a b c","output_tokens":4}`+"\n"+`{"prompt":[7,8]}`), dataset.Options{})
	r := mustRun(t, s.URL, o)
	b := bodies(s)
	if len(b) != 2 || b[0].Text != "a b c" || b[0].MaxTokens != 4 || !slices.Equal(b[1].Prompt, []int{7, 8}) || b[1].MaxTokens != 2 || !o.Dataset.Ended {
		t.Errorf("%+v", b)
	}
	if *r.Client.Tokens.Prompt != 5 || *r.Client.Tokens.Generation != 6 {
		t.Errorf("%d, %d tokens", *r.Client.Tokens.Prompt, *r.Client.Tokens.Generation)
	}

	s = simulated(t, func(a *loadtest.Answer, _ int) { // no usage: the length of a text is unknown
		a.Start()
		a.Token()
		a.Send("data: [DONE]\n\n")
	})
	o = replayed(t, file(t, `{"prompt":"a b c"}`), dataset.Options{})
	if r = mustRun(t, s.URL, o); r.Client.Tokens.Prompt != nil || *r.Client.Tokens.From != "chunks" {
		t.Errorf("%+v", r.Client.Tokens)
	}

	s = simulated(t, nil)
	o = replayed(t, file(t, `{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"<u>"}]}],"max_tokens":3}`), dataset.Options{})
	o.Endpoint = Chat
	mustRun(t, s.URL, o)
	if b = bodies(s); len(b) != 1 || len(b[0].Messages) != 2 || b[0].MaxTokens != 3 || b[0].Messages[1].Role != "user" ||
		strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(b[0].Messages[1].Content) != `[{"type":"text","text":"<u>"}]` {
		t.Errorf("%+v", b)
	}
}

// A record that is wrong in a file that could not be checked before ends the run, with what
// was measured.
func TestWrongRecord(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	fmt.Fprint(out, "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n{\"prompt\":3}\n{\"prompt\":\"c\"}\n")
	out.Close()
	name := fmt.Sprintf("/dev/fd/%d", in.Fd())
	if _, err := os.Stat(name); err != nil {
		t.Skip(err)
	}
	s := simulated(t, nil)
	server, err := NewServer(s.URL, ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), server, replayed(t, name, dataset.Options{}))
	if err == nil || !strings.HasSuffix(err.Error(), "line 3: prompt is neither a text nor a list of token ids") || r == nil || r.Interrupted {
		t.Errorf("%+v, %v", r, err)
	}
}
