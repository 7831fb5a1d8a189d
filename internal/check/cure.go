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

// bucketFamily returns the family of a latency's histogram, whose bounds vLLM lets users
// choose. It reports false for other distributions.
func bucketFamily(path string) (metrics.BucketFamily, bool) {
	name, isLatency := strings.CutPrefix(path, "engine.latency_seconds.")
	id, known := map[string]metrics.ID{
		"time_to_first_token":    metrics.TimeToFirstToken,
		"inter_token_latency":    metrics.InterTokenLatency,
		"time_per_output_token":  metrics.TimePerOutputToken,
		"e2e_request_latency":    metrics.E2ELatency,
		"request_queue_time":     metrics.QueueTime,
		"request_prefill_time":   metrics.PrefillTime,
		"request_decode_time":    metrics.DecodeTime,
		"request_inference_time": metrics.InferenceTime,
	}[name]
	if !isLatency || !known {
		return metrics.BucketFamily{}, false
	}
	return id.BucketFamily()
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

// cure returns what would decide the undecided limits, or nil if that is nothing. The option
// replaces the bounds of a histogram, so the value has vLLM's own ones, and those that the
// events show, too.
func cure(all []Event) *Cure {
	bounds := map[string][]float64{}
	for _, e := range all {
		for _, c := range e.Checks {
			family, ok := bucketFamily(c.figure)
			if !ok || c.Verdict != Undecided || c.atUpperBound() || c.Limit <= 0 {
				continue
			}
			list := bounds[family.Key]
			if list == nil {
				list = slices.Clone(family.Defaults)
			}
			for _, b := range c.buckets {
				if b[0] != nil && *b[0] > 0 {
					list = append(list, *b[0])
				}
			}
			bounds[family.Key] = append(list, c.Limit)
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
