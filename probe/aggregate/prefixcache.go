package aggregate

import (
	"fmt"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

func (v view) prefixCache() *schema.PrefixCache {
	c := &schema.PrefixCache{}
	why := v.whyUnitsUnknown()
	if why != "" {
		v.Notes.Missing("engine.prefix_cache.local", why)
	} else {
		c.Local, why = v.cacheHits("engine.prefix_cache.local", metrics.PrefixQueries, metrics.PrefixHits, "tokens")
	}
	c.External, _ = v.cacheHits("engine.prefix_cache.external", metrics.ExternalQueries, metrics.ExternalHits, "tokens")
	c.Multimodal, _ = v.cacheHits("engine.prefix_cache.multimodal", metrics.MultimodalQueries, metrics.MultimodalHits, "items")
	switch {
	case why != "":
		v.Notes.Missing("prefix_cache_hit_rate", why)
	case c.Local.HitRate == nil:
		v.Notes.Missing("prefix_cache_hit_rate", "no tokens were looked up")
	default:
		v.PrefixCacheHitRate = c.Local.HitRate
	}
	return c
}

// cacheHits returns the queries and hits of one cache, which are counted in a unit; nil,
// with the reason noted at path, if they are unknown.
func (v view) cacheHits(path string, queriesID, hitsID metrics.ID, unit string) (h *schema.CacheHits, why string) {
	queries, why := v.counter(queriesID)
	hits, whyHits := v.counter(hitsID)
	switch {
	case why != "":
	case whyHits != "":
		why = whyHits
	case hits > queries:
		why = v.noteImpossible("%s gained %d, more than %s, which gained %d", hitsID.CanonicalName(), hits, queriesID.CanonicalName(), queries)
	case hitsID == metrics.PrefixHits && hits == 0:
		why = v.whyHitsContradicted()
	}
	if why != "" {
		v.Notes.Missing(path, why)
		return nil, why
	}
	h = &schema.CacheHits{Queries: queries, Hits: hits}
	if queries > 0 {
		h.HitRate = schema.F(float64(hits) / float64(queries))
	} else {
		v.Notes.Missing(path+".hit_rate", "no "+unit+" were looked up")
	}
	return h, ""
}

// whyHitsContradicted returns why the prefix cache cannot have had no hits, or "": the
// engine counts the prompt tokens that came from it elsewhere too. A request that was under
// way when the window began had its hits counted before.
func (v view) whyHitsContradicted() string {
	for _, e := range v.endpoints {
		if !e.lacksStage(v.stage) && !e.AtBase.Idle() {
			return ""
		}
	}
	found, why := v.metricsWithLabel(metrics.PromptBySource, metrics.SourceLocalCacheHit)
	n := gainOf(found)
	if why != "" || n <= 0 {
		return ""
	}
	why = fmt.Sprintf("%s gained 0, although %s gained %.0f for %s", metrics.PrefixHits.CanonicalName(), metrics.PromptBySource.CanonicalName(), n, metrics.SourceLocalCacheHit)
	v.contradictions = append(v.contradictions, why)
	return why
}

// whyUnitsUnknown returns why the engines' counts of the prefix cache cannot be added up, or
// "". vLLM 0.8 counts queries and hits in blocks, 0.9.0 and later versions in tokens. An
// engine that has only the old names is 0.8.0 to 0.9.1, or older (0.9.2 added the new
// names). If all engines may count in blocks, that is noted.
func (v view) whyUnitsUnknown() (why string) {
	inBlocks, unknown := 0, 0
	for _, e := range v.endpoints {
		desc, none := e.Counters.SelectDesc(metrics.PrefixQueries)
		if none != "" || desc.Name() == metrics.PrefixQueries.CanonicalName() {
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
	case len(v.endpoints) > 1 && inBlocks < len(v.endpoints):
		return "the engines have different versions: vLLM 0.8 counts the prefix cache's queries in blocks, later versions in tokens"
	case inBlocks > 0:
		v.Notes.Doubt(schema.CodePrefixCacheInBlocks, schema.Info, "vLLM 0.8 counts the prefix cache's queries and hits in blocks: engine.prefix_cache.local has blocks, not tokens; its hit rate is correct", nil)
	default:
		v.Notes.Doubt(schema.CodePrefixCacheInBlocks, schema.Info, "the engine exports only vllm:gpu_prefix_cache_queries_total, and its version is unknown: engine.prefix_cache.local has blocks if it is vLLM 0.8, otherwise tokens; its hit rate is correct", nil)
	}
	return ""
}
