package aggregate

import (
	"fmt"
	"slices"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// With disaggregated prefilling, one server computes a prompt's KV and its first token, and
// another one fetches the KV and generates the rest (docs/features/disagg_prefill.md of vLLM).
// Both count the request, its prompt and its latency, so their counters are never added up. As
// with the stages of a pipeline, the view is restricted to the endpoints of one role.

// role is what a server does for a request.
type role string

const (
	roleUnknown role = ""
	rolePrefill role = "prefill"
	roleDecode  role = "decode"
	roleBoth    role = "both" // whole requests, although it may exchange KV with other servers
)

// declaredRoles are the roles by kv_role (vllm/config/kv_transfer.py). The connector of NIXL
// ignores the setting: its prefilling and decoding servers may both have kv_both.
var declaredRoles = map[string]role{"kv_producer": rolePrefill, "kv_consumer": roleDecode, "kv_both": roleBoth}

// work is what one endpoint's counters show about its role.
type work struct {
	declared role
	active   bool // it counted requests or tokens
	// received reports whether it received the KV of prompts from another server.
	received bool
	// firstTokensOnly reports whether it generated one token for each finished request.
	firstTokensOnly bool
}

// mayPrefill reports whether the work is that of a server that prefills for another one.
func (w work) mayPrefill() bool { return w.firstTokensOnly && !w.received }

// mayDecode reports whether it is that of a server that decodes what another one prefilled.
func (w work) mayDecode() bool { return w.received && !w.firstTokensOnly }

// workOf returns what an endpoint's counters show.
func (v view) workOf(e *endpoint) work {
	w := work{declared: declaredRoles[e.KVRole]}
	gain := map[metrics.ID]float64{}
	received, known, tiers, remote := 0.0, false, false, 0.0
	offloaded, transferred := false, false
	for _, m := range e.Counters.Metrics() {
		if e.whyUnusable(m) != "" {
			continue
		}
		switch id := m.Desc.Metric(); id {
		case metrics.PromptTokens, metrics.GenerationTokens, metrics.RequestSuccess:
			gain[id] += m.Gain()
		case metrics.PromptBySource:
			known = true
			if m.LabelValue == metrics.SourceExternalKVTransfer {
				received += m.Gain()
			}
		case metrics.PromptCachedBySource:
			tiers = true
			if m.LabelValue == "p2p" || m.LabelValue == "external_unspecified" {
				remote += m.Gain()
			}
		case metrics.ExternalHits:
			gain[id] += m.Gain()
		case metrics.OffloadLoadBytes, metrics.OffloadOldBytes, metrics.SimpleLoadBlocks:
			offloaded = offloaded || m.Moved() && (id != metrics.OffloadOldBytes || loads.matches(m.LabelValue))
		case metrics.NixlTransferTime:
			transferred = transferred || m.Moved()
		}
	}
	if !known { // before 0.16
		received = gain[metrics.ExternalHits]
	}
	// KV from the engine's own offload tier counts as external too.
	fromOwnTier := tiers && remote == 0 || !tiers && offloaded && !transferred
	w.received = received > 0 && !fromOwnTier
	finished := gain[metrics.RequestSuccess]
	w.active = finished > 0 || gain[metrics.PromptTokens] > 0 || gain[metrics.GenerationTokens] > 0
	w.firstTokensOnly = finished > 0 && gain[metrics.GenerationTokens] == finished
	return w
}

// rolesOf returns the role of each endpoint; nil if a request passes only one of them. ok is
// false if some of them decode what others prefilled, but it is unknown which ones do.
func rolesOf(all []work) (roles []role, ok bool) {
	has := func(match func(work) bool) bool { return slices.ContainsFunc(all, match) }
	declared := has(func(w work) bool { return w.declared != roleUnknown })
	received := has(func(w work) bool { return w.declared == roleUnknown && w.received })
	prefills := has(func(w work) bool { return w.declared == rolePrefill || w.declared != roleDecode && w.mayPrefill() })
	decodes := received || has(func(w work) bool { return w.declared == roleDecode || w.declared != rolePrefill && w.mayDecode() })
	split := received || prefills && decodes || has(func(w work) bool { return w.declared == rolePrefill || w.declared == roleDecode })
	ok = true
	for _, w := range all {
		r := w.declared
		switch {
		case r == rolePrefill || r == roleDecode || len(all) == 1:
		case decodes && w.mayPrefill():
			r = rolePrefill
		case prefills && w.mayDecode(), r == roleUnknown && w.received:
			r = roleDecode
		case r == roleUnknown && w.active && split:
			ok = false
		}
		roles = append(roles, r)
	}
	is := func(match func(role) bool) bool { return slices.ContainsFunc(roles, match) }
	switch {
	case !is(func(r role) bool { return r != roleUnknown }):
		return nil, true
	case ok && !declared && !is(func(r role) bool { return r == rolePrefill }):
		return nil, true // all of them share a cache
	}
	return roles, ok
}

// chooseRole determines the roles of the endpoints and returns the view of those whose figures
// are the engine's: those that decode, from which clients get their answers, or if there are
// none, those that prefill. If the roles are unknown, the view has all endpoints, and their
// counters are not added up.
func (v view) chooseRole() view {
	var all []work
	for _, e := range v.all {
		all = append(all, v.workOf(e))
	}
	roles, ok := rolesOf(all)
	why := ""
	switch {
	case slices.ContainsFunc(v.all, func(e *endpoint) bool { return e.MixedKVRoles }):
		why = "servers that prefill and servers that decode write to the same directory of metrics files"
	case !ok:
		why = "a server received the KV of prompts from others, and it is unknown which servers prefill and which decode (no kv_role was found in a command line or in /server_info, and the counters do not show it)"
	}
	if why != "" {
		v.whySplitUnknown = "a request may be counted by several servers: " + why
		v.Notes.Doubt(schema.CodeRolesUnknown, schema.Warning, why+": their counters are not added up", nil)
		return v
	}
	v.split = roles
	var answer []*endpoint
	for i, r := range roles {
		if r == roleDecode || r == roleBoth {
			answer = append(answer, v.all[i])
		}
	}
	if len(answer) == 0 {
		return v
	}
	return v.of(answer...)
}

// roles returns the figures of each endpoint that has a role.
func (v view) roles() []schema.Role {
	if v.whySplitUnknown != "" {
		v.Notes.Missing("engine.roles", v.whySplitUnknown)
		return nil
	}
	out := []schema.Role{}
	for i, r := range v.split {
		if r == roleUnknown {
			continue // it did nothing
		}
		one := v.of(v.all[i])
		path := fmt.Sprintf("engine.roles.%d.", len(out))
		out = append(out, schema.Role{
			Role: string(r), Endpoint: i,
			RequestsFinished: one.count(path+"requests_finished", metrics.RequestSuccess),
			PromptTokens:     one.count(path+"prompt_tokens", metrics.PromptTokens),
			GenerationTokens: one.count(path+"generation_tokens", metrics.GenerationTokens),
		})
	}
	return out
}

// whyNotAddedUp returns why the gauges of the view's endpoints are not added up, or "".
func (v view) whyNotAddedUp(id metrics.ID) string {
	if id.Kind() == metrics.KindGauge && v.engine == nil {
		return v.whySplitUnknown
	}
	return ""
}
