package aggregate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// vLLM 0.8 counted blocks where later versions count tokens.
func TestPrefixCacheInBlocks(t *testing.T) {
	page := func(prefix string, queries, hits int) string {
		return fmt.Sprintf("vllm:%sprefix_cache_queries_total %d\nvllm:%sprefix_cache_hits_total %d\n", prefix, queries, prefix, hits)
	}
	for _, c := range []struct{ prefix, version, code, message string }{
		{"gpu_", "0.8.5", "prefix_cache_in_blocks", "has blocks, not tokens"},
		{"gpu_", "", "prefix_cache_in_blocks", "has blocks if it is vLLM 0.8"},
		{"gpu_", "0.9.1", "", ""},
		{"", "", "", ""},
	} {
		v := viewAfter(t, page(c.prefix, 1, 1), page(c.prefix, 9, 3))
		v.endpoints[0].Version = c.version
		if p := v.prefixCache(); *p.Local.HitRate != 0.25 || testkit.Codes(v.Output.Notes) != c.code || c.message != "" && !strings.Contains(v.Notes.Validity[0].Message, c.message) {
			t.Errorf("%+v: %s, %+v", c, testkit.JSON(p.Local), v.Notes.Validity)
		}
	}
}
