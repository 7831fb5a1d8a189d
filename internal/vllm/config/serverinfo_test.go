package config

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFromServerInfo(t *testing.T) {
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
	// notInText are the settings that the text never has; hidden are those that it lacks
	// because of a name that looks like more settings or opens a bracket.
	notInText := []string{"served_model_name", "max_num_seqs", "max_num_batched_tokens", "scheduling_policy", "async_scheduling", "enable_expert_parallel", "prefix_caching_hash_algo", "block_size", "gpu_memory_utilization", "kv_cache_memory_bytes"}
	hidden := map[string][]string{
		"odd names":       {"enforce_eager"},
		"unbalanced name": {"enable_prefix_caching", "enable_chunked_prefill"},
	}
	seen := 0
	for _, c := range recorded(t).Configs {
		want, known := changed[c.Name]
		if !known {
			t.Errorf("%s: unexpected case", c.Name)
		}
		seen++
		want = settings(want)
		got, asText, err := FromServerInfo(serverInfo(t, c.JSON))
		if diff := cmp.Diff(want, got); diff != "" || asText || err != nil {
			t.Errorf("%s, JSON: %v (-want +got)\n%s", c.Name, err, diff)
		}
		for _, name := range append(notInText, hidden[c.Name]...) {
			delete(want, name)
		}
		got, asText, err = FromServerInfo(serverInfo(t, c.Text))
		if diff := cmp.Diff(want, got); diff != "" || !asText || err != nil {
			t.Errorf("%s, text: %v (-want +got)\n%s", c.Name, err, diff)
		}
	}
	if seen != len(changed) {
		t.Errorf("%d cases, want %d", seen, len(changed))
	}
}

// TestRecordedResponses reads the complete responses of a real vLLM 0.32.0.
func TestRecordedResponses(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("../../../testdata/answers/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := settings(Values{
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

func TestInvalidResponses(t *testing.T) {
	whole := string(serverInfo(t, recorded(t).Configs[0].JSON))
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
	// Up to 0.11 there were two names, and chunked_prefill_enabled was the effective one.
	v, _, err := FromServerInfo([]byte(`{"vllm_config":{"scheduler_config":{"enable_chunked_prefill":true,"chunked_prefill_enabled":false}}}`))
	if diff := cmp.Diff(Values{"enable_chunked_prefill": false}, v); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	// Invalid values are left out one by one.
	v, _, err = FromServerInfo([]byte(`{"vllm_config":{"model_config":{"model":{"a":1},"max_model_len":-5,"enforce_eager":"True","dtype":"","quantization":7,"served_model_name":"` + strings.Repeat("x", maxText+1) + `"},
		"scheduler_config":{"max_num_seqs":12.5,"max_num_batched_tokens":1e300,"policy":true},"cache_config":"x","parallel_config":[1],"attention_config":{"backend":"a.b.C"},"load_config":{"load_format":"auto"},"MODEL_CONFIG":{"dtype":"x"}}}`))
	if diff := cmp.Diff(Values{"load_format": "auto"}, v); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestFromModels(t *testing.T) {
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
	for body, want := range map[string]bool{
		`{"data":[{"id":"a","owned_by":"vllm"}]}`: true, `{"data":[{"id":"a","owned_by":"sglang"}]}`: false, `{"data":[{"id":"a"}]}`: false, `{"data":[]}`: false, "": false,
	} {
		if got := OwnedByVLLM([]byte(body)); got != want {
			t.Errorf("%s: OwnedByVLLM is %v", body, got)
		}
	}
	for _, body := range []string{`{"data":[]}`, `{"data":{}}`, `{"data":[{"id":1}]}`, `{"data":[{"id":"a","max_model_len":1.5}]}`} {
		if got, err := FromModels([]byte(body)); err == nil {
			t.Errorf("%s: %v", body, got)
		}
	}
}

func FuzzResponses(f *testing.F) {
	for _, c := range recorded(f).Configs {
		f.Add(serverInfo(f, c.JSON))
		f.Add(serverInfo(f, c.Text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, _, err := FromServerInfo(body)
		checkValues(t, v, err)
		for path, value := range AllFromServerInfo(body) {
			if s, ok := value.(string); ok && len(s) > maxText || isSecretSetting(path) {
				t.Errorf("%s is %v", path, value)
			}
		}
		v, err = FromModels(body)
		checkValues(t, v, err)
		v, err = FromVersion(body)
		checkValues(t, v, err)
	})
}

func TestKVRole(t *testing.T) {
	for body, want := range map[string]string{
		`{"vllm_config":{"kv_transfer_config":{"kv_connector":"NixlConnector","kv_role":"kv_producer"},"scheduler_config":{}}}`: "kv_producer",
		`{"vllm_config":{"kv_transfer_config":null}}`:          "",
		`{"vllm_config":"model='m'"}`:                          "",
		`{"vllm_config":{"kv_transfer_config":{"kv_role":3}}}`: "",
		`{`: "",
	} {
		if got := KVRole([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}
