package aggregate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// omniStage returns the figures of v.stage.
func (v view) omniStage(path string) schema.OmniStage {
	s := schema.OmniStage{
		Stage:                 v.stage,
		StageType:             v.stageType(path + "stage_type"),
		Replicas:              v.omniReplicas(),
		GenerationTimeSeconds: v.distribution(path+"generation_time_seconds", metrics.OmniStageGenTime),
		InQueueSeconds:        v.distribution(path+"in_queue_seconds", metrics.OmniStageQueue),
		WaitingRequests:       v.gauge(path+"waiting_requests", metrics.OmniStageWaiting),
		PeakMemoryBytes:       v.peakMemory(path + "peak_memory_bytes"),
	}
	group := func(name string, ids []metrics.ID, fill func(path string)) {
		if v.stagesOf(ids...)[v.stage] {
			fill(path + name + ".")
			return
		}
		v.Notes.Missing(path+name, "the engine has no "+name+" series of this stage")
	}
	group("audio", idsBetween(metrics.OmniAudioTTFP, metrics.OmniAudioSkipped), func(path string) { s.Audio = v.omniAudio(path) })
	group("image", idsBetween(metrics.OmniImageTTFP, metrics.OmniImageTime), func(path string) { s.Image = v.omniImage(path) })
	group("video", idsBetween(metrics.OmniVideoTime, metrics.OmniVideoRTF), func(path string) {
		s.Video = &schema.OmniVideo{
			GenerationTimeSeconds: v.distribution(path+"generation_time_seconds", metrics.OmniVideoTime),
			DurationSeconds:       v.distribution(path+"duration_seconds", metrics.OmniVideoDuration),
			RTF:                   v.distribution(path+"rtf", metrics.OmniVideoRTF),
		}
	})
	group("diffusion", idsBetween(metrics.OmniDiffusionExec, metrics.OmniDiffusionKVLoad), func(path string) {
		s.Diffusion = &schema.OmniDiffusion{
			ExecSeconds:        v.distribution(path+"exec_seconds", metrics.OmniDiffusionExec),
			ExecPerStepSeconds: v.distribution(path+"exec_per_step_seconds", metrics.OmniDiffusionExecPerStep),
			PreprocessSeconds:  v.distribution(path+"preprocess_seconds", metrics.OmniDiffusionPreprocess),
			PostprocessSeconds: v.distribution(path+"postprocess_seconds", metrics.OmniDiffusionPostprocess),
			VAEDecodeSeconds:   v.distribution(path+"vae_decode_seconds", metrics.OmniVAEDecode),
			ForwardSeconds:     v.distribution(path+"forward_seconds", metrics.OmniDiffusionForward),
			DenoiseStepSeconds: v.distribution(path+"denoise_step_seconds", metrics.OmniDenoiseStep),
			KVLoadSeconds:      v.distribution(path+"kv_load_seconds", metrics.OmniDiffusionKVLoad),
		}
	})
	return s
}

func (v view) stageType(path string) *string {
	types := map[string]bool{}
	for _, e := range v.endpoints {
		for _, m := range e.Counters.Metrics() {
			if m.Desc.Metric() == metrics.OmniStageGenTime && m.Engine.Stage == v.stage && m.LabelValue != "" {
				types[m.LabelValue] = true
			}
		}
	}
	switch names := slices.Sorted(maps.Keys(types)); len(names) {
	case 0:
		v.Notes.Missing(path, "only a label of "+metrics.OmniStageGenTime.CanonicalName()+" has it, and there is no sample of that for this stage")
		return nil
	case 1:
		return &names[0]
	default:
		v.Notes.Missing(path, "the stage has several: "+strings.Join(names, ", "))
		return nil
	}
}

// omniReplicas returns the replicas of v.stage, from vLLM's own series too: some of
// vllm-omni's families have no such label.
func (v view) omniReplicas() []string {
	found := map[string]bool{}
	for _, e := range v.endpoints {
		for _, m := range e.Counters.Metrics() {
			if m.Engine.Stage == v.stage && m.Engine.Replica != "" {
				found[m.Engine.Replica] = true
			}
		}
	}
	return append([]string{}, slices.SortedFunc(maps.Keys(found), compareLabels)...)
}

// peakMemory returns the highest reading of a stage's peak. If the stage did nothing in the
// window, the gauge shows a request before it.
func (v view) peakMemory(path string) *int64 {
	g := v.combinedGauge(metrics.OmniPeakMemory, "")
	switch {
	case !g.Known || v.overflowed(metrics.OmniPeakMemory):
		v.Notes.Missing(path, v.whyNoGauge(metrics.OmniPeakMemory, ""))
	case !v.stageWorked():
		v.Notes.Missing(path, "the stage finished nothing in the window: the gauge shows a request before it")
	default:
		return schema.Ptr(int64(math.Round(max(g.Peak, g.Last))))
	}
	return nil
}

// stageWorked reports whether vllm-omni's own series of v.stage moved.
func (v view) stageWorked() bool {
	return slices.ContainsFunc(v.endpoints, func(e *endpoint) bool {
		return slices.ContainsFunc(e.Counters.Metrics(), func(m *window.Metric) bool {
			return m.Desc.Metric().IsOmni() && m.Engine.Stage == v.stage && m.Moved()
		})
	})
}

func (v view) omniAudio(path string) *schema.OmniAudio {
	a := &schema.OmniAudio{
		DurationSeconds: v.distribution(path+"duration_seconds", metrics.OmniAudioDuration),
		RTF:             v.distribution(path+"rtf", metrics.OmniAudioRTF),
		Frames:          v.count(path+"frames", metrics.OmniAudioFrames),
		Skipped:         v.countByLabel(path+"skipped", metrics.OmniAudioSkipped),
	}
	if a.DurationSeconds != nil {
		// The first reason at a path counts: these, if the figures turn out to be null.
		for _, c := range []struct {
			field string
			id    metrics.ID
		}{{"time_to_first_packet_seconds", metrics.OmniAudioTTFP}, {"underrun_seconds", metrics.OmniAudioUnderrun}, {"continuity", metrics.OmniAudioUnderrun}} {
			if found, why := v.metricsOf(c.id); why == "" && window.MergeHistograms(found).Count == 0 {
				v.Notes.Missing(path+c.field, fmt.Sprintf("none of %d audio requests was recorded in %s: it is for streaming requests (stream: true) only, and some builds lose those too (vllm-omni PR 4974)", a.DurationSeconds.Count, c.id.CanonicalName()))
			}
		}
	}
	a.TimeToFirstPacketSeconds = v.distribution(path+"time_to_first_packet_seconds", metrics.OmniAudioTTFP)
	a.UnderrunSeconds = v.distribution(path+"underrun_seconds", metrics.OmniAudioUnderrun)
	a.Continuity = v.continuity(path + "continuity")
	a.RealtimeShare = v.realtimeShare(path + "realtime_share")
	a.SecondsPerSecond = v.audioRate(path + "seconds_per_second")
	return a
}

// realtimeShare returns the exact share of requests with a real-time factor of at most 1,
// which is a bucket bound.
func (v view) realtimeShare(path string) *schema.Float {
	found, why := v.metricsOf(metrics.OmniAudioRTF)
	h := window.MergeHistograms(found)
	i := slices.IndexFunc(h.Buckets, func(b window.Bucket) bool { return b.UpperBound == 1 })
	switch {
	case why != "":
	case h.Count <= 0:
		why = nothingObserved
	case i < 0:
		why = "the engine's buckets have no bound of 1"
	default:
		return schema.F(h.Buckets[i].Count / h.Count)
	}
	v.Notes.Missing(path, why)
	return nil
}

// audioRate returns the seconds of audio that were generated per second.
func (v view) audioRate(path string) *schema.Float {
	found, why := v.metricsOf(metrics.OmniAudioDuration)
	seconds := float64(v.Engine.Window.DurationSeconds)
	if why == "" && seconds <= 0 {
		why = emptyWindow
	}
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	return schema.F(window.MergeHistograms(found).Sum / seconds)
}

// continuity relates the requests without a gap to those whose underrun was observed.
// Requests that did not stream are in neither.
func (v view) continuity(path string) *schema.OmniContinuity {
	found, why := v.metricsOf(metrics.OmniAudioContinuity)
	underruns, whyNoUnderruns := v.metricsOf(metrics.OmniAudioUnderrun)
	thresholds := map[string]bool{}
	c := &schema.OmniContinuity{}
	for _, m := range found {
		thresholds[m.LabelValue] = true
		c.OK += int64(m.Gain())
	}
	streamed := window.MergeHistograms(underruns).Count
	switch {
	case why != "":
	case len(thresholds) > 1:
		why = "requests are compared with several thresholds, in ms: " + strings.Join(slices.SortedFunc(maps.Keys(thresholds), compareLabels), ", ")
	case c.OK == 0 && streamed == 0 && whyNoUnderruns == "":
		why = "no streaming request was observed in the window"
	}
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	for label := range thresholds {
		if ms, err := strconv.ParseFloat(label, 64); err == nil && ms == math.Trunc(ms) && math.Abs(ms) < window.MaxExact {
			c.ThresholdMs = schema.Ptr(int64(ms))
		} else {
			v.Notes.Missing(path+".threshold_ms", fmt.Sprintf("the label threshold_ms=%q is not a whole number", label))
		}
	}
	if c.ThresholdMs == nil {
		v.Notes.Missing(path+".threshold_ms", "only the series of requests under the threshold has it, and there was no such request")
	}
	switch {
	case whyNoUnderruns != "":
		v.Notes.Missing(path+".share", whyNoUnderruns)
	case streamed < float64(c.OK):
		v.Notes.Missing(path+".share", fmt.Sprintf("more requests stayed under the threshold than were observed: %d of %.0f", c.OK, streamed))
	default:
		c.Share = schema.F(float64(c.OK) / streamed)
	}
	return c
}

func (v view) omniImage(path string) *schema.OmniImage {
	if !v.everExported(metrics.OmniStageImages) {
		v.Notes.Missing(path+"images", "this build counts images only for the whole pipeline: see omni.pipeline.images")
	}
	if !v.everExported(metrics.OmniImageTime) {
		v.Notes.Missing(path+"generation_time_seconds", "this build does not report it separately: see the stage's generation_time_seconds")
	}
	return &schema.OmniImage{
		TimeToFirstImageSeconds: v.distribution(path+"time_to_first_image_seconds", metrics.OmniImageTTFP),
		Images:                  v.count(path+"images", metrics.OmniStageImages),
		GenerationTimeSeconds:   v.distribution(path+"generation_time_seconds", metrics.OmniImageTime),
	}
}
