package probe

import (
	"fmt"
	"math"
	"strings"

	"github.com/vobs/vobs/schema"
)

// doubtConsistency holds counters against each other that must agree: a break
// means that the engine, or what stands between, tells something wrong.
func (r view) doubtConsistency() {
	var breaks []string
	differ := func(a string, x float64, b string, y float64) {
		if x != y {
			breaks = append(breaks, fmt.Sprintf("%s gained %.0f and %s %.0f", a, x, b, y))
		}
	}
	// Polls for some names alone may have followed the last full page.
	samePage := true
	for _, e := range r.endpoints {
		samePage = samePage && e.LastAt.Equal(e.FullAt)
		if g := e.unequalBuckets(); g != nil {
			name := g.row.name()
			differ(name+"_count", g.count, "its highest bucket", g.buckets[len(g.buckets)-1].gained)
		}
	}
	bySource, why := r.groups(promptBySource)
	prompt, whyPrompt := r.groups(promptTokens)
	if why == "" && whyPrompt == "" && len(bySource) > 0 && samePage {
		differ("the sum of "+bySource[0].row.name(), total(bySource), nameOf(promptTokens), total(prompt))
	}
	r.omniConsistency(differ)
	if len(breaks) > 0 {
		r.Notes.Doubt("inconsistent_counters", schema.Warning, "the engine's counters contradict each other: "+strings.Join(breaks, "; "), nil)
	}
}

// omniConsistency: a request that completes, and is not aborted, is observed once
// in the latency; audio that has a length has a real-time factor.
// Source: request_succeeded in vllm_omni/metrics/prometheus.py,
// observe_modality_at_finalize in modality.py.
func (r view) omniConsistency(differ func(a string, x float64, b string, y float64)) {
	r = r.at("")
	success := omniSuccess
	if !r.had(omniSuccess) {
		success = omniOldSuccess
	}
	if done, why := r.groups(success); why == "" {
		completed := 0.0
		for _, g := range done {
			if g.by != "abort" {
				completed += g.total
			}
		}
		if e2e, why := r.groups(omniE2E); why == "" {
			differ("completed requests that were not aborted", completed, "the end-to-end latency's count", merge(e2e).count)
		}
	}
	for _, stage := range r.omniStages() {
		of := r.at(stage)
		duration, why := of.groups(omniAudioDuration)
		rtf, whyRTF := of.groups(omniAudioRTF)
		if why == "" && whyRTF == "" {
			differ("the audio durations' count of stage "+stage, merge(duration).count, "the real-time factors'", merge(rtf).count)
		}
	}
}

func total(groups []*group) (sum float64) {
	for _, g := range groups {
		sum += g.total
	}
	return sum
}

// unequalBuckets gives a histogram whose +Inf bucket gained something else than
// its count; nil where all agree.
func (e *record) unequalBuckets() (found *group) {
	for _, g := range e.Counters.groups {
		if n := len(g.buckets); n > 0 && math.IsInf(g.buckets[n-1].le, 1) && g.buckets[n-1].gained != g.count && e.trouble(g) == "" {
			if found == nil || g.row.name() < found.row.name() {
				found = g
			}
		}
	}
	return found
}
