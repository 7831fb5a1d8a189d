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

// omni gives the figures of a vllm-omni pipeline; nil, with the reason noted, for
// a plain engine.
func (r view) omni() *schema.Omni {
	declared := slices.ContainsFunc(r.endpoints, func(e *endpointRecord) bool { omni, _ := e.Counters.HasOmni(); return omni })
	models, sampled := r.omniSeries()
	switch {
	case !declared:
		r.Notes.Missing("omni", "no vllm-omni families are exported")
		return nil
	case !sampled:
		r.Notes.Missing("omni", "the vllm-omni families are declared and none has a sample: the server records nothing (is it started with --log-stats?) or has served nothing yet")
		return nil
	}
	engine := r.stage
	r = r.at("")
	o := &schema.Omni{Models: models, Pipeline: r.pipeline(), Stages: []schema.OmniStage{}}
	for i, stage := range r.omniStages() {
		o.Stages = append(o.Stages, r.at(stage).omniStage(fmt.Sprintf("omni.stages.%d.", i), engine))
	}
	o.Transfers = r.omniTransfers()
	r.doubtOmni(o)
	return o
}

// omniSeries gives the models of vllm-omni's own series, and says whether there
// are any at all.
func (r view) omniSeries() (models []string, any bool) {
	found := map[string]bool{}
	for _, e := range r.endpoints {
		for _, g := range e.Counters.Metrics {
			if g.Desc.Metric().IsOmni() {
				any = true
				if m := g.Labels.Get("model_name"); m != "" {
					found[m] = true
				}
			}
		}
	}
	for f := metrics.OmniRunning; f < metrics.EndOfOmni; f++ {
		any = any || len(r.gauges.Families[f].States) > 0
	}
	if len(found) == 0 {
		return r.models(), any
	}
	return slices.Sorted(maps.Keys(found)), any
}

func (r view) pipeline() *schema.OmniPipeline {
	const path = "omni.pipeline."
	p := &schema.OmniPipeline{
		Requests: &schema.OmniRequests{
			Finished: r.omniFinished(path + "requests.finished"),
			Failed:   r.countBy(path+"requests.failed", metrics.OmniFailed),
			Running:  r.gauge(path+"requests.running", metrics.OmniRunning),
			Waiting:  r.gauge(path+"requests.waiting", metrics.OmniWaiting),
		},
		Tokens: &schema.OmniTokens{
			Prompt:     r.count(path+"tokens.prompt", metrics.OmniPrompt),
			Generation: r.count(path+"tokens.generation", metrics.OmniGeneration),
		},
		E2ERequestLatencySeconds: r.distribution(path+"e2e_request_latency_seconds", metrics.OmniE2E),
		RequestQueueWaitSeconds:  r.distribution(path+"request_queue_wait_seconds", metrics.OmniQueueWait),
		ImagePixels:              r.distribution(path+"image_pixels", metrics.OmniPixels),
		NumInferenceSteps:        r.distribution(path+"num_inference_steps", metrics.OmniSteps),
		KVWaitSeconds:            r.distribution(path+"kv_wait_seconds", metrics.OmniKVWait),
	}
	p.Images = r.omniAllImages(path + "images")
	return p
}

// omniFinished gives the completed requests by their reason. The oldest builds
// count the aborted ones apart, and tell no other reason.
func (r view) omniFinished(path string) map[string]int64 {
	if r.everExported(metrics.OmniSuccess) || !r.everExported(metrics.OmniOldSuccess) {
		return r.countBy(path, metrics.OmniSuccess)
	}
	success, why := r.counter(metrics.OmniOldSuccess)
	abort, whyAbort := r.counter(metrics.OmniOldAbort)
	if why == "" {
		why = whyAbort
	}
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	return map[string]int64{"success": success, "abort": abort}
}

// omniAllImages gives the images of the pipeline. Older builds count them by
// stage: a sum over stages would count what passes two of them twice.
func (r view) omniAllImages(path string) *int64 {
	if r.everExported(metrics.OmniImages) || !r.everExported(metrics.OmniStageImages) {
		return r.count(path, metrics.OmniImages)
	}
	sums := map[string]int64{}
	for stage := range r.stagesOf(metrics.OmniStageImages) {
		n, why := r.at(stage).counter(metrics.OmniStageImages)
		if why != "" {
			r.Notes.Missing(path, why)
			return nil
		}
		if n > 0 {
			sums[stage] = n
		}
	}
	if len(sums) > 1 {
		r.Notes.Missing(path, "the engine counts images by stage, and several stages counted some: see stages.N.image.images")
		return nil
	}
	n := int64(0)
	for _, n = range sums {
	}
	return &n
}

// stagesOf lists the stages of which there are series of some figures.
func (r view) stagesOf(figures ...metrics.ID) map[string]bool {
	stages := map[string]bool{}
	for _, e := range r.endpoints {
		for _, g := range e.Counters.Metrics {
			if slices.Contains(figures, g.Desc.Metric()) {
				stages[g.Engine.Stage] = true
			}
		}
	}
	for _, f := range figures {
		for p := range r.gauges.Families[f].States {
			stages[p.Engine.Stage] = true
		}
	}
	return stages
}

// metricsBetween lists figures that follow each other in the table.
func metricsBetween(first, last metrics.ID) (out []metrics.ID) {
	for f := first; f <= last; f++ {
		out = append(out, f)
	}
	return out
}

func (r view) omniStages() []string {
	stages := r.stagesOf(metricsBetween(metrics.OmniStageTime, metrics.OmniKVLoad)...)
	delete(stages, "")
	return slices.SortedFunc(maps.Keys(stages), compareLabels)
}

func compareLabels(a, b string) int {
	switch {
	case a == b:
		return 0
	case lessLabel(a, b):
		return -1
	}
	return 1
}

// omniStage gives the figures of r.stage.
func (r view) omniStage(path, engineStage string) schema.OmniStage {
	s := schema.OmniStage{
		Stage:                 r.stage,
		StageType:             r.stageType(path + "stage_type"),
		Replicas:              r.omniReplicas(),
		GenerationTimeSeconds: r.distribution(path+"generation_time_seconds", metrics.OmniStageTime),
		InQueueSeconds:        r.distribution(path+"in_queue_seconds", metrics.OmniStageQueue),
		WaitingRequests:       r.gauge(path+"waiting_requests", metrics.OmniStageWaiting),
		PeakMemoryBytes:       r.peakMemory(path + "peak_memory_bytes"),
	}
	group := func(name string, figures []metrics.ID, fill func(path string)) {
		if r.stagesOf(figures...)[r.stage] {
			fill(path + name + ".")
			return
		}
		r.Notes.Missing(path+name, "the engine has no "+name+" series of this stage")
	}
	group("audio", metricsBetween(metrics.OmniAudioFirst, metrics.OmniSkipped), func(path string) { s.Audio = r.omniAudio(path) })
	group("image", metricsBetween(metrics.OmniImageFirst, metrics.OmniImageTime), func(path string) { s.Image = r.omniImage(path) })
	group("video", metricsBetween(metrics.OmniVideoTime, metrics.OmniVideoRTF), func(path string) {
		s.Video = &schema.OmniVideo{
			GenerationTimeSeconds: r.distribution(path+"generation_time_seconds", metrics.OmniVideoTime),
			DurationSeconds:       r.distribution(path+"duration_seconds", metrics.OmniVideoDuration),
			RTF:                   r.distribution(path+"rtf", metrics.OmniVideoRTF),
		}
	})
	group("diffusion", metricsBetween(metrics.OmniExec, metrics.OmniKVLoad), func(path string) {
		s.Diffusion = &schema.OmniDiffusion{
			ExecSeconds:        r.distribution(path+"exec_seconds", metrics.OmniExec),
			ExecPerStepSeconds: r.distribution(path+"exec_per_step_seconds", metrics.OmniExecPerStep),
			PreprocessSeconds:  r.distribution(path+"preprocess_seconds", metrics.OmniPreprocess),
			PostprocessSeconds: r.distribution(path+"postprocess_seconds", metrics.OmniPostprocess),
			VAEDecodeSeconds:   r.distribution(path+"vae_decode_seconds", metrics.OmniVAEDecode),
			ForwardSeconds:     r.distribution(path+"forward_seconds", metrics.OmniForward),
			DenoiseStepSeconds: r.distribution(path+"denoise_step_seconds", metrics.OmniDenoiseStep),
			KVLoadSeconds:      r.distribution(path+"kv_load_seconds", metrics.OmniKVLoad),
		}
	})
	return s
}

func (r view) stageType(path string) *string {
	types := map[string]bool{}
	for _, e := range r.endpoints {
		for _, g := range e.Counters.Metrics {
			if g.Desc.Metric() == metrics.OmniStageTime && g.Engine.Stage == r.stage && g.By != "" {
				types[g.By] = true
			}
		}
	}
	switch names := slices.Sorted(maps.Keys(types)); len(names) {
	case 0:
		r.Notes.Missing(path, "only the label of "+metrics.CanonicalName(metrics.OmniStageTime)+" tells it, which has no sample of this stage")
		return nil
	case 1:
		return &names[0]
	default:
		r.Notes.Missing(path, "the stage has several: "+strings.Join(names, ", "))
		return nil
	}
}

// omniReplicas lists the replicas of r.stage: those of upstream's series too,
// for some families of vllm-omni's have no such label.
func (r view) omniReplicas() []string {
	found := map[string]bool{}
	for _, e := range r.endpoints {
		for _, g := range e.Counters.Metrics {
			if g.Engine.Stage == r.stage && g.Engine.Replica != "" {
				found[g.Engine.Replica] = true
			}
		}
	}
	return append([]string{}, slices.SortedFunc(maps.Keys(found), compareLabels)...)
}

// peakMemory gives the highest reading of a stage's peak. Where the stage did
// nothing in the window, it stands for a request before it.
func (r view) peakMemory(path string) *int64 {
	t := r.gauges.Families[metrics.OmniPeakMemory].Groups[window.GroupKey{Stage: r.stage}]
	switch {
	case t == nil || !t.Known || r.overflowed(metrics.OmniPeakMemory):
		r.Notes.Missing(path, r.whyNoGauge(metrics.OmniPeakMemory, ""))
	case !r.stageWorked():
		r.Notes.Missing(path, "the stage finished nothing in the window: what the gauge shows is of a request before it")
	default:
		return schema.Ptr(int64(math.Round(max(t.Peak, t.Last))))
	}
	return nil
}

// stageWorked says whether vllm-omni's own series of r.stage moved.
func (r view) stageWorked() bool {
	return slices.ContainsFunc(r.endpoints, func(e *endpointRecord) bool {
		for _, g := range e.Counters.Metrics {
			if g.Desc.Metric().IsOmni() && g.Engine.Stage == r.stage && (g.Total > 0 || g.Count > 0) {
				return true
			}
		}
		return false
	})
}

func (r view) omniAudio(path string) *schema.OmniAudio {
	a := &schema.OmniAudio{
		DurationSeconds: r.distribution(path+"duration_seconds", metrics.OmniAudioDuration),
		RTF:             r.distribution(path+"rtf", metrics.OmniAudioRTF),
		Frames:          r.count(path+"frames", metrics.OmniAudioFrames),
		Skipped:         r.countBy(path+"skipped", metrics.OmniSkipped),
	}
	if a.DurationSeconds != nil {
		// The first reason for a field stays: these, if the figures turn out to be null.
		for name, f := range map[string]metrics.ID{"time_to_first_packet_seconds": metrics.OmniAudioFirst, "underrun_seconds": metrics.OmniUnderrun, "continuity": metrics.OmniUnderrun} {
			if groups, why := r.metricsOf(f); why == "" && window.MergeHistograms(groups).Count == 0 {
				r.Notes.Missing(path+name, fmt.Sprintf("not one of %d audio requests was recorded in %s: it is for streaming requests (stream: true) alone, and some builds lose those too (vllm-omni PR 4974)", a.DurationSeconds.Count, metrics.CanonicalName(f)))
			}
		}
	}
	a.TimeToFirstPacketSeconds = r.distribution(path+"time_to_first_packet_seconds", metrics.OmniAudioFirst)
	a.UnderrunSeconds = r.distribution(path+"underrun_seconds", metrics.OmniUnderrun)
	a.Continuity = r.continuity(path + "continuity")
	a.RealtimeShare = r.realtimeShare(path + "realtime_share")
	a.SecondsPerSecond = r.audioRate(path + "seconds_per_second")
	return a
}

// realtimeShare is the exact share of requests at or below a real-time factor
// of 1: that is a bound of the buckets.
func (r view) realtimeShare(path string) *schema.Float {
	groups, why := r.metricsOf(metrics.OmniAudioRTF)
	h := window.MergeHistograms(groups)
	i := slices.IndexFunc(h.Buckets, func(b window.Bucket) bool { return b.UpperBound == 1 })
	switch {
	case why != "":
	case h.Count <= 0:
		why = "nothing was observed in the window"
	case i < 0:
		why = "the engine's buckets have no bound at 1"
	default:
		return schema.F(h.Buckets[i].Count / h.Count)
	}
	r.Notes.Missing(path, why)
	return nil
}

func (r view) audioRate(path string) *schema.Float {
	groups, why := r.metricsOf(metrics.OmniAudioDuration)
	seconds := float64(r.Engine.Window.DurationSeconds)
	if why == "" && seconds <= 0 {
		why = "the window has no length"
	}
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	return schema.F(window.MergeHistograms(groups).Sum / seconds)
}

// continuity sets the requests without a gap against those whose underrun was
// observed: others, which did not stream, are counted in neither.
func (r view) continuity(path string) *schema.OmniContinuity {
	groups, why := r.metricsOf(metrics.OmniContinuity)
	observed, whyObserved := r.metricsOf(metrics.OmniUnderrun)
	thresholds := map[string]bool{}
	c := &schema.OmniContinuity{}
	for _, g := range groups {
		thresholds[g.By] = true
		c.OK += int64(g.Gain())
	}
	streamed := window.MergeHistograms(observed).Count
	switch {
	case why != "":
	case len(thresholds) > 1:
		why = "requests are held against several thresholds, in ms: " + strings.Join(slices.SortedFunc(maps.Keys(thresholds), compareLabels), ", ")
	case c.OK == 0 && streamed == 0 && whyObserved == "":
		why = "no streaming request was observed in the window"
	}
	if why != "" {
		r.Notes.Missing(path, why)
		return nil
	}
	for label := range thresholds {
		if ms, err := strconv.ParseFloat(label, 64); err == nil && ms == math.Trunc(ms) && math.Abs(ms) < window.MaxExact {
			c.ThresholdMs = schema.Ptr(int64(ms))
		} else {
			r.Notes.Missing(path+".threshold_ms", fmt.Sprintf("the label says threshold_ms=%q", label))
		}
	}
	if c.ThresholdMs == nil {
		r.Notes.Missing(path+".threshold_ms", "no request stayed under it, and only their series tells it")
	}
	switch {
	case whyObserved != "":
		r.Notes.Missing(path+".share", whyObserved)
	case streamed < float64(c.OK):
		r.Notes.Missing(path+".share", fmt.Sprintf("more requests stayed under the threshold than were observed at all: %d of %.0f", c.OK, streamed))
	default:
		c.Share = schema.F(float64(c.OK) / streamed)
	}
	return c
}

func (r view) omniImage(path string) *schema.OmniImage {
	if !r.everExported(metrics.OmniStageImages) {
		r.Notes.Missing(path+"images", "this build counts images for the whole pipeline: omni.pipeline.images")
	}
	if !r.everExported(metrics.OmniImageTime) {
		r.Notes.Missing(path+"generation_time_seconds", "this build does not tell it apart: see the stage's generation_time_seconds")
	}
	return &schema.OmniImage{
		TimeToFirstImageSeconds: r.distribution(path+"time_to_first_image_seconds", metrics.OmniImageFirst),
		Images:                  r.count(path+"images", metrics.OmniStageImages),
		GenerationTimeSeconds:   r.distribution(path+"generation_time_seconds", metrics.OmniImageTime),
	}
}
