package metrics

import (
	"strings"
	"testing"

	"github.com/vobs/vobs/probe/exposition"
)

// Every name of the table can be read in every spelling, and no two figures share one.
func TestSpellings(t *testing.T) {
	for i := range DescID(NumDescs()) {
		sample := i.Name()
		if i.Desc().Kind == KindHistogram {
			sample += "_count"
		}
		w, ok := Lookup(sample)
		if !ok || w.Desc.Metric() != i.Metric() || w.Desc.Naming() != i.Naming() && i.IsVLLM() || i.Naming() == Native && w.Desc != i {
			t.Errorf("%s of row %d is read as row %d, %s", sample, i, w.Desc, w.Desc.Name())
		}
		if i.IsVLLM() && i.Naming() != Native && strings.Contains(i.Name(), ":") != (i.Naming() == RayColon) {
			t.Errorf("row %d has the name %s", i, i.Name())
		}
	}
	for _, name := range []string{"ray_process_start_time_seconds", "ray_prompt_tokens_total", "prompt_tokens_total", "ray_ray_vllm_prompt_tokens_total", "vllm", "ray_", ""} {
		if w, ok := Lookup(name); ok {
			t.Errorf("%q is read as %s", name, w.Desc.Name())
		}
	}
	for _, c := range []struct {
		name string
		part Part
		kind exposition.Type
		want bool
	}{
		{"vllm:prompt_tokens", PartType, exposition.Counter, true},
		{"vllm:prompt_tokens", PartType, exposition.Gauge, false},
		{"ray_vllm_prompt_tokens_total", PartValue, exposition.Counter, true},
		{"vllm:iteration_tokens_total", PartType, exposition.Histogram, true}, // for all its name
	} {
		if w, ok := Lookup(c.name); !ok || w.Part != c.part || w.Declares(c.kind) != c.want {
			t.Errorf("%s: %+v %v", c.name, w, ok)
		}
	}
	if IsWanted("vllm:iteration_tokens") {
		t.Error("the suffix of a histogram's name was taken off")
	}
}
