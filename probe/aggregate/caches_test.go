package aggregate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
)

// specPage is what two engines say of speculation: drafts, drafted and accepted
// tokens, accepted ones by position.
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
	r := reportOf(applyAll(t, specPage([]int{10, 30, 9, 5, 4, 0}, []int{1, 3, 1, 1, 0, 0}), specPage([]int{110, 330, 209, 105, 74, 30}, []int{101, 203, 101, 61, 30, 10})))
	s := r.speculative()
	if *s.Drafts != 200 || *s.DraftTokens != 500 || *s.AcceptedTokens != 300 || *s.AcceptanceRate != 0.6 || *s.AcceptanceLength != 2.5 || *r.SpecAcceptRate != 0.6 {
		t.Errorf("%s", testkit.JSON(s))
	}
	if diff := cmp.Diff([]int64{160, 100, 40}, s.AcceptedPerPosition); diff != "" {
		t.Error(diff)
	}
	// Engines may draft different numbers of tokens: what one lacks is 0 there.
	s = reportOf(applyAll(t, specPage([]int{0, 0, 0, 0, 0, 0}, []int{0, 0, 0, 0}), specPage([]int{2, 6, 3, 1, 1, 1}, []int{2, 2, 1, 1}))).speculative()
	if diff := cmp.Diff([]int64{2, 1, 1}, s.AcceptedPerPosition); diff != "" {
		t.Error(diff)
	}
}

func TestSpeculationWithHoles(t *testing.T) {
	pre, post := specPage([]int{0, 0, 0, 0, 0, 0}), specPage([]int{2, 6, 4, 2, 1, 1})
	for name, c := range map[string]struct {
		drop, field, why string
	}{
		"a position":         {`vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="1"}`, "accepted_per_position", "do not count from 0"},
		"accepted tokens":    {"vllm:spec_decode_num_accepted_tokens_total", "acceptance_rate", "one is not known"},
		"drafts":             {"vllm:spec_decode_num_drafts_total", "acceptance_length", "one is not known"},
		"nothing, and twice": {"", "acceptance_rate", "no tokens were drafted"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pre, pre
			if c.drop != "" {
				from, to = testkit.ReplaceLines(t, pre, c.drop, ""), testkit.ReplaceLines(t, post, c.drop, "")
			}
			r := reportOf(applyAll(t, from, to))
			s := r.speculative()
			if why := reasonIn(r, "engine.speculative."+c.field); !strings.Contains(why, c.why) {
				t.Errorf("%s is null for %q", c.field, why)
			}
			switch c.field {
			case "accepted_per_position":
				if s.AcceptedPerPosition != nil || *s.AcceptedTokens != 4 {
					t.Errorf("%s", testkit.JSON(s))
				}
			case "acceptance_rate":
				if s.AcceptanceRate != nil || r.SpecAcceptRate != nil || reasonIn(r, "spec_accept_rate") != reasonIn(r, "engine.speculative.acceptance_rate") {
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

// In a pipeline of stages, series that tell no stage are nobody's: neither the
// first stage's nor nothing.
func TestSeriesWithoutStage(t *testing.T) {
	page := func(n int) string {
		return fmt.Sprintf("vllm:generation_tokens_total{stage=\"0\",replica=\"0\"} %d\n", n) + specPage([]int{n, 2 * n, n, n})
	}
	r := reportOf(applyAll(t, page(1), page(5)))
	r.stage = r.chooseStage()
	if n, why := r.counter(metrics.GenerationTokens); n != 4 || why != "" {
		t.Errorf("%d tokens %q", n, why)
	}
	if s := r.speculative(); s != nil || !strings.Contains(reasonIn(r, "spec_accept_rate"), "tell no stage") {
		t.Errorf("%s %q", testkit.JSON(s), reasonIn(r, "spec_accept_rate"))
	}
}

// The expected values are what testdata/offload/make.py's function diffusion counts.
func TestDiffusionAndResidency(t *testing.T) {
	r, _ := readThrough(t, offloadPage(t, "diffusion_pre"), offloadPage(t, "diffusion_post"))
	if d := r.diffusion(); *d.DenoisingSteps != 40 || *d.CanvasPositions != 1280 || *d.CommittedTokens != 100 || *d.CommittedTokensPerStep != 2.5 {
		t.Errorf("%s", testkit.JSON(d))
	}
	b := r.residency()
	if b.LifetimeSeconds.Count != 3 || b.LifetimeSeconds.Sum != 4004.3 || b.LifetimeSeconds.P99Est != nil || *b.LifetimeSeconds.Above != 1800 || b.IdleBeforeEvictSeconds.Sum != 0.15 || b.ReuseGapSeconds != nil || reasonIn(r, "engine.kv_cache.residency.reuse_gap_seconds") != "nothing was observed in the window" {
		t.Errorf("%s", testkit.JSON(b))
	}
	page := offloadPage(t, "diffusion_pre")
	if r, _ = readThrough(t, page, page); r.diffusion().CommittedTokensPerStep != nil || reasonIn(r, "engine.tokens.diffusion.committed_tokens_per_step") != "there were no denoising steps" {
		t.Error("tokens per step without a step")
	}
	page = testkit.Recorded(t, "serve_default_pre")
	if r, _ = readThrough(t, page, page); r.diffusion() != nil || r.residency() != nil || !strings.Contains(reasonIn(r, "engine.kv_cache.residency"), "--kv-cache-metrics") {
		t.Error("an engine that exports neither")
	}
}

// vLLM 0.8 counted blocks where later versions count tokens.
func TestPrefixCacheInBlocks(t *testing.T) {
	page := func(prefix string, queries, hits int) string {
		return fmt.Sprintf("vllm:%sprefix_cache_queries_total %d\nvllm:%sprefix_cache_hits_total %d\n", prefix, queries, prefix, hits)
	}
	for _, c := range []struct{ names, version, code, says string }{
		{"gpu_", "0.8.5", "prefix_cache_in_blocks", "has blocks, not tokens"},
		{"gpu_", "", "prefix_cache_in_blocks", "is in blocks where it is vLLM 0.8"},
		{"gpu_", "0.9.1", "", ""},
		{"", "", "", ""},
	} {
		r := reportOf(applyAll(t, page(c.names, 1, 1), page(c.names, 9, 3)))
		r.endpoints[0].Version = c.version
		if p := r.prefixCache(); *p.Local.HitRate != 0.25 || testkit.Codes(r.Output.Notes) != c.code || c.says != "" && !strings.Contains(r.Notes.Validity[0].Message, c.says) {
			t.Errorf("%+v: %s, %+v", c, testkit.JSON(p.Local), r.Notes.Validity)
		}
	}
}
