package aggregate

import (
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
		c.Local = v.cacheHits("engine.prefix_cache.local", metrics.PrefixQueries, metrics.PrefixHits, "tokens")
	}
	c.External = v.cacheHits("engine.prefix_cache.external", metrics.ExternalQueries, metrics.ExternalHits, "tokens")
	c.Multimodal = v.cacheHits("engine.prefix_cache.multimodal", metrics.MultimodalQueries, metrics.MultimodalHits, "items")
	switch {
	case why != "":
		v.Notes.Missing("prefix_cache_hit_rate", why)
	case c.Local == nil:
		_, why := v.counter(metrics.PrefixQueries)
		if why == "" {
			_, why = v.counter(metrics.PrefixHits)
		}
		v.Notes.Missing("prefix_cache_hit_rate", why)
	case c.Local.HitRate == nil:
		v.Notes.Missing("prefix_cache_hit_rate", "no tokens were looked up")
	default:
		v.PrefixCacheHitRate = c.Local.HitRate
	}
	return c
}

// cacheHits returns the queries and hits of one cache, which are counted in a unit.
func (v view) cacheHits(path string, queriesID, hitsID metrics.ID, unit string) *schema.CacheHits {
	queries, why := v.counter(queriesID)
	hits, whyHits := v.counter(hitsID)
	if why == "" {
		why = whyHits
	}
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	h := &schema.CacheHits{Queries: queries, Hits: hits}
	if queries > 0 {
		h.HitRate = schema.F(float64(hits) / float64(queries))
	} else {
		v.Notes.Missing(path+".hit_rate", "no "+unit+" were looked up")
	}
	return h
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
