package aggregate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// omni returns the figures of a vllm-omni pipeline; nil, with the reason noted, for a plain
// engine.
func (v view) omni() *schema.Omni {
	declared := slices.ContainsFunc(v.endpoints, func(e *endpoint) bool { omni, _ := e.Counters.HasOmni(); return omni })
	models, sampled := v.omniModels()
	switch {
	case !declared:
		v.Notes.Missing("omni", "no vllm-omni families are exported")
		return nil
	case !sampled:
		v.Notes.Missing("omni", "the vllm-omni families are declared, but none has a sample: the server records nothing (was it started with --log-stats?) or has served nothing yet")
		return nil
	}
	v = v.at("")
	o := &schema.Omni{Models: models, Pipeline: v.omniPipeline(), Stages: []schema.OmniStage{}}
	for i, stage := range v.omniStages() {
		o.Stages = append(o.Stages, v.at(stage).omniStage(fmt.Sprintf("omni.stages.%d.", i)))
	}
	o.Transfers = v.omniTransfers()
	v.doubtOmni(o)
	return o
}

// omniModels returns the models of vllm-omni's own series, and whether there are any such
// series.
func (v view) omniModels() (models []string, sampled bool) {
	found := map[string]bool{}
	for _, e := range v.endpoints {
		for _, m := range e.Counters.Metrics() {
			if m.Desc.Metric().IsOmni() {
				sampled = true
				if name := m.Labels.Get("model_name"); name != "" {
					found[name] = true
				}
			}
		}
	}
	for id := range metrics.NumMetrics {
		if id.IsOmni() {
			for range v.gauges.Keys(id) {
				sampled = true
			}
		}
	}
	if len(found) == 0 {
		return v.models(), sampled
	}
	return slices.Sorted(maps.Keys(found)), sampled
}

func (v view) omniPipeline() *schema.OmniPipeline {
	const path = "omni.pipeline."
	p := &schema.OmniPipeline{
		Requests: &schema.OmniRequests{
			Finished: v.omniFinished(path + "requests.finished"),
			Failed:   v.countByLabel(path+"requests.failed", metrics.OmniFailed),
			Running:  v.gauge(path+"requests.running", metrics.OmniRunning),
			Waiting:  v.gauge(path+"requests.waiting", metrics.OmniWaiting),
		},
		Tokens: &schema.OmniTokens{
			Prompt:     v.count(path+"tokens.prompt", metrics.OmniPrompt),
			Generation: v.count(path+"tokens.generation", metrics.OmniGeneration),
		},
		E2ERequestLatencySeconds: v.distribution(path+"e2e_request_latency_seconds", metrics.OmniE2E),
		RequestQueueWaitSeconds:  v.distribution(path+"request_queue_wait_seconds", metrics.OmniQueueWait),
		ImagePixels:              v.distribution(path+"image_pixels", metrics.OmniImagePixels),
		NumInferenceSteps:        v.distribution(path+"num_inference_steps", metrics.OmniInferenceSteps),
		KVWaitSeconds:            v.distribution(path+"kv_wait_seconds", metrics.OmniKVWait),
	}
	p.Images = v.omniImages(path + "images")
	return p
}

// omniFinished returns the completed requests by reason. The oldest builds count aborted
// requests in a counter of their own, and report no other reason.
func (v view) omniFinished(path string) map[string]int64 {
	if v.everExported(metrics.OmniSuccess) || !v.everExported(metrics.OmniOldSuccess) {
		return v.countByLabel(path, metrics.OmniSuccess)
	}
	success, why := v.counter(metrics.OmniOldSuccess)
	abort, whyAbort := v.counter(metrics.OmniOldAbort)
	if why == "" {
		why = whyAbort
	}
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	return map[string]int64{"success": success, "abort": abort}
}

// omniImages returns the images of the pipeline. Older builds count them per stage: a sum
// over stages would count an image that passes two stages twice.
func (v view) omniImages(path string) *int64 {
	if v.everExported(metrics.OmniImages) || !v.everExported(metrics.OmniStageImages) {
		return v.count(path, metrics.OmniImages)
	}
	images, stages := int64(0), 0
	for _, stage := range slices.SortedFunc(maps.Keys(v.stagesOf(metrics.OmniStageImages)), compareLabels) {
		n, why := v.at(stage).counter(metrics.OmniStageImages)
		if why != "" {
			v.Notes.Missing(path, why)
			return nil
		}
		if n > 0 {
			images = n
			stages++
		}
	}
	if stages > 1 {
		v.Notes.Missing(path, "the engine counts images per stage, and several stages counted some: see omni.stages.N.image.images")
		return nil
	}
	return &images
}

// stagesOf returns the stages with series of one of the metrics.
func (v view) stagesOf(ids ...metrics.ID) map[string]bool {
	stages := map[string]bool{}
	for _, e := range v.endpoints {
		for _, m := range e.Counters.Metrics() {
			if slices.Contains(ids, m.Desc.Metric()) {
				stages[m.Engine.Stage] = true
			}
		}
	}
	for _, id := range ids {
		for k := range v.gauges.Keys(id) {
			stages[k.Engine.Stage] = true
		}
	}
	return stages
}

// idsBetween returns the IDs from first to last.
func idsBetween(first, last metrics.ID) (ids []metrics.ID) {
	for id := first; id <= last; id++ {
		ids = append(ids, id)
	}
	return ids
}

// omniStages returns the stages of the pipeline, in their order.
func (v view) omniStages() []string {
	stages := v.stagesOf(idsBetween(metrics.OmniStageGenTime, metrics.OmniDiffusionKVLoad)...)
	delete(stages, "")
	return slices.SortedFunc(maps.Keys(stages), compareLabels)
}
