package demo

import (
	"fmt"
	"net/http"
	"strings"
)

// serveInfo is vLLM's /server_info, reduced to what is true of a simulation, in both of
// its forms (vllm/entrypoints/serve/dev/server_info/api_router.py).
func (e *Engine) serveInfo(w http.ResponseWriter, r *http.Request) {
	c := &e.cfg
	answer := map[string]any{"vllm_env": map[string]any{"VLLM_SERVER_DEV_MODE": true}, "system_env": map[string]any{}}
	if r.URL.Query().Get("config_format") != "json" {
		answer["vllm_config"] = c.text()
		writeJSON(w, http.StatusOK, answer)
		return
	}
	var speculative any
	if c.Speculative {
		speculative = map[string]any{"method": "ngram", "num_speculative_tokens": draftTokens}
	}
	answer["vllm_config"] = map[string]any{
		"model_config": map[string]any{
			"model": c.Model, "served_model_name": c.Model, "dtype": "torch.bfloat16", "quantization": nil,
			"max_model_len": c.maxModelLen(), "enforce_eager": false, "hf_token": "hf_secret-of-the-engine",
		},
		"cache_config":       map[string]any{"block_size": c.BlockSize, "cache_dtype": "auto", "enable_prefix_caching": true, "num_gpu_blocks": c.Engines * c.NumGPUBlocks},
		"parallel_config":    map[string]any{"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "data_parallel_size": c.Engines},
		"scheduler_config":   map[string]any{"max_num_seqs": c.MaxNumSeqs, "max_num_batched_tokens": maxBatchedTokens, "enable_chunked_prefill": true, "policy": "fcfs"},
		"speculative_config": speculative,
		"attention_config":   map[string]any{"backend": nil},
		"load_config":        map[string]any{"load_format": "dummy"},
	}
	writeJSON(w, http.StatusOK, answer)
}

// text is str(VllmConfig), reduced in the same way.
func (c *Config) text() string {
	speculative := "None"
	if c.Speculative {
		speculative = fmt.Sprintf("SpeculativeConfig(method='ngram', model=None, num_spec_tokens=%d)", draftTokens)
	}
	return strings.Join([]string{
		fmt.Sprintf("model='%s'", c.Model), "speculative_config=" + speculative, "dtype=torch.bfloat16", fmt.Sprintf("max_seq_len=%d", c.maxModelLen()),
		"load_format=dummy", "tensor_parallel_size=1", "pipeline_parallel_size=1", fmt.Sprintf("data_parallel_size=%d", c.Engines),
		"quantization=None", "enforce_eager=False", "kv_cache_dtype=auto", "enable_prefix_caching=True", "enable_chunked_prefill=True",
	}, ", ")
}
