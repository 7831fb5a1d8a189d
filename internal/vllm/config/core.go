package config

import (
	"bytes"
	"encoding/json"
	"slices"
)

// FromCore reads what package plugin reports of an engine core: config is the part of its
// VllmConfig that is read here, in the form of /server_info and after the core's own
// changes; live is the limits that its scheduler applies
// (vllm/v1/core/sched/scheduler.py). live takes precedence and may be empty.
func FromCore(config, live []byte) (Values, error) {
	v, err := fromConfig(config)
	if err != nil || len(bytes.TrimSpace(live)) == 0 {
		return v, err
	}
	fields, err := members(live)
	if err != nil {
		return nil, err
	}
	take := func(name, field string) {
		var value any
		if raw, ok := fields[field]; ok && json.Unmarshal(raw, &value) == nil && value != nil {
			v.put(keyOf(name), value)
		}
	}
	take("max_num_seqs", "max_num_running_reqs")
	take("max_model_len", "max_model_len")
	take("enable_prefix_caching", "enable_caching")
	take("num_gpu_blocks", "num_gpu_blocks")
	if !limitsScheduling(config) {
		take("max_num_batched_tokens", "max_num_scheduled_tokens")
	}
	return v, nil
}

// limitsScheduling reports whether the configuration sets max_num_scheduled_tokens. That is
// a setting apart from max_num_batched_tokens, which speculative decoding sets too
// (vllm/config/vllm.py, _set_max_num_scheduled_tokens), and the scheduler applies it.
func limitsScheduling(config []byte) bool {
	var c struct {
		Scheduler struct {
			Limit *float64 `json:"max_num_scheduled_tokens"`
		} `json:"scheduler_config"`
	}
	return json.Unmarshal(config, &c) == nil && c.Scheduler.Limit != nil
}

// FromWorkers returns the attention backend that all workers chose, given the paths of the
// backends' classes. The result is empty if they use several, or an unknown one.
func FromWorkers(backends [][]string) Values {
	v := Values{}
	all := slices.Concat(backends...)
	slices.Sort(all)
	if all = slices.Compact(all); len(all) == 1 {
		v.put(keyOf("attention_backend"), all[0])
	}
	return v
}

// FromFrontEnd returns data_parallel_size, which only the front-end knows: vLLM sets it to
// 1 in the engine core of a dense model (vllm/v1/engine/core.py, run_engine_core). The
// result is empty if the sizes differ.
func FromFrontEnd(dataParallelSizes []int64) Values {
	v := Values{}
	sizes := slices.Compact(slices.Sorted(slices.Values(dataParallelSizes)))
	if len(sizes) == 1 {
		v.put(keyOf("data_parallel_size"), float64(sizes[0]))
	}
	return v
}

// Agree returns the settings on which all that report them agree, and for each of the
// others two of its values, formatted.
func Agree(all []Values) (common Values, differ map[string][2]any) {
	common, differ = Values{}, map[string][2]any{}
	for _, v := range all {
		for name, value := range v {
			if before, ok := common[name]; ok && before != value {
				pair := []string{Format(before), Format(value)}
				slices.Sort(pair)
				differ[name] = [2]any{pair[0], pair[1]}
			}
			common[name] = value
		}
	}
	for name := range differ {
		delete(common, name)
	}
	return common, differ
}

// Paths returns the places of all settings in VllmConfig, as SECTION.FIELD.
func Paths() []string {
	var out []string
	for i := range keys {
		out = append(out, keys[i].paths...)
	}
	return out
}
