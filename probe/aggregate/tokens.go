package aggregate

import (
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
		Diffusion:            v.diffusion(),
	}
}
