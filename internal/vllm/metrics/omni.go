package metrics

// The metrics of a vllm-omni pipeline. Those from OmniStageGenTime on are per stage.
const (
	OmniRunning ID = iota + endOfOffload
	OmniWaiting
	OmniSuccess
	OmniOldSuccess
	OmniOldAbort
	OmniFailed
	OmniE2E
	OmniPrompt
	OmniGeneration
	OmniQueueWait
	OmniImages
	OmniImagePixels
	OmniInferenceSteps
	OmniKVWait
	OmniTransferSize
	OmniTransferTx
	OmniTransferInFlight
	OmniTransferRx
	OmniStageGenTime
	OmniStageQueue
	OmniStageWaiting
	OmniPeakMemory
	OmniAudioTTFP
	OmniAudioDuration
	OmniAudioRTF
	OmniAudioFrames
	OmniAudioUnderrun
	OmniAudioContinuity
	OmniAudioSkipped
	OmniImageTTFP
	OmniStageImages
	OmniImageTime
	OmniVideoTime
	OmniVideoDuration
	OmniVideoRTF
	OmniDiffusionExec
	OmniDiffusionExecPerStep
	OmniDiffusionPreprocess
	OmniDiffusionPostprocess
	OmniVAEDecode
	OmniDiffusionForward
	OmniDenoiseStep
	OmniDiffusionKVLoad
	endOfOmni
)

// IsOmni reports whether the metric is vllm-omni's own.
func (m ID) IsOmni() bool { return m >= OmniRunning && m < endOfOmni }

// omniPrefixes begin every name, the current prefix first. The other one is that of pull
// request 3576, which needed it because of vLLM's unregister_vllm_metrics, until vLLM's
// PR 42331.
var omniPrefixes = []string{"vllm_omni:", "vllm:omni_"}

// The unit suffixes of names, the newest first: `_s` since 3576 was merged; before that
// `_seconds`, and `_ms` or `_time_ms`.
var (
	unitless  = []string{""}
	inSeconds = []string{"_s", "_seconds"}
	inMillis  = []string{"_ms", "_time_ms"}
)

// omniStem describes a metric's names, without prefix and unit.
type omniStem struct {
	metric ID
	kind   Kind
	stem   string
	units  []string
	label  string
	// versions are vllm-omni's pull requests: the one that added the name, and the one
	// that removed it.
	versions string
	encoding Encoding
}

// omniStems are the stems of vllm-omni's families, the newer one of a metric first.
// Source: vllm_omni/metrics/{definitions,prometheus,modality,transfer}.py at the
// pull requests, and main of September 2026. Two older families are not read, because
// what replaced them measures something else: request_queue_time_seconds (3362) and
// diffusion_step_time_ms, a total without a successor.
var omniStems = []omniStem{
	{OmniRunning, KindGauge, "num_requests_running", unitless, "", "3362 –", Unscaled},
	{OmniWaiting, KindGauge, "num_requests_waiting", unitless, "", "3362 –", Unscaled},
	{OmniSuccess, KindCounter, "requests_success_total", unitless, "finished_reason", "3576 –", Unscaled},
	{OmniOldSuccess, KindCounter, "num_requests_success_total", unitless, "", "3362", Unscaled},
	{OmniOldAbort, KindCounter, "num_requests_fail_total", unitless, "", "3362", Unscaled},
	{OmniFailed, KindCounter, "requests_failed_total", unitless, "reason", "6150 –", Unscaled},
	{OmniE2E, KindHistogram, "e2e_request_latency", inSeconds, "", "3362 –", Unscaled},
	{OmniPrompt, KindCounter, "prompt_tokens_total", unitless, "", "4482 –", Unscaled},
	{OmniGeneration, KindCounter, "generation_tokens_total", unitless, "", "4482 –", Unscaled},
	{OmniQueueWait, KindHistogram, "request_queue_wait", inSeconds, "", "6150 –", Unscaled},
	{OmniImages, KindCounter, "image_count_total", unitless, "", "6150 –", Unscaled},
	{OmniImagePixels, KindHistogram, "image_pixels", unitless, "", "6150 –", SumOnly},
	{OmniInferenceSteps, KindHistogram, "num_inference_steps", unitless, "", "6150 –", SumOnly},
	{OmniKVWait, KindHistogram, "kv_wait", inSeconds, "connector_type", "6150 –", Unscaled},

	{OmniTransferSize, KindHistogram, "transfer_size_bytes", unitless, "", "3576 –", Unscaled},
	{OmniTransferTx, KindHistogram, "transfer_tx", inSeconds, "", "3576 –", Unscaled},
	{OmniTransferTx, KindHistogram, "transfer_tx", inMillis, "", "3576 before its merge", Milliseconds},
	{OmniTransferInFlight, KindHistogram, "transfer_in_flight", inSeconds, "", "3576 –", Unscaled},
	{OmniTransferInFlight, KindHistogram, "transfer_in_flight", inMillis, "", "3576 before its merge", Milliseconds},
	{OmniTransferRx, KindHistogram, "transfer_rx", inSeconds, "", "3576 –", Unscaled},
	{OmniTransferRx, KindHistogram, "transfer_rx_decode", inMillis, "", "3576 before its merge", Milliseconds},

	{OmniStageGenTime, KindHistogram, "stage_gen_time", inSeconds, "stage_type", "6150 –", Unscaled},
	{OmniStageQueue, KindHistogram, "stage_in_queue", inSeconds, "", "6150 –", Unscaled},
	{OmniStageWaiting, KindGauge, "stage_waiting_requests", unitless, "", "6150 –", Unscaled},
	// max_memory_reserved / 1024²: _record_peak_memory of vllm_omni/diffusion/worker.
	{OmniPeakMemory, KindGaugeMax, "peak_memory_mb", unitless, "", "6150 –", Mebibytes},

	{OmniAudioTTFP, KindHistogram, "audio_ttfp", inSeconds, "", "3576 –", Unscaled},
	{OmniAudioDuration, KindHistogram, "audio_duration", inSeconds, "", "3576 –", Unscaled},
	{OmniAudioRTF, KindHistogram, "audio_rtf", unitless, "", "3576 –", Unscaled},
	{OmniAudioFrames, KindCounter, "audio_frames_total", unitless, "", "3576 –", Unscaled},
	{OmniAudioUnderrun, KindHistogram, "audio_underrun", inSeconds, "", "3576 –", Unscaled},
	{OmniAudioContinuity, KindCounter, "audio_continuity_ok_total", unitless, "threshold_ms", "3576 –", Unscaled},
	{OmniAudioSkipped, KindCounter, "audio_skipped_requests_total", unitless, "reason", "3576 –", Unscaled},

	{OmniImageTTFP, KindHistogram, "image_ttfp", inSeconds, "", "3576 before its merge, 6150 –", Unscaled},
	{OmniStageImages, KindCounter, "image_num_total", unitless, "", "3576 before its merge", Unscaled},
	{OmniImageTime, KindHistogram, "image_generation_time", inSeconds, "", "3576 before its merge", Unscaled},
	{OmniVideoTime, KindHistogram, "video_generation_time", inSeconds, "", "3576 before its merge", Unscaled},
	{OmniVideoDuration, KindHistogram, "video_duration", inSeconds, "", "planned in 3576", Unscaled},
	{OmniVideoRTF, KindHistogram, "video_rtf", unitless, "", "planned in 3576", Unscaled},

	{OmniDiffusionExec, KindHistogram, "diffusion_exec", inSeconds, "", "4755 –", Unscaled},
	{OmniDiffusionExec, KindHistogram, "diffusion_exec", inMillis, "", "3362 – 3576", MillisecondsSumOnly},
	{OmniDiffusionExecPerStep, KindHistogram, "diffusion_exec_per_step", inSeconds, "", "4755 –", Unscaled},
	{OmniDiffusionPreprocess, KindHistogram, "diffusion_preprocess", inSeconds, "", "4755 –", Unscaled},
	{OmniDiffusionPreprocess, KindHistogram, "diffusion_preprocess", inMillis, "", "3362 – 3576", MillisecondsSumOnly},
	{OmniDiffusionPostprocess, KindHistogram, "diffusion_postprocess", inSeconds, "", "4755 –", Unscaled},
	{OmniDiffusionPostprocess, KindHistogram, "diffusion_postprocess", inMillis, "", "3362 – 3576", MillisecondsSumOnly},
	{OmniVAEDecode, KindHistogram, "vae_decode", inSeconds, "", "6150 –", Unscaled},
	{OmniDiffusionForward, KindHistogram, "diffusion_forward", inSeconds, "", "6150 –", Unscaled},
	{OmniDenoiseStep, KindHistogram, "denoise_step_latency", inSeconds, "", "6150 –", Unscaled},
	{OmniDiffusionKVLoad, KindHistogram, "diffusion_kv_load", inSeconds, "", "6150 –", Unscaled},
}

// omniDescs are all names of vllm-omni's metrics.
var omniDescs = expand(omniStems)

// expand combines every stem with each of its units and each prefix.
func expand(stems []omniStem) []Desc {
	var out []Desc
	for _, s := range stems {
		for _, unit := range s.units {
			for _, prefix := range omniPrefixes {
				out = append(out, Desc{s.metric, s.kind, prefix + s.stem + unit, s.label, s.versions, s.encoding})
			}
		}
	}
	return out
}

// OmniPollNames are the sample names that a filtered scrape of a vllm-omni server requests
// besides PollNames: its gauges, and the counters that show whether it has worked.
var OmniPollNames = []string{
	"vllm_omni:num_requests_running", "vllm_omni:num_requests_waiting", "vllm_omni:stage_waiting_requests",
	"vllm_omni:prompt_tokens_total", "vllm_omni:generation_tokens_total",
	"vllm:omni_num_requests_running", "vllm:omni_num_requests_waiting",
	"vllm:omni_prompt_tokens_total", "vllm:omni_generation_tokens_total",
}
