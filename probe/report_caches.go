package probe

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/vobs/vobs/schema"
)

func (r *reporter) kvCache() *schema.KVCache {
	k := &schema.KVCache{Usage: r.gauge("engine.kv_cache.usage", kvUsage)}
	switch {
	case k.Usage == nil:
		r.Notes.Missing("kv_cache_usage_perc", r.noGauge(kvUsage))
	case k.Usage.Last == nil:
		r.Notes.Missing("kv_cache_usage_perc", nameOf(kvUsage)+" vanished from the page inside the window")
	default:
		r.KVCacheUsagePerc = k.Usage.Last
	}
	label := func(name string) *int64 {
		text, why := r.config(name)
		n, err := strconv.ParseInt(text, 10, 64)
		if why == "" && err != nil {
			why = fmt.Sprintf("vllm:cache_config_info says %s=%q", name, text)
		}
		if why != "" {
			r.Notes.Missing("engine.kv_cache."+eventName(name), why)
			return nil
		}
		return &n
	}
	// num_gpu_blocks is the sum over engines already, kv_cache_size_tokens is one
	// engine's: both are repeated on every engine's series.
	k.NumGPUBlocks = label("num_gpu_blocks")
	k.BlockSize = label("block_size")
	k.SizeTokens = label("kv_cache_size_tokens")
	switch {
	case k.SizeTokens == nil:
		r.Notes.Missing("engine.kv_cache.peak_tokens", "the cache's size in tokens is not known")
	case k.Usage == nil || k.Usage.Peak == nil:
		r.Notes.Missing("engine.kv_cache.peak_tokens", "the cache's peak usage is not known")
	default:
		k.PeakTokens = schema.Ptr(int64(float64(*k.Usage.Peak) * float64(*k.SizeTokens)))
	}
	return k
}

func eventName(label string) string {
	if label == "kv_cache_size_tokens" {
		return "size_tokens"
	}
	return label
}

// config reads a label of vllm:cache_config_info, whose values are Python's
// str() of the CacheConfig's fields: "True", "None", "128".
func (r *reporter) config(name string) (value, why string) {
	for _, e := range r.endpoints {
		for _, id := range slices.SortedFunc(maps.Keys(e.ledger.configs), compareEngines) {
			labels := e.ledger.configs[id]
			if v := labels.Get(name); v != "" {
				return v, ""
			}
			why = "vllm:cache_config_info has no label " + name
		}
	}
	if why == "" {
		why = "the engine does not export vllm:cache_config_info"
	}
	return "", why
}

// runtimeConfig fills those of the seed's six keys that the metrics tell.
func (r *reporter) runtimeConfig() {
	c := &r.EngineRuntimeConfig
	switch v, _ := r.config("enable_prefix_caching"); v {
	case "True":
		c.EnablePrefixCaching = schema.Ptr(true)
	case "False":
		c.EnablePrefixCaching = schema.Ptr(false)
	}
	if v, why := r.config("cache_dtype"); why == "" && v != "None" {
		c.KVCacheDtype = &v
	}
	r.Notes.Missing("engine_runtime_config", "the engine's metrics tell enable_prefix_caching and kv_cache_dtype only; this version does not read /server_info yet")
}

func (r *reporter) prefixCache() *schema.PrefixCache {
	hits := func(path string, fq, fh figure, unit string) *schema.CacheHits {
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
	c := &schema.PrefixCache{
		Local:      hits("engine.prefix_cache.local", prefixQueries, prefixHits, "tokens"),
		External:   hits("engine.prefix_cache.external", externalQueries, externalHits, "tokens"),
		Multimodal: hits("engine.prefix_cache.multimodal", multimodalQueries, multimodalHits, "items"),
	}
	switch {
	case c.Local == nil:
		_, why := r.counter(prefixQueries)
		if why == "" {
			_, why = r.counter(prefixHits)
		}
		r.Notes.Missing("prefix_cache_hit_rate", why)
	case c.Local.HitRate == nil:
		r.Notes.Missing("prefix_cache_hit_rate", "no tokens were queried")
	default:
		r.PrefixCacheHitRate = c.Local.HitRate
	}
	return c
}

func (r *reporter) speculative() *schema.Speculative {
	if _, why := r.groups(specDraftTokens); why != "" {
		if !slices.ContainsFunc(r.endpoints, func(e *endpoint) bool { return e.ledger.had(specDraftTokens) }) {
			why = "the engine exports no vllm:spec_decode families: speculative decoding is off"
		}
		r.Notes.Missing("engine.speculative", why)
		r.Notes.Missing("spec_accept_rate", why)
		return nil
	}
	const path = "engine.speculative."
	s := &schema.Speculative{
		Drafts:         r.count(path+"drafts", specDrafts),
		DraftTokens:    r.count(path+"draft_tokens", specDraftTokens),
		AcceptedTokens: r.count(path+"accepted_tokens", specAccepted),
	}
	r.Notes.Missing(path+"method", "the engine's metrics do not tell it")
	ratio := func(a, b *int64) (float64, bool) {
		if a == nil || b == nil || *b <= 0 {
			return 0, false
		}
		return float64(*a) / float64(*b), true
	}
	if x, ok := ratio(s.AcceptedTokens, s.DraftTokens); ok {
		s.AcceptanceRate = schema.F(x)
		r.SpecAcceptRate = s.AcceptanceRate
	} else {
		r.Notes.Missing(path+"acceptance_rate", "no tokens were drafted")
		r.Notes.Missing("spec_accept_rate", "no tokens were drafted")
	}
	if x, ok := ratio(s.AcceptedTokens, s.Drafts); ok {
		s.AcceptanceLength = schema.F(1 + x)
	} else {
		r.Notes.Missing(path+"acceptance_length", "no drafts were made")
	}
	byPosition := r.countBy(path+"accepted_per_position", specAcceptedPerPosition)
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
