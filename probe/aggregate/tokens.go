package aggregate

import (
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

func (v view) tokens() *schema.Tokens {
	return &schema.Tokens{
		Prompt:               v.count("engine.tokens.prompt", metrics.PromptTokens),
		PromptBySource:       v.countByLabel("engine.tokens.prompt_by_source", metrics.PromptBySource),
		PromptCachedBySource: v.countByLabel("engine.tokens.prompt_cached_by_source", metrics.PromptCachedBySource),
		Generation:           v.count("engine.tokens.generation", metrics.GenerationTokens),
		PromptPerRequest:     v.distribution("engine.tokens.prompt_per_request", metrics.PromptPerRequest),
		GenerationPerRequest: v.distribution("engine.tokens.generation_per_request", metrics.GenerationPerRequest),
		PerIteration:         v.distribution("engine.tokens.per_iteration", metrics.TokensPerIteration),
		PerIterationLimit:    v.tokenBudget(),
		Diffusion:            v.diffusion(),
	}
}

// tokenBudget returns max_num_batched_tokens, which holds for each engine. Like max_num_seqs it
// is in no metric.
func (v view) tokenBudget() *int64 {
	const field = "engine.tokens.per_iteration_limit"
	if v.stage != "" {
		v.Notes.Missing(field, "the max_num_batched_tokens of a stage is unknown: it is in the deployment's configuration, and no metric reports it")
		return nil
	}
	var limit int64
	for i, e := range v.endpoints {
		each := int64(e.MaxNumBatchedTokens)
		if s, ok := v.settings.byEndpoint[i]["max_num_batched_tokens"]; ok {
			if n, ok := s.Value.(int64); ok && n > 0 && n <= vllm.MaxNumBatchedTokens {
				each = n
			}
		}
		switch {
		case each == 0:
			v.Notes.Missing(field, "max_num_batched_tokens is unknown: no metric reports it, no command line of the server with --max-num-batched-tokens was found (the default depends on the version and the GPU), and "+v.whyNotReported(e, "max_num_batched_tokens"))
			return nil
		case i > 0 && each != limit:
			v.Notes.Missing(field, "engines with different max_num_batched_tokens were read")
			return nil
		}
		limit = each
	}
	return &limit
}
