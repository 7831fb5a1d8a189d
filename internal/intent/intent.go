// Package intent holds the settings that a user meant an engine to have, and compares
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

// Intents are settings of an engine that were asked for.
type Intents struct {
	// Values holds what was asked for, by name: a field of vLLM's EngineArgs, or a
	// path into one that is an object (speculative_config.num_speculative_tokens).
	// A value is nil, bool, int64, *big.Int, float64, string, []any or map[string]any;
	// nil and "auto" take an intent back.
	Values map[string]any
	// Problems are settings that were asked for in a way that cannot be read, by
	// name, with the reason.
	Problems map[string]string
	// Reason says why the command line tells nothing; empty where it was read.
	Reason string
}

func newIntents() Intents { return Intents{Values: map[string]any{}, Problems: map[string]string{}} }

// Over lays i over others: what i names is taken from i.
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

// drop removes a setting and all that is below it, under whatever name.
func (i Intents) drop(name string) {
	below := func(k string) bool { return k == name || strings.HasPrefix(k, name+".") }
	gone := func(k string) bool {
		return below(k) || slices.ContainsFunc(canonical[:], func(c [2]string) bool { return c[1] == k && strings.HasPrefix(c[0], name+".") })
	}
	maps.DeleteFunc(i.Values, func(k string, _ any) bool { return gone(k) })
	maps.DeleteFunc(i.Problems, func(k, _ string) bool { return gone(k) })
}

// Empty says that nothing was asked for.
func (i Intents) Empty() bool {
	for _, v := range i.Values {
		if isSet(v) {
			return false
		}
	}
	return len(i.Problems) == 0
}

// Names are the settings that were asked for, in order.
func (i Intents) Names() []string {
	var names []string
	for name, v := range i.Values {
		if isSet(v) {
			names = append(names, name)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// isSet says whether a value is an intent: `auto` and None leave the choice to
// the engine.
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

// canonical are the settings that have a name of their own beside the object
// they belong to: vllm/engine/arg_utils.py folds the one into the other
// (spec_method, attention_backend), the seed has its own words for two.
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

// add puts a setting in, an object by its members.
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
