package metrics

import (
	"strings"
	"testing"
)

// Every name can be looked up in every naming, and no two metrics share one.
func TestLookup(t *testing.T) {
	for id := range DescID(NumDescs()) {
		sample := id.Name()
		if id.Desc().Kind == KindHistogram {
			sample += "_count"
		}
		m, ok := Lookup(sample)
		if !ok || m.Desc.Metric() != id.Metric() || m.Desc.Naming() != id.Naming() && id.IsVLLM() || id.Naming() == Native && m.Desc != id {
			t.Errorf("%s of desc %d is looked up as desc %d, %s", sample, id, m.Desc, m.Desc.Name())
		}
		if id.IsVLLM() && id.Naming() != Native && strings.Contains(id.Name(), ":") != (id.Naming() == RayColon) {
			t.Errorf("desc %d has the name %s", id, id.Name())
		}
	}
	for _, name := range []string{"ray_process_start_time_seconds", "ray_prompt_tokens_total", "prompt_tokens_total", "ray_ray_vllm_prompt_tokens_total", "vllm", "ray_", ""} {
		if m, ok := Lookup(name); ok {
			t.Errorf("%q is looked up as %s", name, m.Desc.Name())
		}
	}
	for name, part := range map[string]Part{
		"vllm:prompt_tokens":                      PartFamily,
		"ray_vllm_prompt_tokens_total":            PartValue,
		"vllm:time_to_first_token_seconds_bucket": PartBucket,
		"vllm:time_to_first_token_seconds_sum":    PartSum,
		"vllm_time_to_first_token_seconds_count":  PartCount,
		"vllm:iteration_tokens_total":             PartFamily, // a histogram, in spite of its suffix
	} {
		if m, ok := Lookup(name); !ok || m.Part != part {
			t.Errorf("%s: %+v, %v", name, m, ok)
		}
	}
	if IsWanted("vllm:iteration_tokens") {
		t.Error("the suffix _total of a histogram's name was removed")
	}
}
