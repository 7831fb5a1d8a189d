package aggregate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// A histogram's sum that decreases without its count is an invalid value, not a restart.
func TestSumDecreases(t *testing.T) {
	page := func(count int, sum float64) string {
		const name = "vllm:request_queue_time_seconds"
		return fmt.Sprintf("vllm:generation_tokens_total %d\n%[2]s_bucket{le=\"0.3\"} %[1]d\n%[2]s_bucket{le=\"+Inf\"} %[1]d\n%[2]s_count %[1]d\n%[2]s_sum %[3]v\n", count, name, sum)
	}
	for _, c := range []struct {
		name     string
		fromZero bool
		pages    []string
		sum      float64
		why      string // of a missing distribution
	}{
		{"rises", false, []string{page(10, 100), page(12, 101)}, 1, ""},
		{"falls", false, []string{page(10, 100), page(12, 99)}, 0, "_sum decreased although its count did not"},
		{"falls and rises again", false, []string{page(10, 100), page(12, 90), page(14, 120)}, 0, "_sum decreased although its count did not"},
		{"falls by rounding", false, []string{page(10, 100), page(12, 100-1e-9)}, -1e-9, ""},
		{"begins negative", true, []string{page(10, -1)}, 0, "_sum decreased although its count did not"},
		{"falls with its count: it starts over", false, []string{page(10, 100), page(4, 3)}, 3, ""},
	} {
		counters := countersAfter(t, c.fromZero, fullPages(c.pages...)...)
		v := viewOf(counters, window.NewGauges())
		d := v.distribution("engine.latency_seconds.request_queue_time", metrics.QueueTime)
		why := reasonAt(v, "engine.latency_seconds.request_queue_time")
		if (d == nil) != (c.why != "") || !strings.Contains(why, c.why) || d != nil && (float64(d.Sum) < c.sum-1e-12 || float64(d.Sum) > c.sum+1e-12) {
			t.Errorf("%s: %+v %q", c.name, d, why)
		}
		if (counters.Invalid > 0) != (c.why != "") || (counters.Resets > 0) != strings.Contains(c.name, "starts over") {
			t.Errorf("%s: %d invalid values, %d resets", c.name, counters.Invalid, counters.Resets)
		}
	}
}

// Hits above queries and accepted tokens above drafted ones are no figures.
func TestImpossibleCounts(t *testing.T) {
	cache := func(prefix string, queries, hits int) string {
		return fmt.Sprintf("vllm:%squeries_total %d\nvllm:%shits_total %d\n", prefix, queries, prefix, hits)
	}
	for _, prefix := range []string{"prefix_cache_", "external_prefix_cache_", "mm_cache_"} {
		for _, hits := range []int{3, 9} {
			v := viewAfter(t, cache(prefix, 1, 1), cache(prefix, 6, hits))
			p := v.prefixCache()
			group := map[string]*schema.CacheHits{"prefix_cache_": p.Local, "external_prefix_cache_": p.External, "mm_cache_": p.Multimodal}[prefix]
			impossible := hits > 6
			if (group == nil) != impossible || strings.Contains(testkit.Codes(v.Notes), "invalid_values") != impossible || prefix == "prefix_cache_" && (v.PrefixCacheHitRate == nil) != impossible {
				t.Errorf("%s%d: %s, doubts %s", prefix, hits, testkit.JSON(p), testkit.Codes(v.Notes))
			}
		}
	}
	for accepted, impossible := range map[int]bool{6: false, 7: true} {
		v := viewAfter(t, specPage([]int{0, 0, 0, 0, 0, 0}), specPage([]int{2, 6, accepted, 2, 1, 1}))
		s := v.speculative()
		if (s.AcceptedTokens == nil) != impossible || (s.DraftTokens == nil) != impossible || (v.SpecAcceptRate == nil) != impossible || (s.AcceptanceLength == nil) != impossible ||
			strings.Contains(testkit.Codes(v.Notes), "invalid_values") != impossible {
			t.Errorf("%d accepted of 6: %s, doubts %s", accepted, testkit.JSON(s), testkit.Codes(v.Notes))
		}
	}
	tier := func(queries, hits int) string {
		const name = "vllm:kv_offload_tiering_chunk_"
		return fmt.Sprintf("%[1]squeries_total{tier=\"0:primary\"} %[2]d\n%[1]shits_total{tier=\"0:primary\"} %[3]d\n", name, queries, hits)
	}
	for hits, impossible := range map[int]bool{5: false, 6: true} {
		v, e := offloadView(t, tier(1, 1), tier(6, hits+1))
		got := e.KVOffload.Tiers[0]
		if (got.Hits == nil) != impossible || (got.Queries == nil) != impossible || (got.HitRate == nil) != impossible || strings.Contains(testkit.Codes(v.Notes), "invalid_values") != impossible {
			t.Errorf("%d hits of 5: %s, doubts %s", hits, testkit.JSON(got), testkit.Codes(v.Notes))
		}
	}
}

// few_requests names the distributions whose quantiles rest on too few observations.
func TestFewRequests(t *testing.T) {
	page := func(queue, prefill int) string {
		one := func(name string, n int) string {
			return fmt.Sprintf("vllm:%[1]s_bucket{le=\"0.3\"} %[2]d\nvllm:%[1]s_bucket{le=\"+Inf\"} %[2]d\nvllm:%[1]s_count %[2]d\nvllm:%[1]s_sum %[2]d\n", name, n)
		}
		return one("request_queue_time_seconds", queue) + one("request_prefill_time_seconds", prefill)
	}
	for _, c := range []struct {
		queue, prefill int
		want           string
		smallest       int64
	}{
		{100, 200, "", 0},
		{0, 100, "", 0},
		{99, 100, "engine.latency_seconds: request_queue_time", 99},
		{20, 19, "engine.latency_seconds: request_queue_time, request_prefill_time (also p95)", 19},
	} {
		v := viewAfter(t, page(0, 0), page(c.queue, c.prefill))
		v.latency()
		v.doubtFew()
		got := v.Notes.Validity
		switch {
		case c.want == "":
			if len(got) > 0 {
				t.Errorf("%+v: %s", c, testkit.JSON(got))
			}
		case len(got) != 1 || got[0].Code != schema.CodeFewRequests || !strings.HasSuffix(got[0].Message, ", in "+c.want) || got[0].Evidence.Value != c.smallest || got[0].Evidence.Threshold != 100:
			t.Errorf("%+v: %s", c, testkit.JSON(got))
		}
	}
}
