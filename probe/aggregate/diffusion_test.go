package aggregate

import (
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// The expected values are what testdata/offload/make.py's function diffusion counts.
func TestDiffusion(t *testing.T) {
	v, _ := offloadView(t, offloadPage(t, "diffusion_pre"), offloadPage(t, "diffusion_post"))
	if d := v.diffusion(); *d.DenoisingSteps != 40 || *d.CanvasPositions != 1280 || *d.CommittedTokens != 100 || *d.CommittedTokensPerStep != 2.5 {
		t.Errorf("%s", testkit.JSON(d))
	}
	page := offloadPage(t, "diffusion_pre")
	if v, _ = offloadView(t, page, page); v.diffusion().CommittedTokensPerStep != nil || reasonAt(v, "engine.tokens.diffusion.committed_tokens_per_step") != "there were no denoising steps" {
		t.Error("tokens per step without a step")
	}
	page = testkit.Recorded(t, "serve_default_pre")
	if v, _ = offloadView(t, page, page); v.diffusion() != nil {
		t.Error("an engine that does not export it")
	}
}
