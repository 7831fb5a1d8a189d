package config

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recording holds the configurations that vLLM 0.32.0 makes of the arguments in
// testdata/make.py.
type recording struct {
	Configs []struct {
		Name string
		Text string
		JSON json.RawMessage
	}
	Backends map[string]*string
}

func recorded(t testing.TB) (r recording) {
	t.Helper()
	b, err := os.ReadFile("testdata/configs.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// serverInfo returns a response of /server_info with the given configuration.
func serverInfo(t testing.TB, config any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"vllm_config": config, "vllm_env": map[string]any{"VLLM_X": 1}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// settings returns the settings of an engine that has only the flags that make.py gives to
// every engine, with changes on top.
func settings(changes Values) Values {
	v := Values{
		"model": "/models/tiny", "served_model_name": "/models/tiny", "dtype": "bfloat16", "quantization": Disabled{},
		"max_model_len": int64(512), "enforce_eager": false, "load_format": "dummy",
		"tensor_parallel_size": int64(1), "pipeline_parallel_size": int64(1), "data_parallel_size": int64(1), "enable_expert_parallel": false,
		"max_num_seqs": int64(128), "max_num_batched_tokens": int64(2048), "enable_chunked_prefill": true, "scheduling_policy": "fcfs", "async_scheduling": false,
		"enable_prefix_caching": true, "prefix_caching_hash_algo": "sha256", "kv_cache_dtype": "auto", "block_size": int64(128), "gpu_memory_utilization": 0.92,
		"kv_cache_memory_bytes": int64(1 << 30), "speculative_method": Disabled{}, "num_speculative_tokens": Disabled{},
	}
	maps.Copy(v, changes)
	return v
}

func TestFromLabels(t *testing.T) {
	// 0.8 does not export num_gpu_blocks; swap_space is not read.
	labels := map[string]string{"block_size": "16", "cache_dtype": "fp8", "enable_prefix_caching": "False", "num_gpu_blocks": "None", "gpu_memory_utilization": "0.9", "swap_space": "4", "prefix_caching_hash_algo": "builtin"}
	got := FromLabels(func(label string) string { return labels[label] })
	if diff := cmp.Diff(Values{"block_size": int64(16), "kv_cache_dtype": "fp8", "enable_prefix_caching": false, "gpu_memory_utilization": 0.9, "prefix_caching_hash_algo": "builtin"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMerge(t *testing.T) {
	merged, conflicts := Merge(
		Layer{Models, Values{"max_model_len": int64(512), "model": "org/name", "served_model_name": "m"}},
		Layer{ServerInfo, Values{"max_model_len": int64(256), "model": "/cache/name", "block_size": int64(16), "quantization": Disabled{}}},
		Layer{CacheConfig, Values{"block_size": int64(16), "kv_cache_dtype": "auto"}},
	)
	want := map[string]Setting{
		"max_model_len": {int64(256), ServerInfo}, "model": {"/cache/name", ServerInfo}, "served_model_name": {"m", Models},
		"block_size": {int64(16), ServerInfo}, "kv_cache_dtype": {"auto", CacheConfig}, "quantization": {Disabled{}, ServerInfo},
	}
	if diff := cmp.Diff(want, merged); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Conflict{{"max_model_len", Setting{int64(256), ServerInfo}, Setting{int64(512), Models}}}, conflicts); diff != "" {
		t.Error(diff)
	}
}

// TestBackendName compares the table with the real registry.
func TestBackendName(t *testing.T) {
	seen := 0
	for name, path := range recorded(t).Backends {
		if path == nil {
			continue // chosen automatically
		}
		seen++
		if got := backendName(*path); got != name {
			t.Errorf("%s is %q, want %s", *path, got, name)
		}
	}
	if seen < 40 || seen != len(backends) {
		t.Errorf("%d backends are recorded, the table has %d", seen, len(backends))
	}
	if backendName("FLASHINFER") != "FLASHINFER" || backendName("a.Class") != "" {
		t.Error("a flag's own name must stay as it is, and an unknown class must be refused")
	}
}

// checkValues checks that the event can hold the settings.
func checkValues(t *testing.T, v Values, err error) {
	t.Helper()
	if err != nil && v != nil {
		t.Errorf("settings %v are returned with an error: %v", v, err)
	}
	for name, value := range v {
		if !slices.Contains(Names(), name) {
			t.Errorf("%s is not in Names", name)
		}
		k := keyOf(name)
		ok := false
		switch x := value.(type) {
		case string:
			ok = k.kind == text && x != "" && len(x) <= maxText
		case bool:
			ok = k.kind == boolean
		case int64:
			ok = k.kind == number && x >= 0
		case float64:
			_, err := json.Marshal(x)
			ok = k.kind == fraction && err == nil
		case Disabled:
			ok = k.noneMeansOff
		}
		if !ok {
			t.Errorf("%s is %#v", name, value)
		}
	}
}
