package validity

import (
	"fmt"
	"math"
	"slices"

	"github.com/vobs/vobs/schema"
)

const (
	// requestsApart is the share of a load generator's requests by which the engine's may
	// differ, and at least one: vllm bench serve can send a test request that it does not count
	// (--ready-check-timeout-sec).
	requestsApart = 0.02
	// tokensApart is that share of generated tokens. Tools that have no usage from the server
	// count them with a tokenizer, which is not exact.
	tokensApart = 0.05
)

// partly are the codes of events whose engine's figures do not cover the run.
var partly = []schema.Code{schema.CodeLateBase, schema.CodeCounterReset, schema.CodeFinalReadingLost, schema.CodeEngineDied}

// engineShared notes by how much the engine's counts differ from those of the load generator,
// if both are complete.
func engineShared(in Input, n *schema.Notes) {
	c, g := in.Event.Client, in.Event.Engine
	if c == nil || !allCompleted(c.Requests) || !coversRun(g, n) {
		return
	}
	completed, received, finished := *c.Requests.Completed, comparableTokens(c.Tokens), int64(0)
	who, why := "", "other clients used it, or the engine also counts test and warm-up requests that the tool leaves out"
	if w := c.Warmup; w != nil { // the engine's counts have it
		if !allCompleted(w.Requests) {
			return
		}
		completed += *w.Requests.Completed
		if more := comparableTokens(w.Tokens); received > 0 && more > 0 {
			received += more
		} else {
			received = 0
		}
		who, why = fmt.Sprintf(", %d of them in the warm-up", *w.Requests.Completed), "other clients used it"
	}
	for _, k := range g.Requests.Finished {
		finished += k
	}
	if more := finished - completed; float64(abs(more)) > math.Max(1, requestsApart*float64(completed)) {
		if more < 0 {
			why = "other engines answered the rest"
		}
		n.Doubt(schema.CodeEngineShared, schema.Warning,
			fmt.Sprintf("%s completed %d requests%s, and the engine finished %d, %s: %s", c.Tool, completed, who, finished, apart(more, completed), why),
			&schema.Evidence{Field: "engine.requests.finished", Value: finished, Threshold: completed})
		return
	}
	if received == 0 || g.Tokens == nil || g.Tokens.Generation == nil {
		return
	}
	generated := *g.Tokens.Generation
	if more := generated - received; float64(abs(more)) > tokensApart*float64(received) {
		n.Doubt(schema.CodeEngineShared, schema.Warning,
			fmt.Sprintf("%s counts %d generated tokens in as many requests, and the engine generated %d, %s", c.Tool, received, generated, apart(more, received)),
			&schema.Evidence{Field: "engine.tokens.generation", Value: generated, Threshold: received})
	}
}

// allCompleted reports whether the load generator counts its requests, and all of them were
// completed. The engine counts some of the others, and not the rest.
func allCompleted(r *schema.ClientRequests) bool {
	if r == nil || r.Completed == nil || *r.Completed == 0 || r.Failed == nil {
		return false
	}
	for _, k := range r.Failed {
		if k != 0 {
			return false
		}
	}
	return r.Cancelled == nil || *r.Cancelled == 0
}

// coversRun reports whether the engine's requests are those of the whole run. If the roles of
// servers are unknown, a request may have been counted on two of them.
func coversRun(g *schema.Engine, n *schema.Notes) bool {
	if g == nil || g.Window == nil || g.Requests == nil || g.Requests.Finished == nil || g.Roles == nil {
		return false
	}
	if g.Window.Final == "last_good" || g.Window.Final == "before_signal" || g.Window.Resets > 0 {
		return false
	}
	return !slices.ContainsFunc(n.Validity, func(v schema.Validity) bool { return slices.Contains(partly, v.Code) })
}

// comparableTokens returns the load generator's generated tokens if they are, as a rule, those
// of the server's usage; 0 if they are not.
func comparableTokens(t *schema.ClientTokens) int64 {
	if t == nil || t.Generation == nil || t.From == nil || *t.From != "usage" && *t.From != "tool" {
		return 0
	}
	return max(0, *t.Generation)
}

// apart returns a difference from a count as text.
func apart(more, from int64) string {
	word := "more"
	if more < 0 {
		word = "fewer"
	}
	return fmt.Sprintf("%d %s (%.1f %%)", abs(more), word, 100*float64(abs(more))/float64(from))
}

func abs(x int64) int64 { return max(x, -x) }
