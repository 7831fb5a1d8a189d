package aggregate

import (
	"fmt"
	"math"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
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
			name := g.Desc.Name()
			differ(name+"_count", g.Count, "its highest bucket", g.Buckets[len(g.Buckets)-1].Count)
		}
	}
	bySource, why := r.metricsOf(metrics.PromptBySource)
	prompt, whyPrompt := r.metricsOf(metrics.PromptTokens)
	if why == "" && whyPrompt == "" && len(bySource) > 0 && samePage {
		differ("the sum of "+bySource[0].Desc.Name(), total(bySource), metrics.CanonicalName(metrics.PromptTokens), total(prompt))
	}
	r.omniConsistency(differ)
	if len(breaks) > 0 {
		r.Notes.Doubt(schema.CodeInconsistentCounters, schema.Warning, "the engine's counters contradict each other: "+strings.Join(breaks, "; "), nil)
	}
}

// omniConsistency: a request that completes, and is not aborted, is observed once
// in the latency; audio that has a length has a real-time factor.
// Source: request_succeeded in vllm_omni/metrics/prometheus.py,
// observe_modality_at_finalize in modality.py.
func (r view) omniConsistency(differ func(a string, x float64, b string, y float64)) {
	r = r.at("")
	success := metrics.OmniSuccess
	if !r.everExported(metrics.OmniSuccess) {
		success = metrics.OmniOldSuccess
	}
	if done, why := r.metricsOf(success); why == "" {
		completed := 0.0
		for _, g := range done {
			if g.By != "abort" {
				completed += g.Total
			}
		}
		if e2e, why := r.metricsOf(metrics.OmniE2E); why == "" {
			differ("completed requests that were not aborted", completed, "the end-to-end latency's count", window.MergeHistograms(e2e).Count)
		}
	}
	for _, stage := range r.omniStages() {
		of := r.at(stage)
		duration, why := of.metricsOf(metrics.OmniAudioDuration)
		rtf, whyRTF := of.metricsOf(metrics.OmniAudioRTF)
		if why == "" && whyRTF == "" {
			differ("the audio durations' count of stage "+stage, window.MergeHistograms(duration).Count, "the real-time factors'", window.MergeHistograms(rtf).Count)
		}
	}
}

func total(groups []*window.Metric) (sum float64) {
	for _, g := range groups {
		sum += g.Total
	}
	return sum
}

// unequalBuckets gives a histogram whose +Inf bucket gained something else than
// its count; nil where all agree.
func (e *endpointRecord) unequalBuckets() (found *window.Metric) {
	for _, g := range e.Counters.Metrics {
		if n := len(g.Buckets); n > 0 && math.IsInf(g.Buckets[n-1].UpperBound, 1) && g.Buckets[n-1].Count != g.Count && e.whyUnusable(g) == "" {
			if found == nil || g.Desc.Name() < found.Desc.Name() {
				found = g
			}
		}
	}
	return found
}
