package truth

// histogramID is one of vLLM's histograms.
type histogramID int

const (
	timeToFirstToken histogramID = iota
	interTokenLatency
	timePerOutputToken
	e2eLatency
	queueTime
	prefillTime
	decodeTime
	inferenceTime
	promptPerRequest
	generationPerRequest
	iterationTokens
	maxGenerationTokens
	paramsN
	paramsMaxTokens
	requestPreemptions
	prefillComputed
	numHistograms
)

// histogramNames are the families' names.
var histogramNames = [numHistograms]string{
	timeToFirstToken:     "vllm:time_to_first_token_seconds",
	interTokenLatency:    "vllm:inter_token_latency_seconds",
	timePerOutputToken:   "vllm:request_time_per_output_token_seconds",
	e2eLatency:           "vllm:e2e_request_latency_seconds",
	queueTime:            "vllm:request_queue_time_seconds",
	prefillTime:          "vllm:request_prefill_time_seconds",
	decodeTime:           "vllm:request_decode_time_seconds",
	inferenceTime:        "vllm:request_inference_time_seconds",
	promptPerRequest:     "vllm:request_prompt_tokens",
	generationPerRequest: "vllm:request_generation_tokens",
	iterationTokens:      "vllm:iteration_tokens_total",
	maxGenerationTokens:  "vllm:request_max_num_generation_tokens",
	paramsN:              "vllm:request_params_n",
	paramsMaxTokens:      "vllm:request_params_max_tokens",
	requestPreemptions:   "vllm:request_num_preemptions",
	prefillComputed:      "vllm:request_prefill_kv_computed_tokens",
}

// counters is what one engine's front-end exports: gauges as of the last step, and what
// the process has counted since it started.
type counters struct {
	running, waiting int
	usage            float64

	prompt, generation, preemptions, finished int
	histograms                                [numHistograms]histogram
}

func newCounters() counters { return counters{} }

// setGauges updates the gauges, which vLLM does once at the end of a step.
func (c *counters) setGauges(running, waiting int, usage float64) {
	c.running, c.waiting, c.usage = running, waiting, usage
}

// histogram counts the observations of one histogram.
type histogram struct {
	buckets []int // not cumulative; the last one is beyond all bounds
	count   int
	sum     float64
}

func (h *histogram) add(id histogramID, value float64) {
	bounds := recorded().bounds[id]
	if h.buckets == nil {
		h.buckets = make([]int, len(bounds)+1)
	}
	i := 0
	for i < len(bounds) && value > bounds[i] {
		i++
	}
	h.buckets[i]++
	h.count++
	h.sum += value
}

// upTo returns the number of observations in the first i buckets and bucket i.
func (h *histogram) upTo(i int) (n int) {
	for _, count := range h.buckets[:min(len(h.buckets), i+1)] {
		n += count
	}
	return n
}
