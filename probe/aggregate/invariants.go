package aggregate

import (
	"fmt"
	"math"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// doubtConsistency compares counters that must agree. If they do not, the engine or
// something between it and vobs reports wrong values.
func (v view) doubtConsistency() {
	breaks := v.contradictions
	differ := func(a string, x float64, b string, y float64) {
		if x != y {
			breaks = append(breaks, fmt.Sprintf("%s gained %.0f and %s %.0f", a, x, b, y))
		}
	}
	// Filtered scrapes may have followed the last full page.
	samePage := true
	for _, e := range v.endpoints {
		samePage = samePage && e.LastAt.Equal(e.FullAt)
		if m := e.unequalBuckets(); m != nil {
			name := m.Desc.Name()
			differ(name+"_count", m.Count, "its highest bucket", m.Buckets[len(m.Buckets)-1].Count)
		}
	}
	bySource, why := v.metricsOf(metrics.PromptBySource)
	prompt, whyPrompt := v.metricsOf(metrics.PromptTokens)
	if why == "" && whyPrompt == "" && len(bySource) > 0 && samePage {
		differ("the sum of "+bySource[0].Desc.Name(), gainOf(bySource), metrics.PromptTokens.CanonicalName(), gainOf(prompt))
	}
	v.omniConsistency(differ)
	if len(breaks) > 0 {
		v.Notes.Doubt(schema.CodeInconsistentCounters, schema.Warning, "the engine's counters contradict each other: "+strings.Join(breaks, "; "), nil)
	}
}

// omniConsistency: the latency is observed once for every request that completes and is not
// aborted; audio with a duration has a real-time factor.
// Source: request_succeeded in vllm_omni/metrics/prometheus.py,
// observe_modality_at_finalize in modality.py.
func (v view) omniConsistency(differ func(a string, x float64, b string, y float64)) {
	v = v.at("")
	success := metrics.OmniSuccess
	if !v.everExported(metrics.OmniSuccess) {
		success = metrics.OmniOldSuccess
	}
	if done, why := v.metricsOf(success); why == "" {
		completed := 0.0
		for _, m := range done {
			if m.LabelValue != "abort" {
				completed += m.Total
			}
		}
		if e2e, why := v.metricsOf(metrics.OmniE2E); why == "" {
			differ("completed requests that were not aborted", completed, "the end-to-end latency's count", window.MergeHistograms(e2e).Count)
		}
	}
	for _, stage := range v.omniStages() {
		ofStage := v.at(stage)
		duration, why := ofStage.metricsOf(metrics.OmniAudioDuration)
		rtf, whyRTF := ofStage.metricsOf(metrics.OmniAudioRTF)
		if why == "" && whyRTF == "" {
			differ("the count of audio durations of stage "+stage, window.MergeHistograms(duration).Count, "that of real-time factors", window.MergeHistograms(rtf).Count)
		}
	}
}

// unequalBuckets returns a histogram whose +Inf bucket gained another number than its count;
// nil if there is none.
func (e *endpoint) unequalBuckets() (found *window.Metric) {
	for _, m := range e.Counters.Metrics() {
		if n := len(m.Buckets); n > 0 && math.IsInf(m.Buckets[n-1].UpperBound, 1) && m.Buckets[n-1].Count != m.Count && e.whyUnusable(m) == "" {
			if found == nil || m.Desc.Name() < found.Desc.Name() {
				found = m
			}
		}
	}
	return found
}

// noteImpossible notes that what the counters gained cannot be, and returns that as a
// reason.
func (v view) noteImpossible(format string, args ...any) (why string) {
	why = fmt.Sprintf(format, args...)
	v.Notes.Doubt(schema.CodeInvalidValues, schema.Warning, why+": these figures were left out", nil)
	return why
}
