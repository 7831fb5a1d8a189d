package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
)

// bucketsOption is the option of vLLM that replaces the bounds of histograms, and
// bucketsVersion the first release that has it (vllm/config/observability.py has it in 0.32.0,
// and not in 0.31.0).
const (
	bucketsOption  = "--custom-histogram-buckets"
	bucketsVersion = "0.32"
)

// bucketFamily returns the family of the histogram behind a distribution of the event, whose
// bounds vLLM lets users choose. It reports false for other distributions.
func bucketFamily(path string) (metrics.BucketFamily, bool) {
	id, ok := map[string]metrics.ID{
		"engine.latency_seconds.time_to_first_token":          metrics.TimeToFirstToken,
		"engine.latency_seconds.inter_token_latency":          metrics.InterTokenLatency,
		"engine.latency_seconds.time_per_output_token":        metrics.TimePerOutputToken,
		"engine.latency_seconds.e2e_request_latency":          metrics.E2ELatency,
		"engine.latency_seconds.request_queue_time":           metrics.QueueTime,
		"engine.latency_seconds.request_prefill_time":         metrics.PrefillTime,
		"engine.latency_seconds.request_decode_time":          metrics.DecodeTime,
		"engine.latency_seconds.request_inference_time":       metrics.InferenceTime,
		"engine.requests.preemptions_per_request":             metrics.PreemptionsPerRequest,
		"engine.tokens.per_iteration":                         metrics.TokensPerIteration,
		"engine.tokens.prompt_per_request":                    metrics.PromptPerRequest,
		"engine.tokens.generation_per_request":                metrics.GenerationPerRequest,
		"engine.kv_cache.residency.lifetime_seconds":          metrics.KVBlockLifetime,
		"engine.kv_cache.residency.idle_before_evict_seconds": metrics.KVBlockIdleBeforeEvict,
		"engine.kv_cache.residency.reuse_gap_seconds":         metrics.KVBlockReuseGap,
	}[path]
	if !ok {
		return metrics.BucketFamily{}, false
	}
	return id.BucketFamily()
}

// hasFixedBuckets reports whether the histogram behind a distribution belongs to KV offloading
// or to a KV connector: these keep their own bounds (vllm/v1/metrics/buckets.py, vLLM 0.32).
func hasFixedBuckets(path string) bool {
	return strings.HasPrefix(path, "engine.kv_offload.") || strings.HasPrefix(path, "engine.kv_connectors.")
}

// Cure is what makes undecided limits decidable in the next run: a bucket that ends at each of
// them.
type Cure struct {
	// Option of vllm serve, with its Value, a JSON object.
	Option string `json:"option"`
	Value  string `json:"value"`
	// Since is the first release of vLLM that has the option.
	Since string `json:"since"`
}

// maxBounds is how many bounds are collected before those that are equal become one.
const maxBounds = 10_000

// cure returns what would decide the undecided limits, or nil if that is nothing. The option
// replaces the bounds of a histogram, so the value has vLLM's own ones, and those that the
// events show, too.
func cure(all []Event) *Cure {
	bounds := map[string][]float64{}
	for i := range all {
		for _, c := range all[i].Checks {
			family, ok := bucketFamily(c.figure)
			if !ok || c.Verdict != Undecided || c.atUpperBound() || c.Limit <= 0 {
				continue
			}
			list := bounds[family.Key]
			if list == nil {
				list = slices.Clone(family.Defaults)
			}
			if len(list) > maxBounds {
				slices.Sort(list)
				list = slices.Compact(list)
			}
			bounds[family.Key] = append(append(list, c.buckets...), c.Limit)
		}
	}
	if len(bounds) == 0 {
		return nil
	}
	for key, list := range bounds {
		slices.Sort(list)
		bounds[key] = slices.Compact(list)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	if err := enc.Encode(bounds); err != nil {
		return nil // all bounds are finite
	}
	return &Cure{Option: bucketsOption, Value: strings.TrimSpace(b.String()), Since: bucketsVersion}
}

// text returns the cure as a sentence.
func (c Cure) text() string {
	return fmt.Sprintf("to decide the limits that are undecided, give vLLM (%s or newer) buckets that end at them: %s '%s'", c.Since, c.Option, c.Value)
}
