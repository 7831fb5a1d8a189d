package aggregate

import (
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// The expected values are what testdata/offload/make.py's function diffusion counts.
func TestResidency(t *testing.T) {
	v, _ := offloadView(t, offloadPage(t, "diffusion_pre"), offloadPage(t, "diffusion_post"))
	b := v.residency()
	if b.LifetimeSeconds.Count != 3 || b.LifetimeSeconds.Sum != 4004.3 || b.LifetimeSeconds.P99Est != nil || *b.LifetimeSeconds.Above != 1800 || b.IdleBeforeEvictSeconds.Sum != 0.15 || b.ReuseGapSeconds != nil || reasonAt(v, "engine.kv_cache.residency.reuse_gap_seconds") != "nothing was observed in the window" {
		t.Errorf("%s", testkit.JSON(b))
	}
	page := testkit.Recorded(t, "serve_default_pre")
	if v, _ = offloadView(t, page, page); v.residency() != nil || !strings.Contains(reasonAt(v, "engine.kv_cache.residency"), "--kv-cache-metrics") {
		t.Error("an engine that does not export it")
	}
}
