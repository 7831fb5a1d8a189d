package probe

// The figures of a vllm-omni pipeline. Those from omniStageTime on have a stage.
const (
	omniRunning figure = iota + offloadFigures
	omniWaiting
	omniSuccess
	omniOldSuccess
	omniOldAbort
	omniFailed
	omniE2E
	omniPrompt
	omniGeneration
	omniQueueWait
	omniImages
	omniPixels
	omniSteps
	omniKVWait
	omniTransferSize
	omniTx
	omniInFlight
	omniRx
	omniStageTime
	omniStageQueue
	omniStageWaiting
	omniPeakMemory
	omniAudioFirst
	omniAudioDuration
	omniAudioRTF
	omniAudioFrames
	omniUnderrun
	omniContinuity
	omniSkipped
	omniImageFirst
	omniStageImages
	omniImageTime
	omniVideoTime
	omniVideoDuration
	omniVideoRTF
	omniExec
	omniExecPerStep
	omniPreprocess
	omniPostprocess
	omniVAEDecode
	omniForward
	omniDenoiseStep
	omniKVLoad
	omniFigures // how many there are up to here
)

// isOmni says whether a figure is vllm-omni's own.
func (f figure) isOmni() bool { return f >= omniRunning && f < omniFigures }

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

// omniName is a figure's name without prefix and unit.
type omniName struct {
	figure figure
	kind   kind
	stem   string
	units  []string
	by     string
	// versions are vllm-omni's pull requests: the one that brought it, the one
	// that took it away.
	versions string
	form     form
}

// omniNames are the stems of vllm-omni's families, the newer one of a figure first.
// Source: vllm_omni/metrics/{definitions,prometheus,modality,transfer}.py at the
// pull requests, and main of September 2026. Not read, for they mean something
// else than what came after them: request_queue_time_seconds (3362) and
// diffusion_step_time_ms, a total without a successor.
var omniNames = []omniName{
	{omniRunning, gaugeKind, "num_requests_running", unitless, "", "3362 –", plain},
	{omniWaiting, gaugeKind, "num_requests_waiting", unitless, "", "3362 –", plain},
	{omniSuccess, counterKind, "requests_success_total", unitless, "finished_reason", "3576 –", plain},
	{omniOldSuccess, counterKind, "num_requests_success_total", unitless, "", "3362", plain},
	{omniOldAbort, counterKind, "num_requests_fail_total", unitless, "", "3362", plain},
	{omniFailed, counterKind, "requests_failed_total", unitless, "reason", "6150 –", plain},
	{omniE2E, histogramKind, "e2e_request_latency", inSeconds, "", "3362 –", plain},
	{omniPrompt, counterKind, "prompt_tokens_total", unitless, "", "4482 –", plain},
	{omniGeneration, counterKind, "generation_tokens_total", unitless, "", "4482 –", plain},
	{omniQueueWait, histogramKind, "request_queue_wait", inSeconds, "", "6150 –", plain},
	{omniImages, counterKind, "image_count_total", unitless, "", "6150 –", plain},
	{omniPixels, histogramKind, "image_pixels", unitless, "", "6150 –", sumOnly},
	{omniSteps, histogramKind, "num_inference_steps", unitless, "", "6150 –", sumOnly},
	{omniKVWait, histogramKind, "kv_wait", inSeconds, "connector_type", "6150 –", plain},

	{omniTransferSize, histogramKind, "transfer_size_bytes", unitless, "", "3576 –", plain},
	{omniTx, histogramKind, "transfer_tx", inSeconds, "", "3576 –", plain},
	{omniTx, histogramKind, "transfer_tx", inMillis, "", "3576 before its merge", milliseconds},
	{omniInFlight, histogramKind, "transfer_in_flight", inSeconds, "", "3576 –", plain},
	{omniInFlight, histogramKind, "transfer_in_flight", inMillis, "", "3576 before its merge", milliseconds},
	{omniRx, histogramKind, "transfer_rx", inSeconds, "", "3576 –", plain},
	{omniRx, histogramKind, "transfer_rx_decode", inMillis, "", "3576 before its merge", milliseconds},

	{omniStageTime, histogramKind, "stage_gen_time", inSeconds, "stage_type", "6150 –", plain},
	{omniStageQueue, histogramKind, "stage_in_queue", inSeconds, "", "6150 –", plain},
	{omniStageWaiting, gaugeKind, "stage_waiting_requests", unitless, "", "6150 –", plain},
	// max_memory_reserved / 1024²: _record_peak_memory of vllm_omni/diffusion/worker.
	{omniPeakMemory, fractionKind, "peak_memory_mb", unitless, "", "6150 –", mebibytes},

	{omniAudioFirst, histogramKind, "audio_ttfp", inSeconds, "", "3576 –", plain},
	{omniAudioDuration, histogramKind, "audio_duration", inSeconds, "", "3576 –", plain},
	{omniAudioRTF, histogramKind, "audio_rtf", unitless, "", "3576 –", plain},
	{omniAudioFrames, counterKind, "audio_frames_total", unitless, "", "3576 –", plain},
	{omniUnderrun, histogramKind, "audio_underrun", inSeconds, "", "3576 –", plain},
	{omniContinuity, counterKind, "audio_continuity_ok_total", unitless, "threshold_ms", "3576 –", plain},
	{omniSkipped, counterKind, "audio_skipped_requests_total", unitless, "reason", "3576 –", plain},

	{omniImageFirst, histogramKind, "image_ttfp", inSeconds, "", "3576 before its merge, 6150 –", plain},
	{omniStageImages, counterKind, "image_num_total", unitless, "", "3576 before its merge", plain},
	{omniImageTime, histogramKind, "image_generation_time", inSeconds, "", "3576 before its merge", plain},
	{omniVideoTime, histogramKind, "video_generation_time", inSeconds, "", "3576 before its merge", plain},
	{omniVideoDuration, histogramKind, "video_duration", inSeconds, "", "planned in 3576", plain},
	{omniVideoRTF, histogramKind, "video_rtf", unitless, "", "planned in 3576", plain},

	{omniExec, histogramKind, "diffusion_exec", inSeconds, "", "4755 –", plain},
	{omniExec, histogramKind, "diffusion_exec", inMillis, "", "3362 – 3576", millisecondsSum},
	{omniExecPerStep, histogramKind, "diffusion_exec_per_step", inSeconds, "", "4755 –", plain},
	{omniPreprocess, histogramKind, "diffusion_preprocess", inSeconds, "", "4755 –", plain},
	{omniPreprocess, histogramKind, "diffusion_preprocess", inMillis, "", "3362 – 3576", millisecondsSum},
	{omniPostprocess, histogramKind, "diffusion_postprocess", inSeconds, "", "4755 –", plain},
	{omniPostprocess, histogramKind, "diffusion_postprocess", inMillis, "", "3362 – 3576", millisecondsSum},
	{omniVAEDecode, histogramKind, "vae_decode", inSeconds, "", "6150 –", plain},
	{omniForward, histogramKind, "diffusion_forward", inSeconds, "", "6150 –", plain},
	{omniDenoiseStep, histogramKind, "denoise_step_latency", inSeconds, "", "6150 –", plain},
	{omniKVLoad, histogramKind, "diffusion_kv_load", inSeconds, "", "6150 –", plain},
}

// omniRows are all names of vllm-omni's figures.
var omniRows = spellOut(omniNames)

// spellOut gives every stem every prefix and unit.
func spellOut(names []omniName) []row {
	var out []row
	for _, n := range names {
		for _, unit := range n.units {
			for _, prefix := range omniPrefixes {
				out = append(out, row{n.figure, n.kind, prefix + n.stem + unit, n.by, n.versions, n.form})
			}
		}
	}
	return out
}

// omniPollNames are what filtered polls of a vllm-omni server ask for besides
// pollNames: its gauges, and what tells that it has worked since the last page.
var omniPollNames = []string{
	"vllm_omni:num_requests_running", "vllm_omni:num_requests_waiting", "vllm_omni:stage_waiting_requests",
	"vllm_omni:prompt_tokens_total", "vllm_omni:generation_tokens_total",
	"vllm:omni_num_requests_running", "vllm:omni_num_requests_waiting",
	"vllm:omni_prompt_tokens_total", "vllm:omni_generation_tokens_total",
}
