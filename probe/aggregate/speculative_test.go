package aggregate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
)

// specPage is a page with each engine's drafts, drafted tokens, accepted tokens, and
// accepted tokens by position.
func specPage(engines ...[]int) string {
	var b strings.Builder
	for i, n := range engines {
		fmt.Fprintf(&b, "vllm:spec_decode_num_drafts_total{engine=\"%d\"} %d\nvllm:spec_decode_num_draft_tokens_total{engine=\"%d\"} %d\nvllm:spec_decode_num_accepted_tokens_total{engine=\"%d\"} %d\n", i, n[0], i, n[1], i, n[2])
		for position, accepted := range n[3:] {
			fmt.Fprintf(&b, "vllm:spec_decode_num_accepted_tokens_per_pos_total{engine=\"%d\",position=\"%d\"} %d\n", i, position, accepted)
		}
	}
	return b.String()
}

func TestSpeculationOfSeveralEngines(t *testing.T) {
	v := viewAfter(t, specPage([]int{10, 30, 9, 5, 4, 0}, []int{1, 3, 1, 1, 0, 0}), specPage([]int{110, 330, 209, 105, 74, 30}, []int{101, 203, 101, 61, 30, 10}))
	s := v.speculative()
	if *s.Drafts != 200 || *s.DraftTokens != 500 || *s.AcceptedTokens != 300 || *s.AcceptanceRate != 0.6 || *s.AcceptanceLength != 2.5 || *v.SpecAcceptRate != 0.6 {
		t.Errorf("%s", testkit.JSON(s))
	}
	if diff := cmp.Diff([]int64{160, 100, 40}, s.AcceptedPerPosition); diff != "" {
		t.Error(diff)
	}
	// Engines may draft different numbers of tokens: a position that one lacks counts as 0.
	s = viewAfter(t, specPage([]int{0, 0, 0, 0, 0, 0}, []int{0, 0, 0, 0}), specPage([]int{2, 6, 3, 1, 1, 1}, []int{2, 2, 1, 1})).speculative()
	if diff := cmp.Diff([]int64{2, 1, 1}, s.AcceptedPerPosition); diff != "" {
		t.Error(diff)
	}
}

func TestIncompleteSpeculation(t *testing.T) {
	pre, post := specPage([]int{0, 0, 0, 0, 0, 0}), specPage([]int{2, 6, 4, 2, 1, 1})
	for name, c := range map[string]struct {
		drop, field, why string
	}{
		"a position":      {`vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="1"}`, "accepted_per_position", "not numbered from 0"},
		"accepted tokens": {"vllm:spec_decode_num_accepted_tokens_total", "acceptance_rate", "accepted or of drafted tokens is unknown"},
		"drafts":          {"vllm:spec_decode_num_drafts_total", "acceptance_length", "accepted tokens or of drafts is unknown"},
		"nothing gained":  {"", "acceptance_rate", "no tokens were drafted"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pre, pre
			if c.drop != "" {
				from, to = testkit.ReplaceLines(t, pre, c.drop, ""), testkit.ReplaceLines(t, post, c.drop, "")
			}
			v := viewAfter(t, from, to)
			s := v.speculative()
			if why := reasonAt(v, "engine.speculative."+c.field); !strings.Contains(why, c.why) {
				t.Errorf("%s is null because %q", c.field, why)
			}
			switch c.field {
			case "accepted_per_position":
				if s.AcceptedPerPosition != nil || *s.AcceptedTokens != 4 {
					t.Errorf("%s", testkit.JSON(s))
				}
			case "acceptance_rate":
				if s.AcceptanceRate != nil || v.SpecAcceptRate != nil || reasonAt(v, "spec_accept_rate") != reasonAt(v, "engine.speculative.acceptance_rate") {
					t.Errorf("%s", testkit.JSON(s))
				}
			default:
				if s.AcceptanceLength != nil || !testkit.Near(s.AcceptanceRate, 4.0/6) {
					t.Errorf("%s", testkit.JSON(s))
				}
			}
		})
	}
}

// Speculative decoding is called off only if an engine's own page has nothing about it.
func TestSpeculationOff(t *testing.T) {
	const engine = "vllm:generation_tokens_total{engine=\"0\"} 5\n"
	for name, c := range map[string]struct{ page, why string }{
		"nothing":            {engine, SpeculationOff},
		"an unread family":   {engine + "vllm:spec_decode_tree_depth_sum{engine=\"0\"} 5\n", "vobs does not read vllm:spec_decode_tree_depth"},
		"a collector's page": {strings.ReplaceAll(engine, "vllm:", "ray_vllm_"), "the engine does not export vllm:spec_decode_num_draft_tokens_total"},
	} {
		t.Run(name, func(t *testing.T) {
			v := viewAfter(t, c.page, c.page)
			if s := v.speculative(); s != nil || !strings.Contains(reasonAt(v, "engine.speculative"), c.why) || name != "nothing" && strings.Contains(reasonAt(v, "engine.speculative"), "off") {
				t.Errorf("%s, %q", testkit.JSON(s), reasonAt(v, "engine.speculative"))
			}
		})
	}
}
