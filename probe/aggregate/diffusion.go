package aggregate

import (
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// diffusion returns the counts that a diffusion language model has instead of those of
// speculative decoding.
func (v view) diffusion() *schema.DiffusionDecoding {
	const path = "engine.tokens.diffusion"
	if !v.everExported(metrics.DiffusionSteps, metrics.DiffusionPositions, metrics.DiffusionCommitted) {
		v.Notes.Missing(path, "the engine exports no vllm:diffusion families: its model does not decode by diffusion")
		return nil
	}
	d := &schema.DiffusionDecoding{
		DenoisingSteps:  v.count(path+".denoising_steps", metrics.DiffusionSteps),
		CanvasPositions: v.count(path+".canvas_positions", metrics.DiffusionPositions),
		CommittedTokens: v.count(path+".committed_tokens", metrics.DiffusionCommitted),
	}
	if x, why := ratio(d.CommittedTokens, d.DenoisingSteps, "the number of committed tokens or of denoising steps is unknown", "there were no denoising steps"); why == "" {
		d.CommittedTokensPerStep = schema.F(x)
	} else {
		v.Notes.Missing(path+".committed_tokens_per_step", why)
	}
	return d
}
