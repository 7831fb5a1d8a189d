package metrics

// BucketFamily is a set of histograms with the same bucket bounds. vLLM's option
// --custom-histogram-buckets replaces the bounds of families: its value is a JSON object
// with lists of bounds by [BucketFamily.Key] (vllm/config/observability.py, vLLM 0.32).
type BucketFamily struct {
	Key string
	// Defaults are vLLM's own bounds, without +Inf (vllm/v1/metrics/buckets.py, vLLM 0.32).
	// Those of tokens per request go up to a million here, and in vLLM to the model's length.
	Defaults []float64
}

// BucketFamily returns the family of a histogram of vLLM's core engine. It reports false for
// other metrics.
func (m ID) BucketFamily() (BucketFamily, bool) {
	switch m {
	case E2ELatency, QueueTime, PrefillTime, DecodeTime, InferenceTime:
		return BucketFamily{"request_latency", []float64{
			0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
		}}, true
	case TimeToFirstToken:
		return BucketFamily{"time_to_first_token", []float64{
			0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
		}}, true
	case InterTokenLatency, TimePerOutputToken:
		return BucketFamily{"inter_token_latency", []float64{
			0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
		}}, true
	case TokensPerIteration:
		return BucketFamily{"iteration_tokens", []float64{1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}}, true
	case PreemptionsPerRequest:
		return BucketFamily{"request_num_preemptions", []float64{1, 2, 3, 4, 5, 10, 20}}, true
	case PromptPerRequest, GenerationPerRequest:
		return BucketFamily{"request_tokens", []float64{
			1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6,
		}}, true
	case KVBlockLifetime, KVBlockIdleBeforeEvict, KVBlockReuseGap:
		return BucketFamily{"kv_cache_residency", []float64{
			0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800,
		}}, true
	}
	return BucketFamily{}, false
}
