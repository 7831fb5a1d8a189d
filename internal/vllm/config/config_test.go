package config

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// configs is what vLLM 0.32.0 makes of the arguments in testdata/make.py.
type configs struct {
	Configs []struct {
		Name string
		Text string
		JSON json.RawMessage
	}
	Backends map[string]*string
}

func recorded(t testing.TB) (c configs) {
	t.Helper()
	b, err := os.ReadFile("testdata/configs.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(t testing.TB, config any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"vllm_config": config, "vllm_env": map[string]any{"VLLM_X": 1}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plain are the settings of an engine without any flag but those that make.py gives all.
func plain(more Values) Values {
	v := Values{
		"model": "/models/tiny", "served_model_name": "/models/tiny", "dtype": "bfloat16", "quantization": Disabled{},
		"max_model_len": int64(512), "enforce_eager": false, "load_format": "dummy",
		"tensor_parallel_size": int64(1), "pipeline_parallel_size": int64(1), "data_parallel_size": int64(1), "enable_expert_parallel": false,
		"max_num_seqs": int64(128), "max_num_batched_tokens": int64(2048), "enable_chunked_prefill": true, "scheduling_policy": "fcfs", "async_scheduling": false,
		"enable_prefix_caching": true, "prefix_caching_hash_algo": "sha256", "kv_cache_dtype": "auto", "block_size": int64(128), "gpu_memory_utilization": 0.92,
		"kv_cache_memory_bytes": int64(1 << 30), "speculative_method": Disabled{}, "num_speculative_tokens": Disabled{},
	}
	maps.Copy(v, more)
	return v
}

func TestServerInfo(t *testing.T) {
	changed := map[string]Values{
		"plain":             {},
		"eager, no caching": {"enforce_eager": true, "enable_prefix_caching": false, "max_num_seqs": int64(7), "max_num_batched_tokens": int64(1024)},
		"ngram":             {"speculative_method": "ngram", "num_speculative_tokens": int64(3)},
		"parallel":          {"tensor_parallel_size": int64(2), "pipeline_parallel_size": int64(2)},
		"fp8 cache":         {"kv_cache_dtype": "fp8_e4m3", "block_size": int64(32), "gpu_memory_utilization": 0.5, "scheduling_policy": "priority"},
		"no chunks":         {"enable_chunked_prefill": false, "max_num_batched_tokens": int64(4096), "dtype": "float32"},
		"odd names":         {"model": `/models/it's a "model", max_seq_len=7 (x`, "served_model_name": "a name, enforce_eager=True"},
		"unbalanced name":   {"served_model_name": "a [ name"},
	}
	// What the text does not have at all, and what a name that looks like more settings
	// or opens a bracket takes with it.
	untold := []string{"served_model_name", "max_num_seqs", "max_num_batched_tokens", "scheduling_policy", "async_scheduling", "enable_expert_parallel", "prefix_caching_hash_algo", "block_size", "gpu_memory_utilization", "kv_cache_memory_bytes"}
	spoiled := map[string][]string{
		"odd names":       {"enforce_eager"},
		"unbalanced name": {"enable_prefix_caching", "enable_chunked_prefill"},
	}
	seen := 0
	for _, c := range recorded(t).Configs {
		want, known := changed[c.Name]
		if !known {
			t.Errorf("%s: a case that is not expected", c.Name)
		}
		seen++
		want = plain(want)
		got, asText, err := FromServerInfo(answer(t, c.JSON))
		if diff := cmp.Diff(want, got); diff != "" || asText || err != nil {
			t.Errorf("%s, JSON: %v (-want +got)\n%s", c.Name, err, diff)
		}
		for _, name := range append(untold, spoiled[c.Name]...) {
			delete(want, name)
		}
		got, asText, err = FromServerInfo(answer(t, c.Text))
		if diff := cmp.Diff(want, got); diff != "" || !asText || err != nil {
			t.Errorf("%s, text: %v (-want +got)\n%s", c.Name, err, diff)
		}
	}
	if seen != len(changed) {
		t.Errorf("%d cases of %d", seen, len(changed))
	}
}

// The whole answers of a real 0.32.0, with what is beside the configuration.
func TestRecordedAnswers(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("../../../testdata/answers/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := plain(Values{
		"model": "/models1/tiny", "served_model_name": "tiny", "enforce_eager": true, "num_gpu_blocks": int64(16384), "kv_cache_size_tokens": int64(2097152),
	})
	got, _, err := FromServerInfo(read("server_info.json"))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("JSON: %v\n%s", err, diff)
	}
	text, asText, err := FromServerInfo(read("server_info_text.json"))
	if len(text) != 14 || !asText || err != nil {
		t.Errorf("text: %d settings: %v %v", len(text), text, err)
	}
	for name, value := range text {
		if want[name] != value {
			t.Errorf("text: %s is %v, want %v", name, value, want[name])
		}
	}
	got, err = FromModels(read("models.json"))
	if diff := cmp.Diff(Values{"model": "/models1/tiny", "served_model_name": "tiny", "max_model_len": int64(512)}, got); diff != "" || err != nil {
		t.Errorf("models: %v\n%s", err, diff)
	}
	got, err = FromVersion(read("version.json"))
	if diff := cmp.Diff(Values{"vllm_version": "0.32.0"}, got); diff != "" || err != nil {
		t.Errorf("version: %v\n%s", err, diff)
	}
}

// The text as older versions make it, by their VllmConfig.__str__.
func TestOldTexts(t *testing.T) {
	for version, c := range map[string]struct {
		text string
		want Values
	}{
		// vllm/config.py of 0.8.5: blanks in odd places, chunked_prefill_enabled, no data_parallel_size.
		"0.8": {
			`model='Qwen/Qwen3-8B', speculative_config=SpeculativeConfig(draft_model='ngram', num_spec_tokens=5), tokenizer='Qwen/Qwen3-8B', skip_tokenizer_init=False, tokenizer_mode=auto, revision=None, override_neuron_config=None, tokenizer_revision=None, trust_remote_code=False, dtype=torch.float16, max_seq_len=40960, download_dir=None, load_format=LoadFormat.DUMMY, tensor_parallel_size=2, pipeline_parallel_size=1, disable_custom_all_reduce=False, quantization=gptq_marlin, enforce_eager=False, kv_cache_dtype=fp8,  device_config=cuda, decoding_config=DecodingConfig(guided_decoding_backend='xgrammar', reasoning_backend=None), observability_config=ObservabilityConfig(show_hidden_metrics=False, otlp_traces_endpoint=None, collect_model_forward_time=False, collect_model_execute_time=False), seed=None, served_model_name=Qwen/Qwen3-8B, num_scheduler_steps=1, multi_step_stream_outputs=True, enable_prefix_caching=True, chunked_prefill_enabled=False, use_async_output_proc=True, disable_mm_preprocessor_cache=False, mm_processor_kwargs=None, pooler_config=None, compilation_config={"level":3,"custom_ops":["none"],"splitting_ops":["vllm.unified_attention"],"use_inductor":true,"cudagraph_capture_sizes":[512,1],"max_capture_size":512}`,
			Values{"model": "Qwen/Qwen3-8B", "dtype": "float16", "max_model_len": int64(40960), "load_format": "dummy", "tensor_parallel_size": int64(2), "pipeline_parallel_size": int64(1), "quantization": "gptq_marlin", "enforce_eager": false, "kv_cache_dtype": "fp8", "enable_prefix_caching": true, "enable_chunked_prefill": false, "speculative_method": "ngram", "num_speculative_tokens": int64(5)},
		},
		// vllm/config/__init__.py of 0.10.
		"0.10": {
			`model='meta-llama/Llama-3.1-8B-Instruct', speculative_config=SpeculativeConfig(method='eagle3', model='yuhuili/EAGLE3-LLaMA3.1-Instruct-8B', num_spec_tokens=3), tokenizer='meta-llama/Llama-3.1-8B-Instruct', skip_tokenizer_init=False, tokenizer_mode=auto, revision=None, tokenizer_revision=None, trust_remote_code=False, dtype=torch.bfloat16, max_seq_len=131072, download_dir=None, load_format=auto, tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=2, disable_custom_all_reduce=False, quantization=None, enforce_eager=True, kv_cache_dtype=auto, device_config=cuda, decoding_config=DecodingConfig(backend='auto', disable_fallback=False), observability_config=ObservabilityConfig(show_hidden_metrics_for_version=None), seed=0, served_model_name=x, enable_prefix_caching=True, chunked_prefill_enabled=True, use_async_output_proc=True, pooler_config=None, compilation_config={'level': 3, 'inductor_passes': {}, 'pass_config': {"a": "}'"}, 'x': <CompilationMode.NONE: 0>}`,
			Values{"model": "meta-llama/Llama-3.1-8B-Instruct", "dtype": "bfloat16", "max_model_len": int64(131072), "load_format": "auto", "tensor_parallel_size": int64(1), "pipeline_parallel_size": int64(1), "data_parallel_size": int64(2), "quantization": Disabled{}, "enforce_eager": true, "kv_cache_dtype": "auto", "enable_prefix_caching": true, "enable_chunked_prefill": true, "speculative_method": "eagle3", "num_speculative_tokens": int64(3)},
		},
	} {
		got, err := FromText(c.text)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", version, err, diff)
		}
	}
}

// Texts in which a value could pass for something else.
func TestTextDoubts(t *testing.T) {
	for text, want := range map[string]Values{
		`model='a', enable_prefix_caching=True, served_model_name=x, chunked_prefill_enabled=False, enable_chunked_prefill=True`: {"model": "a", "enable_prefix_caching": true},
		`model='a', dtype=torch.half, max_seq_len=12k, enforce_eager=yes, kv_cache_dtype=`:                                       {"model": "a", "dtype": "half"},
		`model='a', max_seq_len=1e30, tensor_parallel_size=-1, data_parallel_size=0x10, pipeline_parallel_size=1.5`:              {"model": "a"},
		`model='a', max_seq_len=512, served_model_name=bob's, enforce_eager=True`:                                                {"model": "a", "max_model_len": int64(512), "enforce_eager": true},
		`model='it\'s \x41\xe9\n', dtype=x`:       {"model": "it's Aé\n", "dtype": "x"},
		`model='never closed, dtype=x`:            {},
		`model='a', dtype=x[y, quantization=None`: {"model": "a"},
		`model=bare, dtype=x`:                     {"dtype": "x"},
		`model='a', speculative_config=SpeculativeConfig(method='ngram', method='eagle', num_spec_tokens=None), dtype=x`: {"model": "a", "dtype": "x"},
		`model='a', speculative_config=Other(method='ngram'), dtype=x`:                                                   {"model": "a", "dtype": "x"},
		`model='s3://KEY:SECRET@bucket/a?token=SECRET'`:                                                                  {"model": "s3://bucket/a"},
	} {
		got, err := FromText(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "x", "tokenizer='a', model='b'", "model='a'\ndtype=x", `--model=a`} {
		if got, err := FromText(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// Answers that are not what was asked for.
func TestHostileAnswers(t *testing.T) {
	whole := string(answer(t, recorded(t).Configs[0].JSON))
	for name, body := range map[string]string{
		"empty":              "",
		"cut":                whole[:len(whole)/2],
		"HTML":               "<!doctype html><title>no</title>",
		"null":               "null",
		"a list":             "[]",
		"a string":           `"vllm_config"`,
		"no configuration":   `{"detail":"Not Found"}`,
		"a number":           `{"vllm_config":1}`,
		"Rust's text":        `{"vllm_config":"model: \"a\"\nport: 8000"}`,
		"Rust's object":      `{"vllm_config":{"model":"a","max_num_seqs":7}}`,
		"deep":               `{"vllm_config":` + strings.Repeat(`{"model_config":`, 50000) + strings.Repeat("}", 50000) + "}",
		"a deep list":        `{"vllm_config":{"model_config":` + strings.Repeat(`[`, 50000),
		"two configurations": `{"vllm_config":{}} {"vllm_config":{}}`,
	} {
		if v, _, err := FromServerInfo([]byte(body)); err == nil {
			t.Errorf("%s: %v", name, v)
		}
		if v, err := FromModels([]byte(body)); err == nil {
			t.Errorf("%s as models: %v", name, v)
		}
		if v, err := FromVersion([]byte(body)); err == nil {
			t.Errorf("%s as a version: %v", name, v)
		}
	}
	// Up to 0.11 there were two names, and chunked_prefill_enabled was what counted.
	v, _, err := FromServerInfo([]byte(`{"vllm_config":{"scheduler_config":{"enable_chunked_prefill":true,"chunked_prefill_enabled":false}}}`))
	if diff := cmp.Diff(Values{"enable_chunked_prefill": false}, v); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	// Values that cannot be are left out, each alone.
	v, _, err = FromServerInfo([]byte(`{"vllm_config":{"model_config":{"model":{"a":1},"max_model_len":-5,"enforce_eager":"True","dtype":"","quantization":7,"served_model_name":"` + strings.Repeat("x", maxText+1) + `"},
		"scheduler_config":{"max_num_seqs":12.5,"max_num_batched_tokens":1e300,"policy":true},"cache_config":"x","parallel_config":[1],"attention_config":{"backend":"a.b.C"},"load_config":{"load_format":"auto"},"MODEL_CONFIG":{"dtype":"x"}}}`))
	if diff := cmp.Diff(Values{"load_format": "auto"}, v); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestModels(t *testing.T) {
	for body, want := range map[string]Values{
		`{"data":[{"id":"a","root":"r","max_model_len":8},{"id":"b","root":"r","max_model_len":8},{"id":"lora","root":"l","parent":"a"}]}`: {"model": "r", "served_model_name": "a", "max_model_len": int64(8)},
		`{"data":[{"id":"a","root":"r","max_model_len":8},{"id":"b","root":"s","max_model_len":9}]}`:                                       {"served_model_name": "a"},
		`{"data":[{"id":"a","object":"model","owned_by":"someone"}]}`:                                                                      {"served_model_name": "a"},
		`{"data":[{"id":"lora","root":"l","parent":"a","max_model_len":null}]}`:                                                            {},
	} {
		got, err := FromModels([]byte(body))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", body, err, diff)
		}
	}
	for _, body := range []string{`{"data":[]}`, `{"data":{}}`, `{"data":[{"id":1}]}`, `{"data":[{"id":"a","max_model_len":1.5}]}`} {
		if got, err := FromModels([]byte(body)); err == nil {
			t.Errorf("%s: %v", body, got)
		}
	}
}

func TestLabels(t *testing.T) {
	// 0.8 does not tell its blocks, and swap_space is of no interest.
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

// The names of attention backends are those of the real registry.
func TestBackends(t *testing.T) {
	seen := 0
	for name, path := range recorded(t).Backends {
		if path == nil {
			continue // as good as automatic
		}
		seen++
		if got := backendName(*path); got != name {
			t.Errorf("%s is %q, want %s", *path, got, name)
		}
	}
	if seen < 40 || seen != len(backends) {
		t.Errorf("%d backends, the table has %d", seen, len(backends))
	}
	if backendName("FLASHINFER") != "FLASHINFER" || backendName("a.Class") != "" {
		t.Error("a name, or an unknown class")
	}
}

func FuzzServerInfo(f *testing.F) {
	for _, c := range recorded(f).Configs {
		f.Add(answer(f, c.JSON))
		f.Add(answer(f, c.Text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, _, err := FromServerInfo(body)
		sound(t, v, err)
		v, err = FromModels(body)
		sound(t, v, err)
		v, err = FromVersion(body)
		sound(t, v, err)
	})
}

func FuzzText(f *testing.F) {
	for _, c := range recorded(f).Configs {
		f.Add(c.Text)
	}
	f.Add(`model='a', speculative_config=SpeculativeConfig(method='x', num_spec_tokens=1), dtype=[{(<y>)}]`)
	f.Fuzz(func(t *testing.T, s string) {
		v, err := FromText(s)
		sound(t, v, err)
	})
}

// sound holds settings against what the event can take.
func sound(t *testing.T, v Values, err error) {
	t.Helper()
	if err != nil && v != nil {
		t.Errorf("settings %v beside an error: %v", v, err)
	}
	for name, value := range v {
		if !slices.Contains(Names(), name) {
			t.Errorf("%s is none of the names", name)
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
			ok = k.none
		}
		if !ok {
			t.Errorf("%s is %#v", name, value)
		}
	}
}
