package validity

import (
	"strings"
	"testing"

	"github.com/vobs/vobs/schema"
)

// withClient returns an Input whose load generator and engine agree: 1000 requests and
// 20000 generated tokens.
func withClient() Input {
	in := clean()
	g := in.Event.Engine
	g.Window.Final, g.Roles = "settled", []schema.Role{}
	g.Requests = &schema.Requests{Finished: map[string]int64{"stop": 400, "length": 600}}
	g.Tokens.Generation = schema.Ptr(int64(20_000))
	in.Event.Client = &schema.Client{
		Tool:     "vllm bench serve",
		Requests: &schema.ClientRequests{Completed: schema.Ptr(int64(1000)), Failed: map[string]int64{}},
		Tokens:   &schema.ClientTokens{Generation: schema.Ptr(int64(20_000)), From: schema.Ptr("tool")},
	}
	return in
}

// warmup returns a warm-up that was completed.
func warmup(requests, tokens int64) *schema.ClientWarmup {
	return &schema.ClientWarmup{
		Requests: &schema.ClientRequests{Completed: &requests, Failed: map[string]int64{}, Cancelled: schema.Ptr(int64(0))},
		Tokens:   &schema.ClientTokens{Generation: &tokens, From: schema.Ptr("usage")},
	}
}

func TestEngineShared(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*schema.Client, *schema.Engine)
		want   string // a part of the message; "" for none
	}{
		{"equal", func(*schema.Client, *schema.Engine) {}, ""},
		{"a test request", func(_ *schema.Client, g *schema.Engine) { g.Requests.Finished["stop"]++ }, ""},
		{"2 %", func(_ *schema.Client, g *schema.Engine) { g.Requests.Finished["stop"] += 20 }, ""},
		{"others", func(_ *schema.Client, g *schema.Engine) { g.Requests.Finished["stop"] += 100 }, "vllm bench serve completed 1000 requests, and the engine finished 1100, 100 more (10.0 %): other clients used it"},
		{"other engines", func(_ *schema.Client, g *schema.Engine) { g.Requests.Finished["stop"] -= 250 }, "the engine finished 750, 250 fewer (25.0 %): other engines"},
		{"one of one", func(c *schema.Client, g *schema.Engine) {
			*c.Requests.Completed, g.Requests.Finished, g.Tokens.Generation = 1, map[string]int64{"stop": 2}, nil
		}, ""},
		{"two of one", func(c *schema.Client, g *schema.Engine) {
			*c.Requests.Completed, g.Requests.Finished = 1, map[string]int64{"stop": 3}
		}, "2 more (200.0 %)"},
		{"tokens", func(_ *schema.Client, g *schema.Engine) { *g.Tokens.Generation += 1001 }, "counts 20000 generated tokens in as many requests, and the engine generated 21001, 1001 more (5.0 %)"},
		{"few tokens", func(_ *schema.Client, g *schema.Engine) { *g.Tokens.Generation += 1000 }, ""},
		{"tokens of a tokenizer", func(c *schema.Client, g *schema.Engine) {
			*c.Tokens.From, *g.Tokens.Generation = "tokenizer", 40_000
		}, ""},
		{"chunks", func(c *schema.Client, g *schema.Engine) { *c.Tokens.From, *g.Tokens.Generation = "chunks", 40_000 }, ""},
		{"a warm-up", func(c *schema.Client, g *schema.Engine) {
			c.Warmup = warmup(100, 2000)
			g.Requests.Finished["stop"], *g.Tokens.Generation = 500, 22_000
		}, ""},
		{"others beside a warm-up", func(c *schema.Client, g *schema.Engine) {
			c.Warmup = warmup(100, 2000)
			g.Requests.Finished["stop"] = 700
		}, "vllm bench serve completed 1100 requests, 100 of them in the warm-up, and the engine finished 1300, 200 more (18.2 %): other clients used it"},
		{"tokens beside a warm-up", func(c *schema.Client, g *schema.Engine) {
			c.Warmup = warmup(100, 2000)
			g.Requests.Finished["stop"], *g.Tokens.Generation = 500, 25_000
		}, "counts 22000 generated tokens in as many requests, and the engine generated 25000"},
		{"chunks of a warm-up", func(c *schema.Client, g *schema.Engine) {
			c.Warmup = warmup(100, 2000)
			*c.Warmup.Tokens.From = "chunks"
			g.Requests.Finished["stop"], *g.Tokens.Generation = 500, 25_000
		}, ""},
		{"a failure in the warm-up", func(c *schema.Client, g *schema.Engine) {
			c.Warmup = warmup(100, 2000)
			c.Warmup.Requests.Failed["timeout"] = 1
			g.Requests.Finished["stop"] = 700
		}, ""},

		// Where the counts are not complete, they are not compared.
		{"failures", func(c *schema.Client, g *schema.Engine) {
			c.Requests.Failed["timeout"], g.Requests.Finished["stop"] = 3, 900
		}, ""},
		{"unknown failures", func(c *schema.Client, g *schema.Engine) { c.Requests.Failed, g.Requests.Finished["stop"] = nil, 900 }, ""},
		{"cancelled", func(c *schema.Client, g *schema.Engine) {
			c.Requests.Cancelled, g.Requests.Finished["stop"] = schema.Ptr(int64(2)), 900
		}, ""},
		{"none completed", func(c *schema.Client, g *schema.Engine) { *c.Requests.Completed = 0 }, ""},
		{"the engine was gone", func(_ *schema.Client, g *schema.Engine) {
			g.Window.Final, g.Requests.Finished["stop"] = "last_good", 900
		}, ""},
		{"it restarted", func(_ *schema.Client, g *schema.Engine) { g.Window.Resets, g.Requests.Finished["stop"] = 1, 0 }, ""},
		{"roles are unknown", func(_ *schema.Client, g *schema.Engine) { g.Roles, g.Requests.Finished["stop"] = nil, 900 }, ""},
		{"requests are unknown", func(_ *schema.Client, g *schema.Engine) { g.Requests = nil }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := withClient()
			c.change(in.Event.Client, in.Event.Engine)
			var notes schema.Notes
			engineShared(in, &notes)
			switch {
			case c.want == "" && len(notes.Validity) > 0:
				t.Error(notes.Validity[0].Message)
			case c.want != "" && (len(notes.Validity) != 1 || !strings.Contains(notes.Validity[0].Message, c.want)):
				t.Errorf("%v, expected %q", notes.Validity, c.want)
			}
		})
	}
}

// Counts are not compared either if it is noted that the engine was not read over the whole run.
func TestEngineSharedPartly(t *testing.T) {
	for _, code := range partly {
		in := withClient()
		in.Event.Engine.Requests.Finished["stop"] += 500
		notes := schema.Notes{Validity: []schema.Validity{{Code: code}}}
		engineShared(in, &notes)
		if len(notes.Validity) != 1 {
			t.Errorf("%s: %s", code, notes.Validity[1].Message)
		}
	}
}
