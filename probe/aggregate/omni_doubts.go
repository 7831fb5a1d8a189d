package aggregate

import (
	"fmt"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// unrecordedIn returns the stages whose engines recorded nothing of the work that vllm-omni
// itself counted, with the reason. Up to vllm-omni 0.24 all of vLLM's own series of times
// and tokens stayed at 0 (issue 4960, fixed by PR 4974), and stages that are not an
// autoregressive engine have such series at 0 in any version. A figure of theirs that is 0
// is not recorded, not zero.
func unrecordedIn(c *window.Counters) map[string]string {
	unrecorded := map[string]string{}
	recorded, worked, anyRecorded, finished := map[string]bool{}, map[string]bool{}, false, 0.0
	for _, m := range c.Metrics() {
		stage := m.Engine.Stage
		switch id := m.Desc.Metric(); {
		case id == metrics.OmniSuccess && m.LabelValue != "abort" || id == metrics.OmniOldSuccess:
			finished += m.Total
		case id.IsOmni() && m.Moved():
			worked[stage] = true
			if to := m.Labels.Get("to_stage"); to != "" {
				worked[to], worked[m.Labels.Get("from_stage")] = true, true
			}
		case id.Kind() == metrics.KindHistogram, id == metrics.PromptTokens, id == metrics.PromptBySource, id == metrics.GenerationTokens, id == metrics.RequestSuccess:
			recorded[stage] = recorded[stage] || m.Moved()
			anyRecorded = anyRecorded || recorded[stage]
		}
	}
	for stage, is := range recorded {
		switch {
		case is:
		case stage != "" && worked[stage]:
			unrecorded[stage] = fmt.Sprintf("not recorded: vllm-omni counted work of stage %s, but its engine's vllm: series did not move (those of stages that are not autoregressive never do, and before vllm-omni PR 4974 none did)", stage)
		case !anyRecorded && finished > 0:
			unrecorded[stage] = fmt.Sprintf("not recorded: vllm-omni finished %.0f requests, but none of its vllm: series moved (before vllm-omni PR 4974 none did)", finished)
		}
	}
	return unrecorded
}

// doubtOmni notes what casts doubt on a pipeline's figures.
func (v view) doubtOmni(o *schema.Omni) {
	v.doubtOmniGauges(o)
	for i, s := range o.Stages {
		a := s.Audio
		if a == nil || a.DurationSeconds == nil || a.TimeToFirstPacketSeconds == nil {
			continue
		}
		if all, some := a.DurationSeconds.Count, a.TimeToFirstPacketSeconds.Count; some < all {
			v.Notes.Doubt(schema.CodeStreamingOnly, schema.Info, fmt.Sprintf("the time to the first audio of stage %s is that of %d of %d audio requests: only streaming ones record it", s.Stage, some, all),
				&schema.Evidence{Field: fmt.Sprintf("omni.stages.%d.audio.time_to_first_packet_seconds.count", i), Value: some, Threshold: all})
		}
	}
	staged, vllm := false, false
	for _, e := range v.endpoints {
		_, has := e.Counters.HasOmni()
		vllm = vllm || has
		staged = staged || e.isPipeline()
	}
	switch {
	case staged:
		// KV offloading has a note of its own.
		if c := v.Engine.PrefixCache; c != nil && c.Local != nil && c.Local.Queries > 0 {
			v.Notes.Doubt(schema.CodeUndercountedSchedulerStats, schema.Info, "vllm-omni collects its schedulers' statistics at most once a second and drops what comes in between (issue 4802): counts of the prefix caches may be too low, and their ratios are more reliable than their totals", &schema.Evidence{Field: "engine.prefix_cache.local.queries", Value: c.Local.Queries})
		}
	case vllm && len(v.Engine.Instances) > 1:
		v.Notes.Doubt(schema.CodeEnginesMayBeStages, schema.Warning, "this vllm-omni build distinguishes its engines only by number: if they are stages of one pipeline, the sums in engine count a request once per stage; omni.pipeline counts whole requests", &schema.Evidence{Field: "engine.instances", Value: len(v.Engine.Instances), Threshold: 1})
	case !vllm && !v.omniCountersMoved():
		v.Notes.Doubt(schema.CodeNothingRecorded, schema.Warning, "vllm-omni's counters did not move, and the server exports none of vLLM's: it may run without --log-stats, and then a 0 means nothing", nil)
	}
}

// omniCountersMoved reports whether any of vllm-omni's own counters and histograms moved.
func (v view) omniCountersMoved() bool {
	for _, e := range v.endpoints {
		for _, m := range e.Counters.Metrics() {
			if m.Desc.Metric().IsOmni() && m.Moved() {
				return true
			}
		}
	}
	return false
}

// doubtOmniGauges notes if the pipeline's own gauges show what is known to be wrong.
func (v view) doubtOmniGauges(o *schema.Omni) {
	running, waiting := o.Pipeline.Requests.Running, o.Pipeline.Requests.Waiting
	if waiting == nil {
		return
	}
	if running != nil && running.Last != nil && waiting.Last != nil && *running.Last == 0 && *waiting.Last > 0 {
		v.Notes.Doubt(schema.CodeDoubtfulGauges, schema.Info, "the pipeline shows waiting requests while none is running: an idle server keeps showing the last one as waiting (review of vllm-omni PR 3576), so there need not be a queue", &schema.Evidence{Field: "omni.pipeline.requests.waiting.last", Value: *waiting.Last, Threshold: 0})
	}
	for i, s := range o.Stages {
		if w := s.WaitingRequests; w != nil && w.Peak != nil && waiting.Peak != nil && *w.Peak > *waiting.Peak {
			v.Notes.Doubt(schema.CodeDoubtfulGauges, schema.Info, fmt.Sprintf("more requests waited in stage %s than the pipeline's gauge shows, which counts those in a stage's own queue as running (vllm-omni issue 6547)", s.Stage),
				&schema.Evidence{Field: fmt.Sprintf("omni.stages.%d.waiting_requests.peak", i), Value: *w.Peak, Threshold: *waiting.Peak})
			return
		}
	}
}
