package aggregate

import (
	"fmt"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// unrecordedIn returns, by stage, why nothing was recorded: the stages whose engines told nothing of work that
// vllm-omni itself has counted: up to its version 0.24 all of upstream's series
// of time and tokens stayed at 0 (issue 4960, mended by PR 4974), and stages that
// are no autoregressive engine have such series at 0 in any version. A figure of
// theirs that stands at 0 is not recorded, not zero.
func unrecordedIn(l *window.Counters) map[string]string {
	unrecorded := map[string]string{}
	told, worked, anyTold, finished := map[string]bool{}, map[string]bool{}, false, 0.0
	for _, g := range l.Metrics {
		r, stage := g.Desc.Desc(), g.Engine.Stage
		switch f := r.Metric; {
		case f == metrics.OmniSuccess && g.By != "abort" || f == metrics.OmniOldSuccess:
			finished += g.Total
		case f.IsOmni() && (g.Total > 0 || g.Count > 0):
			worked[stage] = true
			if to := g.Labels.Get("to_stage"); to != "" {
				worked[to], worked[g.Labels.Get("from_stage")] = true, true
			}
		case r.Kind == metrics.KindHistogram, f == metrics.PromptTokens, f == metrics.PromptBySource, f == metrics.GenerationTokens, f == metrics.RequestSuccess:
			told[stage] = told[stage] || g.Total > 0 || g.Count > 0
			anyTold = anyTold || told[stage]
		}
	}
	for stage, is := range told {
		switch {
		case is:
		case stage != "" && worked[stage]:
			unrecorded[stage] = fmt.Sprintf("not recorded: vllm-omni counted work of stage %s, and its engine's vllm: series stood still (they do for stages that are no autoregressive engine, and before vllm-omni's PR 4974 for all)", stage)
		case !anyTold && finished > 0:
			unrecorded[stage] = fmt.Sprintf("not recorded: vllm-omni finished %.0f requests, and none of its vllm: series moved (before vllm-omni's PR 4974 they stand still)", finished)
		}
	}
	return unrecorded
}

// doubtOmni notes what casts doubt on a pipeline's figures.
func (r view) doubtOmni(o *schema.Omni) {
	r.doubtOmniGauges(o)
	for i, s := range o.Stages {
		a := s.Audio
		if a == nil || a.DurationSeconds == nil || a.TimeToFirstPacketSeconds == nil {
			continue
		}
		if all, some := a.DurationSeconds.Count, a.TimeToFirstPacketSeconds.Count; some < all {
			r.Notes.Doubt(schema.CodeStreamingOnly, schema.Info, fmt.Sprintf("the time to the first audio of stage %s rests on %d of %d audio requests: only streaming ones tell it", s.Stage, some, all),
				&schema.Evidence{Field: fmt.Sprintf("omni.stages.%d.audio.time_to_first_packet_seconds.count", i), Value: some, Threshold: all})
		}
	}
	staged, upstream := false, false
	for _, e := range r.endpoints {
		_, has := e.Counters.HasOmni()
		upstream = upstream || has
		staged = staged || e.isPipeline()
	}
	switch {
	case staged:
		// Without KV offloading and connectors, whose figures say so themselves.
		if c := r.Engine.PrefixCache; c != nil && c.Local != nil && c.Local.Queries > 0 {
			r.Notes.Doubt(schema.CodeUndercountedSchedulerStats, schema.Info, "vllm-omni hands on its schedulers' statistics once a second at most and drops what comes between (issue 4802): counts of the prefix caches may be too low, and their ratios are better than their totals", &schema.Evidence{Field: "engine.prefix_cache.local.queries", Value: c.Local.Queries})
		}
	case upstream && len(r.Engine.Instances) > 1:
		r.Notes.Doubt(schema.CodeEnginesMayBeStages, schema.Warning, "this vllm-omni build tells its engines apart by number alone: where they are stages of one pipeline, the sums in engine count a request once for each; whole requests stand in omni.pipeline", &schema.Evidence{Field: "engine.instances", Value: len(r.Engine.Instances), Threshold: 1})
	case !upstream && !r.omniCountersMoved():
		r.Notes.Doubt(schema.CodeNothingRecorded, schema.Warning, "vllm-omni's counters stood still, and the server exports none of upstream's: it may run without --log-stats, and then a 0 says nothing", nil)
	}
}

func (r view) omniCountersMoved() bool {
	for _, e := range r.endpoints {
		for _, g := range e.Counters.Metrics {
			if g.Desc.Metric().IsOmni() && (g.Total > 0 || g.Count > 0) {
				return true
			}
		}
	}
	return false
}

// doubtOmniGauges notes where the pipeline's own gauges are known to be wrong.
func (r view) doubtOmniGauges(o *schema.Omni) {
	running, waiting := o.Pipeline.Requests.Running, o.Pipeline.Requests.Waiting
	if waiting == nil {
		return
	}
	if running != nil && running.Last != nil && waiting.Last != nil && *running.Last == 0 && *waiting.Last > 0 {
		r.Notes.Doubt(schema.CodeDoubtfulGauges, schema.Info, "the pipeline shows waiting requests while none runs: an idle server keeps showing the last one as waiting (review of vllm-omni PR 3576), so that it need not be a queue", &schema.Evidence{Field: "omni.pipeline.requests.waiting.last", Value: *waiting.Last, Threshold: 0})
	}
	for i, s := range o.Stages {
		if w := s.WaitingRequests; w != nil && w.Peak != nil && waiting.Peak != nil && *w.Peak > *waiting.Peak {
			r.Notes.Doubt(schema.CodeDoubtfulGauges, schema.Info, fmt.Sprintf("more requests waited in stage %s than the pipeline's gauge shows, which counts those in a stage's own queue as running (vllm-omni issue 6547)", s.Stage),
				&schema.Evidence{Field: fmt.Sprintf("omni.stages.%d.waiting_requests.peak", i), Value: *w.Peak, Threshold: *waiting.Peak})
			return
		}
	}
}
