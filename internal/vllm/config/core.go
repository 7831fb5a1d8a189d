package config

import (
	"bytes"
	"encoding/json"
	"slices"
)

// FromCore reads an engine core's own dump, which the plugin of package instrument
// makes: parts of its VllmConfig in the form of /server_info, after the core's own
// changes, and what its scheduler goes by (vllm/v1/core/sched/scheduler.py), which
// counts for more. live may be empty.
func FromCore(config, live []byte) (Values, error) {
	v, err := fromConfig(config)
	if err != nil || len(bytes.TrimSpace(live)) == 0 {
		return v, err
	}
	fields, err := object(live)
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

// limitsScheduling says whether the configuration has a max_num_scheduled_tokens of its
// own: that is another setting, which speculative decoding sets too
// (vllm/config/vllm.py, _set_max_num_scheduled_tokens), and the scheduler goes by it.
func limitsScheduling(config []byte) bool {
	var c struct {
		Scheduler struct {
			Limit *float64 `json:"max_num_scheduled_tokens"`
		} `json:"scheduler_config"`
	}
	return json.Unmarshal(config, &c) == nil && c.Scheduler.Limit != nil
}

// FromWorkers gives the attention backend that all workers chose, by the paths of the
// classes; nothing where they use several, or one whose flag is not known.
func FromWorkers(backends [][]string) Values {
	v := Values{}
	all := slices.Concat(backends...)
	slices.Sort(all)
	if all = slices.Compact(all); len(all) == 1 {
		v.put(keyOf("attention_backend"), all[0])
	}
	return v
}

// FromFrontEnd gives what a front-end alone knows: of how many data-parallel engines it
// made the configuration. A core of a dense model is made to believe that it is alone
// (vllm/v1/engine/core.py, run_engine_core).
func FromFrontEnd(dataParallelSizes []int64) Values {
	v := Values{}
	sizes := slices.Compact(slices.Sorted(slices.Values(dataParallelSizes)))
	if len(sizes) == 1 {
		v.put(keyOf("data_parallel_size"), float64(sizes[0]))
	}
	return v
}

// Agree gives what all tell alike that tell it, and of the rest two of the values.
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

// Paths lists where the settings lie in a VllmConfig, SECTION.FIELD.
func Paths() []string {
	var out []string
	for i := range keys {
		out = append(out, keys[i].paths...)
	}
	return out
}
