package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

func (r view) prefixCache() *schema.PrefixCache {
	hits := func(path string, fq, fh metrics.ID, unit string) *schema.CacheHits {
		queries, why := r.counter(fq)
		found, whyHits := r.counter(fh)
		if why == "" {
			why = whyHits
		}
		if why != "" {
			r.Notes.Missing(path, why)
			return nil
		}
		h := &schema.CacheHits{Queries: queries, Hits: found}
		if queries > 0 {
			h.HitRate = schema.F(float64(found) / float64(queries))
		} else {
			r.Notes.Missing(path+".hit_rate", "no "+unit+" were queried")
		}
		return h
	}
	if why := r.prefixUnits(); why != "" {
		r.Notes.Missing("engine.prefix_cache.local", why)
		r.Notes.Missing("prefix_cache_hit_rate", why)
		return &schema.PrefixCache{
			External:   hits("engine.prefix_cache.external", metrics.ExternalQueries, metrics.ExternalHits, "tokens"),
			Multimodal: hits("engine.prefix_cache.multimodal", metrics.MultimodalQueries, metrics.MultimodalHits, "items"),
		}
	}
	c := &schema.PrefixCache{
		Local:      hits("engine.prefix_cache.local", metrics.PrefixQueries, metrics.PrefixHits, "tokens"),
		External:   hits("engine.prefix_cache.external", metrics.ExternalQueries, metrics.ExternalHits, "tokens"),
		Multimodal: hits("engine.prefix_cache.multimodal", metrics.MultimodalQueries, metrics.MultimodalHits, "items"),
	}
	switch {
	case c.Local == nil:
		_, why := r.counter(metrics.PrefixQueries)
		if why == "" {
			_, why = r.counter(metrics.PrefixHits)
		}
		r.Notes.Missing("prefix_cache_hit_rate", why)
	case c.Local.HitRate == nil:
		r.Notes.Missing("prefix_cache_hit_rate", "no tokens were queried")
	default:
		r.PrefixCacheHitRate = c.Local.HitRate
	}
	return c
}

// prefixUnits looks for engines that count the prefix cache's queries and hits in
// blocks: vLLM 0.8 does, 0.9.0 and all later ones in tokens. One that has only the
// old names is 0.8.0 to 0.9.1, or an older engine (0.9.2 brought the new ones).
// Blocks and tokens cannot be added up: why says so.
func (r view) prefixUnits() (why string) {
	inBlocks, unknown := 0, 0
	for _, e := range r.endpoints {
		row, none := e.Counters.SelectDesc(metrics.PrefixQueries)
		if none != "" || row.Name() == metrics.CanonicalName(metrics.PrefixQueries) {
			continue
		}
		switch {
		case e.Version == "":
			unknown++
		case strings.HasPrefix(strings.TrimPrefix(e.Version, "v"), "0.8."):
			inBlocks++
		}
	}
	switch {
	case inBlocks+unknown == 0:
		return ""
	case len(r.endpoints) > 1 && inBlocks < len(r.endpoints):
		return "the engines are of several versions, and vLLM 0.8 counts the prefix cache's queries in blocks, later ones in tokens"
	case inBlocks > 0:
		r.Notes.Doubt(schema.CodePrefixCacheInBlocks, schema.Info, "vLLM 0.8 counts the prefix cache's queries and hits in blocks: engine.prefix_cache.local has blocks, not tokens; its hit rate is right", nil)
	default:
		r.Notes.Doubt(schema.CodePrefixCacheInBlocks, schema.Info, "the engine exports vllm:gpu_prefix_cache_queries_total alone and does not tell its version: engine.prefix_cache.local is in blocks where it is vLLM 0.8, else in tokens; its hit rate is right", nil)
	}
	return ""
}

const SpeculationOff = "the engine exports no vllm:spec_decode families: speculative decoding is off"

// SpeculationOff says whether the metrics tell that speculative decoding is off.
func (r view) speculationOff() bool {
	upstream := slices.ContainsFunc(r.endpoints, func(e *endpointRecord) bool { _, has := e.Counters.HasOmni(); return has })
	return upstream && !r.everExported(metrics.SpecDraftTokens)
}

func (r view) speculative() *schema.Speculative {
	if _, why := r.metricsOf(metrics.SpecDraftTokens); why != "" {
		if r.speculationOff() {
			why = SpeculationOff
		}
		r.Notes.Missing("engine.speculative", why)
		r.Notes.Missing("spec_accept_rate", why)
		return nil
	}
	const path = "engine.speculative."
	s := &schema.Speculative{
		Drafts:         r.count(path+"drafts", metrics.SpecDrafts),
		DraftTokens:    r.count(path+"draft_tokens", metrics.SpecDraftTokens),
		AcceptedTokens: r.count(path+"accepted_tokens", metrics.SpecAccepted),
	}
	if fill(&r.settings, "speculative_method", &s.Method); s.Method == nil {
		r.Notes.Missing(path+"method", "no metric tells it: "+cmp.Or(r.settings.reasons["speculative_method"], r.settings.notReported["speculative_method"]))
	}
	const unknown = "of accepted tokens and what was drafted one is not known"
	if x, why := ratio(s.AcceptedTokens, s.DraftTokens, unknown, "no tokens were drafted"); why == "" {
		s.AcceptanceRate = schema.F(x)
		r.SpecAcceptRate = s.AcceptanceRate
	} else {
		r.Notes.Missing(path+"acceptance_rate", why)
		r.Notes.Missing("spec_accept_rate", why)
	}
	if x, why := ratio(s.AcceptedTokens, s.Drafts, unknown, "no drafts were made"); why == "" {
		s.AcceptanceLength = schema.F(1 + x)
	} else {
		r.Notes.Missing(path+"acceptance_length", why)
	}
	byPosition := r.countBy(path+"accepted_per_position", metrics.SpecAcceptedPerPosition)
	if byPosition != nil {
		s.AcceptedPerPosition = make([]int64, len(byPosition))
		for position, n := range byPosition {
			i, err := strconv.Atoi(position)
			if err != nil || i < 0 || i >= len(byPosition) {
				s.AcceptedPerPosition = nil
				r.Notes.Missing(path+"accepted_per_position", fmt.Sprintf("the positions do not count from 0: %q", position))
				break
			}
			s.AcceptedPerPosition[i] = n
		}
	}
	return s
}

// ratio divides a by b; why is the reason for none, which differs by whether one
// of them is not known or b is zero.
func ratio(a, b *int64, unknown, zero string) (x float64, why string) {
	switch {
	case a == nil || b == nil:
		return 0, unknown
	case *b <= 0:
		return 0, zero
	}
	return float64(*a) / float64(*b), ""
}

// diffusion reads what a diffusion language model has instead of speculation.
func (r view) diffusion() *schema.DiffusionDecoding {
	const path = "engine.tokens.diffusion"
	if !r.everExported(metrics.DiffusionSteps, metrics.DiffusionPositions, metrics.DiffusionCommitted) {
		r.Notes.Missing(path, "the engine exports no vllm:diffusion families: its model does not decode by diffusion")
		return nil
	}
	d := &schema.DiffusionDecoding{
		DenoisingSteps:  r.count(path+".denoising_steps", metrics.DiffusionSteps),
		CanvasPositions: r.count(path+".canvas_positions", metrics.DiffusionPositions),
		CommittedTokens: r.count(path+".committed_tokens", metrics.DiffusionCommitted),
	}
	if x, why := ratio(d.CommittedTokens, d.DenoisingSteps, "of committed tokens and steps one is not known", "there were no denoising steps"); why == "" {
		d.CommittedTokensPerStep = schema.F(x)
	} else {
		r.Notes.Missing(path+".committed_tokens_per_step", why)
	}
	return d
}
