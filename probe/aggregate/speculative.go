package aggregate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// SpeculationOff is the reason for missing figures of speculative decoding if it is off.
const SpeculationOff = "the engine exports no vllm:spec_decode families: speculative decoding is off"

// speculationOff reports whether the metrics show that speculative decoding is off. They do not
// if the page has families about it that are not read, or is a collector's: Ray exports a
// counter from its first increment on.
func (v view) speculationOff() bool {
	vllm := slices.ContainsFunc(v.endpoints, func(e *endpoint) bool { _, has := e.Counters.HasOmni(); return has })
	renamed := slices.ContainsFunc(v.endpoints, func(e *endpoint) bool { return e.Counters.Naming != metrics.Native })
	return vllm && !renamed && !v.everExported(metrics.SpecDraftTokens) && v.unreadFamilies(metrics.UnreadSpeculation) == ""
}

func (v view) speculative() *schema.Speculative {
	if _, why := v.metricsOf(metrics.SpecDraftTokens); why != "" {
		if v.speculationOff() {
			why = SpeculationOff
		} else if unread := v.unreadFamilies(metrics.UnreadSpeculation); unread != "" && !v.everExported(metrics.SpecDraftTokens) {
			why += ", and vobs does not read " + unread
		}
		v.Notes.Missing("engine.speculative", why)
		v.Notes.Missing("spec_accept_rate", why)
		return nil
	}
	const path = "engine.speculative."
	s := &schema.Speculative{
		Drafts:         v.count(path+"drafts", metrics.SpecDrafts),
		DraftTokens:    v.count(path+"draft_tokens", metrics.SpecDraftTokens),
		AcceptedTokens: v.count(path+"accepted_tokens", metrics.SpecAccepted),
	}
	if drafted, accepted := s.DraftTokens, s.AcceptedTokens; drafted != nil && accepted != nil && *accepted > *drafted {
		why := v.noteImpossible("%s gained %d, more than %s, which gained %d", metrics.SpecAccepted.CanonicalName(), *accepted, metrics.SpecDraftTokens.CanonicalName(), *drafted)
		s.DraftTokens, s.AcceptedTokens = nil, nil
		v.Notes.Missing(path+"draft_tokens", why)
		v.Notes.Missing(path+"accepted_tokens", why)
	}
	if setIfKnown(&v.settings, "speculative_method", &s.Method); s.Method == nil {
		v.Notes.Missing(path+"method", "no metric reports it: "+cmp.Or(v.settings.reasons["speculative_method"], v.settings.notReported["speculative_method"]))
	}
	if x, why := ratio(s.AcceptedTokens, s.DraftTokens, "the number of accepted or of drafted tokens is unknown", "no tokens were drafted"); why == "" {
		s.AcceptanceRate = schema.F(x)
		v.SpecAcceptRate = s.AcceptanceRate
	} else {
		v.Notes.Missing(path+"acceptance_rate", why)
		v.Notes.Missing("spec_accept_rate", why)
	}
	if x, why := ratio(s.AcceptedTokens, s.Drafts, "the number of accepted tokens or of drafts is unknown", "there were no drafts"); why == "" {
		s.AcceptanceLength = schema.F(1 + x)
	} else {
		v.Notes.Missing(path+"acceptance_length", why)
	}
	byPosition := v.countByLabel(path+"accepted_per_position", metrics.SpecAcceptedPerPosition)
	if byPosition != nil {
		s.AcceptedPerPosition = make([]int64, len(byPosition))
		for _, position := range slices.Sorted(maps.Keys(byPosition)) {
			i, err := strconv.Atoi(position)
			if err != nil || i < 0 || i >= len(byPosition) {
				s.AcceptedPerPosition = nil
				v.Notes.Missing(path+"accepted_per_position", fmt.Sprintf("the positions are not numbered from 0: %q", position))
				break
			}
			s.AcceptedPerPosition[i] = byPosition[position]
		}
	}
	return s
}
