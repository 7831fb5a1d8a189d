package load

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

func TestParseLengths(t *testing.T) {
	for _, text := range []string{"1", "256", "100..500", "7..7", "lognormal:256,0.8"} {
		if l, err := ParseLengths(text); err != nil || l.String() != text {
			t.Errorf("%s: %v, %v", text, l, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "x", "1.5", "5..1", "0..5", "1..", "..5", "1..2..3", "lognormal:", "lognormal:256", "lognormal:0,1",
		"lognormal:10,0", "lognormal:10,-1", "lognormal:NaN,1", "lognormal:10,NaN", "lognormal:10,9", "99999999999"} {
		if l, err := ParseLengths(text); err == nil || !strings.Contains(err.Error(), "lognormal:256,0.8") {
			t.Errorf("%s: %v, %v", text, l, err)
		}
	}
	for _, text := range []string{"poisson", "constant", "gamma:0.5"} {
		if a, err := ParseArrivals(text); err != nil || a.String() != text {
			t.Errorf("%s: %v, %v", text, a, err)
		}
	}
	for _, text := range []string{"", "Poisson", "gamma", "gamma:", "gamma:0", "gamma:-1", "gamma:NaN", "gamma:Inf"} {
		if _, err := ParseArrivals(text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// Lengths have the distribution that they are named after.
func TestLengths(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	draws := func(text string) (values []int) {
		for range 20_001 {
			values = append(values, lengths(t, text).draw(rng))
		}
		slices.Sort(values)
		return values
	}
	if v := draws("256"); v[0] != 256 || v[20_000] != 256 {
		t.Errorf("fixed: %d to %d", v[0], v[20_000])
	}
	if v := draws("100..199"); v[0] != 100 || v[20_000] != 199 || math.Abs(float64(v[10_000])-149.5) > 3 {
		t.Errorf("range: %d, %d, %d", v[0], v[10_000], v[20_000])
	}
	// One standard deviation above the median of the logarithm, e^0.8 times it, is the 84.13th percentile.
	if v := draws("lognormal:1000,0.8"); math.Abs(float64(v[10_000])-1000) > 30 || math.Abs(float64(v[16_827])-2225.5) > 90 || v[0] < 1 {
		t.Errorf("lognormal: %d, %d, %d", v[0], v[10_000], v[16_827])
	}
}

// Gaps have a mean of 1, and the variation of their process.
func TestGaps(t *testing.T) {
	for text, variance := range map[string]float64{"poisson": 1, "constant": 0, "gamma:0.25": 4, "gamma:1": 1, "gamma:4": 0.25} {
		a, err := ParseArrivals(text)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		const n = 200_000
		sum, squares := 0.0, 0.0
		for range n {
			x := a.gap(rng)
			sum, squares = sum+x, squares+x*x
		}
		mean := sum / n
		if got := squares/n - mean*mean; math.Abs(mean-1) > 0.02 || math.Abs(got-variance) > 0.05*max(variance, 0.01) {
			t.Errorf("%s: mean %.3f, variance %.3f, want %.3f", text, mean, got, variance)
		}
	}
}

// A ramp has half of the requests that its time would have at the full rate, and rises evenly.
func TestArrivalTimes(t *testing.T) {
	p := Plan{Seed: 1, Rate: 100, Arrivals: Poisson, Ramp: 20 * time.Second}
	var perQuarter [4]int
	level := 0
	for next := p.arrivals(); ; {
		at := next()
		if at >= 60 {
			break
		}
		if at < 20 {
			perQuarter[int(at/5)]++
		} else {
			level++
		}
	}
	for i, n := range perQuarter { // 1/16, 3/16, 5/16, 7/16 of 1000
		if want := 1000 * (2*float64(i) + 1) / 16; math.Abs(float64(n)-want) > 4*math.Sqrt(want) {
			t.Errorf("quarter %d of the ramp has %d requests, want about %.0f", i+1, n, want)
		}
	}
	if math.Abs(float64(level)-4000) > 4*math.Sqrt(4000) {
		t.Errorf("%d requests in 40 s at the full rate of 100", level)
	}
	p.Ramp = 0
	p.Arrivals, _ = ParseArrivals("constant")
	next := p.arrivals()
	for i := range 5 {
		if at := next(); math.Abs(at-float64(i)/100) > 1e-9 {
			t.Errorf("request %d at %v", i, at)
		}
	}
}

// Prompts are unique even where the vocabulary is tiny.
func TestUniquePrompts(t *testing.T) {
	p := Plan{Seed: 1, PromptTokens: lengths(t, "6"), OutputTokens: lengths(t, "1"), SharedPrefix: 0.33}
	vocabulary := []int{5, 6, 7, 8, 9, 10}
	prefix := p.prefix(vocabulary)
	seen := map[string]bool{}
	for i := range 1296 { // 6^4
		seen[testkit.JSON(p.tokenIDs(i, p.request(i), prefix, vocabulary))] = true
	}
	if len(seen) != 1296 {
		t.Errorf("%d different prompts", len(seen))
	}
}

func TestChunk(t *testing.T) {
	for _, c := range []struct {
		text string
		want chunk
	}{
		{`{"choices":[{"index":0,"text":" a","finish_reason":null}],"usage":null}`, chunk{token: true, text: true, choices: true}},
		{`{"choices":[{"text":"\"}","finish_reason":null}]}`, chunk{token: true, text: true, choices: true}},
		{`{"choices":[{"text":"","finish_reason":null}]}`, chunk{token: true, choices: true}},
		{`{"choices":[{"text":"","finish_reason":"stop"}]}`, chunk{end: true, choices: true}},
		{`{"choices":[{"text":" a","finish_reason":"length","stop_reason":null}]}`, chunk{token: true, text: true, end: true, choices: true}},
		{`{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}`, chunk{role: true, choices: true}},
		{`{"choices":[{"delta":{"role":"assistant","content":"a"}}]}`, chunk{token: true, text: true, role: true, choices: true}},
		{`{"choices":[{"delta":{"content":null,"reasoning_content":"hm"}}]}`, chunk{token: true, text: true, choices: true}},
		{`{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`, chunk{token: true, text: true, choices: true}},
		{`{"choices":[{"delta":{"tool_calls":[]},"finish_reason":"stop"}]}`, chunk{end: true, choices: true}},
		{`{"choices":[],"usage":{"prompt_tokens":7,"total_tokens":12,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3}}}`,
			chunk{hasUsage: true, prompt: 7, generation: 5}},
		{"\n{ \"choices\" : [ { \"text\" : \"a\" } ] , \"usage\" : { \"completion_tokens\" : 1 } }\t", chunk{token: true, text: true, choices: true, hasUsage: true, generation: 1}},
		{`{"error":{"message":"x"}}`, chunk{failed: true, failure: []byte(`{"message":"x"}`)}},
		{`{"error":null,"choices":[]}`, chunk{}},
		{`{}`, chunk{}},
	} {
		var got chunk
		if err := got.parse([]byte(c.text)); err != nil || testkit.JSON(string(got.failure)) != testkit.JSON(string(c.want.failure)) {
			t.Errorf("%s: %v, %s", c.text, err, got.failure)
		}
		got.failure, c.want.failure = nil, nil
		if got.token != c.want.token || got.text != c.want.text || got.role != c.want.role || got.end != c.want.end || got.choices != c.want.choices ||
			got.hasUsage != c.want.hasUsage || got.prompt != c.want.prompt || got.generation != c.want.generation || got.failed != c.want.failed {
			t.Errorf("%s: %+v", c.text, got)
		}
	}
	for _, text := range []string{"", "x", "[]", `{"a`, `{"a":`, `{"a":1`, `{"choices":{}}`, `{"choices":["a"]}`, `{"a":1}x`, `{"a":[}`, `{"usage":1}`, `{,}`} {
		var got chunk
		if err := got.parse([]byte(text)); err == nil {
			t.Errorf("%s is accepted: %+v", text, got)
		}
	}
	for text, want := range map[string]string{
		`{"message":"a b"}`: "a b", `{"error":{"message":"c"}}`: "c", `{"error":"d"}`: "d", `"e"`: "e", "<html>": "<html>", `{"detail":1}`: `{"detail":1}`,
	} {
		if got := failureText([]byte(text)); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// What encoding/json reads in a chunk, the scanner reads too.
func FuzzChunk(f *testing.F) {
	for _, text := range []string{
		`{"choices":[{"index":0,"text":" a\\\"","finish_reason":null}],"usage":null}`, `{"choices":[{"delta":{"role":"x","content":"é"}}]}`,
		`{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}`, `{"error":{"message":"x"}}`, `[{}]`, `{"choices":[null]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got chunk
		err := got.parse(text)
		var want struct {
			Choices []struct{ Text *string }
			Usage   *struct {
				Prompt     *int64 `json:"prompt_tokens"`
				Completion *int64 `json:"completion_tokens"`
			}
		}
		// Keys that are escaped, doubled or in another case are not what servers write.
		if json.Unmarshal(text, &want) != nil || strings.Contains(string(text), `\u`) || string(text) != strings.ToLower(string(text)) {
			return
		}
		for _, key := range []string{`choices`, `usage`, `prompt_tokens`, `completion_tokens`, `text`} {
			if strings.Count(string(text), key) > 1 {
				return
			}
		}
		if want.Usage != nil && want.Usage.Completion != nil && *want.Usage.Completion >= 0 && *want.Usage.Completion < 1<<40 {
			if err != nil || got.generation != *want.Usage.Completion {
				t.Errorf("%v: %d tokens, want %d", err, got.generation, *want.Usage.Completion)
			}
		}
		if len(want.Choices) == 1 && want.Choices[0].Text != nil && *want.Choices[0].Text != "" && (err != nil || !got.text) {
			t.Errorf("%v: the text %q is not seen", err, *want.Choices[0].Text)
		}
	})
}

func BenchmarkChunk(b *testing.B) {
	text := []byte(`{"id":"cmpl-3a1f0f1c3b7f4b8e9a6d5c4b3a291807","object":"text_completion","created":1764500000,"model":"meta-llama/Llama-3.1-8B-Instruct",` +
		`"choices":[{"index":0,"text":" token","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}`)
	b.ReportAllocs()
	var c chunk
	for b.Loop() {
		if err := c.parse(text); err != nil || !c.token {
			b.Fatal(err)
		}
	}
}
