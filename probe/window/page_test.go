package window

import (
	"testing"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
)

func TestDeclares(t *testing.T) {
	for _, c := range []struct {
		name string
		kind exposition.Type
		want bool
	}{
		{"vllm:prompt_tokens", exposition.Counter, true},
		{"vllm:prompt_tokens", exposition.Gauge, false},
		{"ray_vllm_prompt_tokens_total", exposition.Counter, true},
		{"vllm:iteration_tokens_total", exposition.Histogram, true}, // in spite of its suffix
	} {
		if m, ok := metrics.Lookup(c.name); !ok || declares(m, c.kind) != c.want {
			t.Errorf("%s with type %v: %+v, %v", c.name, c.kind, m, ok)
		}
	}
}
