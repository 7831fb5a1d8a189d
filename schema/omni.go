package schema

// Omni holds the figures that a vllm-omni pipeline tells of itself: whole requests
// that pass several stages. What its stages' engines tell stands in engine. Names
// and meanings: vllm_omni/metrics of vllm-omni, pull requests 3362, 3576, 4755, 6150.
type Omni struct {
	// Names of the served models.
	Models []string `json:"models"`
	// Whole requests, whatever stages they passed.
	Pipeline *OmniPipeline `json:"pipeline"`
	// Each stage that exports figures of its own, its replicas together. Never to be added up: a request passes several.
	Stages []OmniStage `json:"stages"`
	// What was handed from stage to stage, by edge; null when no such family is exported.
	Transfers []OmniTransfer `json:"transfers" schema:"nullable"`
}

// OmniPipeline holds the figures of whole requests.
type OmniPipeline struct {
	// Requests of the window.
	Requests *OmniRequests `json:"requests"`
	// Tokens of the window.
	Tokens *OmniTokens `json:"tokens"`
	// From arrival to the complete response; not of aborted requests.
	E2ERequestLatencySeconds *Distribution `json:"e2e_request_latency_seconds" unit:"seconds" better:"lower"`
	// From being queued to being given to the first stage.
	RequestQueueWaitSeconds *Distribution `json:"request_queue_wait_seconds" unit:"seconds" better:"lower"`
	// Images made.
	Images *int64 `json:"images" kind:"counter" unit:"images"`
	// Pixels per image; the engine's buckets tell no quantiles.
	ImagePixels *Distribution `json:"image_pixels" unit:"pixels"`
	// Denoising steps per request; the engine's buckets tell no quantiles.
	NumInferenceSteps *Distribution `json:"num_inference_steps" unit:"steps"`
	// Waits of an autoregressive stage for a KV transfer, over all connectors.
	KVWaitSeconds *Distribution `json:"kv_wait_seconds" unit:"seconds" better:"lower"`
}

// OmniRequests counts whole requests.
type OmniRequests struct {
	// Completed requests by finished_reason, aborted ones among them; success and abort in builds that tell no more.
	Finished map[string]int64 `json:"finished" schema:"nullable" kind:"counter" unit:"requests"`
	// Failed requests by reason.
	Failed map[string]int64 `json:"failed" schema:"nullable" kind:"counter" unit:"requests" better:"lower"`
	// Requests given to an engine and not complete.
	Running *Gauge `json:"running" unit:"requests"`
	// Other requests that are not complete. A hint: it may miss a stage's own queue.
	Waiting *Gauge `json:"waiting" unit:"requests" better:"lower"`
}

// OmniTokens counts the tokens of whole requests.
type OmniTokens struct {
	// Prompt tokens, of the first stage alone.
	Prompt *int64 `json:"prompt" kind:"counter" unit:"tokens"`
	// Generated tokens of all stages together, an audio codec's among them.
	Generation *int64 `json:"generation" kind:"counter" unit:"tokens"`
}

// OmniStage holds one stage's figures, its replicas taken together.
type OmniStage struct {
	// The stage's label.
	Stage string `json:"stage"`
	// Its kind, as vllm-omni names it.
	StageType *string `json:"stage_type"`
	// The labels of its replicas, where the families tell them.
	Replicas []string `json:"replicas"`
	// From being given to the stage to its output, waiting inside it included.
	GenerationTimeSeconds *Distribution `json:"generation_time_seconds" unit:"seconds" better:"lower"`
	// In a diffusion scheduler's queue.
	InQueueSeconds *Distribution `json:"in_queue_seconds" unit:"seconds" better:"lower"`
	// Requests that wait in the stage.
	WaitingRequests *Gauge `json:"waiting_requests" unit:"requests" better:"lower"`
	// Most memory that the stage's process told to have reserved on its GPU (2^20 bytes to the engine's MB).
	PeakMemoryBytes *int64 `json:"peak_memory_bytes" kind:"sampled peak" unit:"bytes" better:"lower"`
	// Audio that the stage made.
	Audio *OmniAudio `json:"audio"`
	// Images that the stage made.
	Image *OmniImage `json:"image"`
	// Videos that the stage made.
	Video *OmniVideo `json:"video"`
	// The parts of a diffusion stage's work.
	Diffusion *OmniDiffusion `json:"diffusion" unit:"seconds" better:"lower"`
}

// OmniAudio holds the audio figures of a stage.
type OmniAudio struct {
	// From a request's arrival to its first audio; of streaming requests only.
	TimeToFirstPacketSeconds *Distribution `json:"time_to_first_packet_seconds" unit:"seconds" better:"lower"`
	// Length of the audio per request.
	DurationSeconds *Distribution `json:"duration_seconds" unit:"seconds"`
	// Real-time factor: the stage's time divided by the audio's length; below 1 it is faster than playback.
	RTF *Distribution `json:"rtf" unit:"seconds/second" better:"lower"`
	// Exact share of requests with a real-time factor of at most 1.
	RealtimeShare *Float `json:"realtime_share" kind:"ratio" unit:"fraction" better:"higher"`
	// Samples of audio (24000 per second at 24 kHz).
	Frames *int64 `json:"frames" kind:"counter" unit:"samples"`
	// The longest a player of the request would have waited for audio; of streaming requests only.
	UnderrunSeconds *Distribution `json:"underrun_seconds" unit:"seconds" better:"lower"`
	// Streaming requests without an audible gap.
	Continuity *OmniContinuity `json:"continuity"`
	// Requests that were answered without audio, by reason.
	Skipped map[string]int64 `json:"skipped" schema:"nullable" kind:"counter" unit:"requests" better:"lower"`
	// Seconds of audio per second of the window, idle time included.
	SecondsPerSecond *Float `json:"seconds_per_second" kind:"ratio" unit:"seconds/second" better:"higher"`
}

// OmniContinuity tells of streaming requests without an audible gap.
type OmniContinuity struct {
	// The longest wait that counts as no gap, in milliseconds, as the engine labels it.
	ThresholdMs *int64 `json:"threshold_ms" kind:"configuration" unit:"milliseconds"`
	// Requests that stayed under it.
	OK int64 `json:"ok" kind:"counter" unit:"requests"`
	// Their share of the requests whose underrun was observed.
	Share *Float `json:"share" kind:"ratio" unit:"fraction" better:"higher"`
}

// OmniImage holds the image figures of a stage.
type OmniImage struct {
	// From being given to the stage to the first image (before vllm-omni's pull request 6150: from the request's arrival).
	TimeToFirstImageSeconds *Distribution `json:"time_to_first_image_seconds" unit:"seconds" better:"lower"`
	// Images, where the engine counts them by stage.
	Images *int64 `json:"images" kind:"counter" unit:"images"`
	// The stage's time per request, in builds that tell it apart from generation_time_seconds.
	GenerationTimeSeconds *Distribution `json:"generation_time_seconds" unit:"seconds" better:"lower"`
}

// OmniVideo holds the video figures of a stage.
type OmniVideo struct {
	// The stage's time per request, in builds that tell it apart from generation_time_seconds.
	GenerationTimeSeconds *Distribution `json:"generation_time_seconds" unit:"seconds" better:"lower"`
	// Length of the video per request.
	DurationSeconds *Distribution `json:"duration_seconds" unit:"seconds"`
	// Real-time factor: the stage's time divided by the video's length.
	RTF *Distribution `json:"rtf" unit:"seconds/second" better:"lower"`
}

// OmniDiffusion holds the parts of a diffusion stage's work, per request.
type OmniDiffusion struct {
	// Running the model.
	ExecSeconds *Distribution `json:"exec_seconds"`
	// Running the model, per denoising step.
	ExecPerStepSeconds *Distribution `json:"exec_per_step_seconds"`
	// Before it.
	PreprocessSeconds *Distribution `json:"preprocess_seconds"`
	// After it.
	PostprocessSeconds *Distribution `json:"postprocess_seconds"`
	// Decoding latents.
	VAEDecodeSeconds *Distribution `json:"vae_decode_seconds"`
	// The forward passes.
	ForwardSeconds *Distribution `json:"forward_seconds"`
	// A denoising step: the stage's time divided by the steps.
	DenoiseStepSeconds *Distribution `json:"denoise_step_seconds"`
	// Loading a KV cache from another stage.
	KVLoadSeconds *Distribution `json:"kv_load_seconds"`
}

// OmniTransfer holds what was handed over on one edge. Transfers may overlap:
// their times can add up to more than the window.
type OmniTransfer struct {
	// The sending stage.
	FromStage string `json:"from_stage"`
	// Its replica.
	FromReplica string `json:"from_replica"`
	// The receiving stage.
	ToStage string `json:"to_stage"`
	// Its replica.
	ToReplica string `json:"to_replica"`
	// Bytes per transfer.
	SizeBytes *Distribution `json:"size_bytes" unit:"bytes"`
	// Serialising and submitting.
	TxSeconds *Distribution `json:"tx_seconds" unit:"seconds" better:"lower"`
	// From submitted to being received.
	InFlightSeconds *Distribution `json:"in_flight_seconds" unit:"seconds" better:"lower"`
	// Receiving and decoding.
	RxSeconds *Distribution `json:"rx_seconds" unit:"seconds" better:"lower"`
	// Sum of the means of tx, in flight and rx, each by its own count, as far as they were recorded.
	LatencyMeanSeconds *Float `json:"latency_mean_seconds" kind:"mean" unit:"seconds" better:"lower"`
}
