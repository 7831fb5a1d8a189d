package aggregate

import (
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

func (v view) latency() *schema.Latency {
	d := func(field string, id metrics.ID) *schema.Distribution {
		return v.distribution("engine.latency_seconds."+field, id)
	}
	return &schema.Latency{
		TimeToFirstToken:     d("time_to_first_token", metrics.TimeToFirstToken),
		InterTokenLatency:    d("inter_token_latency", metrics.InterTokenLatency),
		TimePerOutputToken:   d("time_per_output_token", metrics.TimePerOutputToken),
		E2ERequestLatency:    d("e2e_request_latency", metrics.E2ELatency),
		RequestQueueTime:     d("request_queue_time", metrics.QueueTime),
		RequestPrefillTime:   d("request_prefill_time", metrics.PrefillTime),
		RequestDecodeTime:    d("request_decode_time", metrics.DecodeTime),
		RequestInferenceTime: d("request_inference_time", metrics.InferenceTime),
	}
}
