// Package intent reads the settings that a user intends an engine to have, and compares
// them with the settings that the engine reports.
//
// Intents come from --intend, from --intend-file and from the vLLM options in the
// command line (package args), in this order of precedence.
package intent

import (
	"maps"
	"slices"
	"strings"
)

// Intents are the settings that an engine is intended to have.
type Intents struct {
	// Values are the settings by name: a field of vLLM's EngineArgs, or a path into a field
	// that is an object (speculative_config.num_speculative_tokens). The values are those of
	// package pyvalue; nil and "auto" withdraw an intent.
	Values map[string]any
	// Problems are the settings that could not be read, by name, with the reasons.
	Problems map[string]string
	// Reason is why the command line was not read; "" if it was.
	Reason string
}

func newIntents() Intents { return Intents{Values: map[string]any{}, Problems: map[string]string{}} }

// Over returns other with the settings of i in place of its own.
func (i Intents) Over(other Intents) Intents {
	out := Intents{Values: maps.Clone(other.Values), Problems: maps.Clone(other.Problems), Reason: other.Reason}
	if out.Values == nil {
		out.Values = map[string]any{}
	}
	if out.Problems == nil {
		out.Problems = map[string]string{}
	}
	for name, value := range i.Values {
		out.drop(name)
		out.Values[name] = value
	}
	for name, why := range i.Problems {
		out.drop(name)
		out.Problems[name] = why
	}
	return out
}

// drop removes a setting and everything below it, whatever its names.
func (i Intents) drop(name string) {
	below := func(k string) bool { return k == name || strings.HasPrefix(k, name+".") }
	dropped := func(k string) bool {
		return below(k) || slices.ContainsFunc(canonical[:], func(c [2]string) bool { return c[1] == k && strings.HasPrefix(c[0], name+".") })
	}
	maps.DeleteFunc(i.Values, func(k string, _ any) bool { return dropped(k) })
	maps.DeleteFunc(i.Problems, func(k, _ string) bool { return dropped(k) })
}

// Empty reports whether there are neither intents nor problems.
func (i Intents) Empty() bool {
	for _, v := range i.Values {
		if isSet(v) {
			return false
		}
	}
	return len(i.Problems) == 0
}

// Names returns the names of the intended settings, sorted.
func (i Intents) Names() []string {
	var names []string
	for name, v := range i.Values {
		if isSet(v) {
			names = append(names, name)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// isSet reports whether a value is an intent: auto and None leave the choice to the engine.
func isSet(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return !strings.EqualFold(v, "auto") && v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// canonical lists names of settings and the names used for them here. vLLM has some settings
// both as a flag and within an object (spec_method, attention_backend) and folds one into
// the other in vllm/engine/arg_utils.py; NeMo Safe Synthesizer has its own names for a few.
var canonical = [...][2]string{
	{"speculative_config.method", "speculative_method"},
	{"spec_method", "speculative_method"},
	{"spec_model", "speculative_config.model"},
	{"spec_tokens", "speculative_config.num_speculative_tokens"},
	{"attention_config.backend", "attention_backend"},
	{"structured_generation_backend", "structured_outputs_config.backend"},
	{"kernel_config.moe_backend", "moe_backend"},
	{"kernel_config.linear_backend", "linear_backend"},
	{"compilation_config.cudagraph_capture_sizes", "cudagraph_capture_sizes"},
	{"compilation_config.max_cudagraph_capture_size", "max_cudagraph_capture_size"},
	{"device_memory_utilization", "gpu_memory_utilization"},
	{"model_tag", "model"},
	{"cache_dtype", "kv_cache_dtype"},
}

// add sets a setting. It adds the members of an object one by one.
func (i Intents) add(name string, value any) {
	if object, ok := value.(map[string]any); ok && len(object) > 0 {
		for _, key := range slices.Sorted(maps.Keys(object)) {
			i.add(name+"."+key, object[key])
		}
		return
	}
	i.Values[canonicalName(name)] = value
}

func canonicalName(name string) string {
	for _, c := range canonical {
		if c[0] == name {
			return c[1]
		}
	}
	return name
}
