package metrics

// The figures of a vllm-omni pipeline. Those from OmniStageTime on have a stage.
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
	OmniPixels
	OmniSteps
	OmniKVWait
	OmniTransferSize
	OmniTx
	OmniInFlight
	OmniRx
	OmniStageTime
	OmniStageQueue
	OmniStageWaiting
	OmniPeakMemory
	OmniAudioFirst
	OmniAudioDuration
	OmniAudioRTF
	OmniAudioFrames
	OmniUnderrun
	OmniContinuity
	OmniSkipped
	OmniImageFirst
	OmniStageImages
	OmniImageTime
	OmniVideoTime
	OmniVideoDuration
	OmniVideoRTF
	OmniExec
	OmniExecPerStep
	OmniPreprocess
	OmniPostprocess
	OmniVAEDecode
	OmniForward
	OmniDenoiseStep
	OmniKVLoad
	EndOfOmni // how many there are up to here
)

// IsOmni says whether a figure is vllm-omni's own.
func (f ID) IsOmni() bool { return f >= OmniRunning && f < EndOfOmni }

// omniPrefixes begin every name: the present one, and that of pull request 3576,
// which upstream's unregister_vllm_metrics forced upon it until vLLM's 42331.
var omniPrefixes = []string{"vllm_omni:", "vllm:omni_"}

// The ends of a time's names, the newest first: `_s` since 3576 was merged,
// `_seconds`, and `_ms` with or without `_time`, before.
var (
	unitless  = []string{""}
	inSeconds = []string{"_s", "_seconds"}
	inMillis  = []string{"_ms", "_time_ms"}
)

// omniStem is a figure's name without prefix and unit.
type omniStem struct {
	figure ID
	kind   Kind
	stem   string
	units  []string
	by     string
	// versions are vllm-omni's pull requests: the one that brought it, the one
	// that took it away.
	versions string
	form     Encoding
}

// omniStems are the stems of vllm-omni's families, the newer one of a figure first.
// Source: vllm_omni/metrics/{definitions,prometheus,modality,transfer}.py at the
// pull requests, and main of September 2026. Not read, for they mean something
// else than what came after them: request_queue_time_seconds (3362) and
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
	{OmniPixels, KindHistogram, "image_pixels", unitless, "", "6150 –", SumOnly},
	{OmniSteps, KindHistogram, "num_inference_steps", unitless, "", "6150 –", SumOnly},
	{OmniKVWait, KindHistogram, "kv_wait", inSeconds, "connector_type", "6150 –", Unscaled},

	{OmniTransferSize, KindHistogram, "transfer_size_bytes", unitless, "", "3576 –", Unscaled},
	{OmniTx, KindHistogram, "transfer_tx", inSeconds, "", "3576 –", Unscaled},
	{OmniTx, KindHistogram, "transfer_tx", inMillis, "", "3576 before its merge", Milliseconds},
	{OmniInFlight, KindHistogram, "transfer_in_flight", inSeconds, "", "3576 –", Unscaled},
	{OmniInFlight, KindHistogram, "transfer_in_flight", inMillis, "", "3576 before its merge", Milliseconds},
	{OmniRx, KindHistogram, "transfer_rx", inSeconds, "", "3576 –", Unscaled},
	{OmniRx, KindHistogram, "transfer_rx_decode", inMillis, "", "3576 before its merge", Milliseconds},

	{OmniStageTime, KindHistogram, "stage_gen_time", inSeconds, "stage_type", "6150 –", Unscaled},
	{OmniStageQueue, KindHistogram, "stage_in_queue", inSeconds, "", "6150 –", Unscaled},
	{OmniStageWaiting, KindGauge, "stage_waiting_requests", unitless, "", "6150 –", Unscaled},
	// max_memory_reserved / 1024²: _record_peak_memory of vllm_omni/diffusion/worker.
	{OmniPeakMemory, KindFraction, "peak_memory_mb", unitless, "", "6150 –", Mebibytes},

	{OmniAudioFirst, KindHistogram, "audio_ttfp", inSeconds, "", "3576 –", Unscaled},
	{OmniAudioDuration, KindHistogram, "audio_duration", inSeconds, "", "3576 –", Unscaled},
	{OmniAudioRTF, KindHistogram, "audio_rtf", unitless, "", "3576 –", Unscaled},
	{OmniAudioFrames, KindCounter, "audio_frames_total", unitless, "", "3576 –", Unscaled},
	{OmniUnderrun, KindHistogram, "audio_underrun", inSeconds, "", "3576 –", Unscaled},
	{OmniContinuity, KindCounter, "audio_continuity_ok_total", unitless, "threshold_ms", "3576 –", Unscaled},
	{OmniSkipped, KindCounter, "audio_skipped_requests_total", unitless, "reason", "3576 –", Unscaled},

	{OmniImageFirst, KindHistogram, "image_ttfp", inSeconds, "", "3576 before its merge, 6150 –", Unscaled},
	{OmniStageImages, KindCounter, "image_num_total", unitless, "", "3576 before its merge", Unscaled},
	{OmniImageTime, KindHistogram, "image_generation_time", inSeconds, "", "3576 before its merge", Unscaled},
	{OmniVideoTime, KindHistogram, "video_generation_time", inSeconds, "", "3576 before its merge", Unscaled},
	{OmniVideoDuration, KindHistogram, "video_duration", inSeconds, "", "planned in 3576", Unscaled},
	{OmniVideoRTF, KindHistogram, "video_rtf", unitless, "", "planned in 3576", Unscaled},

	{OmniExec, KindHistogram, "diffusion_exec", inSeconds, "", "4755 –", Unscaled},
	{OmniExec, KindHistogram, "diffusion_exec", inMillis, "", "3362 – 3576", MillisecondsSum},
	{OmniExecPerStep, KindHistogram, "diffusion_exec_per_step", inSeconds, "", "4755 –", Unscaled},
	{OmniPreprocess, KindHistogram, "diffusion_preprocess", inSeconds, "", "4755 –", Unscaled},
	{OmniPreprocess, KindHistogram, "diffusion_preprocess", inMillis, "", "3362 – 3576", MillisecondsSum},
	{OmniPostprocess, KindHistogram, "diffusion_postprocess", inSeconds, "", "4755 –", Unscaled},
	{OmniPostprocess, KindHistogram, "diffusion_postprocess", inMillis, "", "3362 – 3576", MillisecondsSum},
	{OmniVAEDecode, KindHistogram, "vae_decode", inSeconds, "", "6150 –", Unscaled},
	{OmniForward, KindHistogram, "diffusion_forward", inSeconds, "", "6150 –", Unscaled},
	{OmniDenoiseStep, KindHistogram, "denoise_step_latency", inSeconds, "", "6150 –", Unscaled},
	{OmniKVLoad, KindHistogram, "diffusion_kv_load", inSeconds, "", "6150 –", Unscaled},
}

// omniDescs are all names of vllm-omni's figures.
var omniDescs = expand(omniStems)

// expand gives every stem every prefix and unit.
func expand(names []omniStem) []Desc {
	var out []Desc
	for _, n := range names {
		for _, unit := range n.units {
			for _, prefix := range omniPrefixes {
				out = append(out, Desc{n.figure, n.kind, prefix + n.stem + unit, n.by, n.versions, n.form})
			}
		}
	}
	return out
}

// OmniPollNames are what filtered polls of a vllm-omni server ask for besides
// PollNames: its gauges, and what tells that it has worked since the last page.
var OmniPollNames = []string{
	"vllm_omni:num_requests_running", "vllm_omni:num_requests_waiting", "vllm_omni:stage_waiting_requests",
	"vllm_omni:prompt_tokens_total", "vllm_omni:generation_tokens_total",
	"vllm:omni_num_requests_running", "vllm:omni_num_requests_waiting",
	"vllm:omni_prompt_tokens_total", "vllm:omni_generation_tokens_total",
}
