package demo

import (
	"fmt"
	"net/http"
	"strings"
)

// serveInfo is vLLM's /server_info (vllm/entrypoints/serve/dev/server_info/api_router.py).
func (e *Engine) serveInfo(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, e.cfg.serverInfo(r.URL.Query().Get("config_format") == "json"))
}

// serverInfo is what /server_info responds with, reduced to what is true of a simulation,
// in either of its forms.
func (c *Config) serverInfo(asJSON bool) map[string]any {
	answer := map[string]any{"vllm_env": map[string]any{"VLLM_SERVER_DEV_MODE": true}, "system_env": map[string]any{}}
	if !asJSON {
		answer["vllm_config"] = c.text()
		return answer
	}
	set := c.settings()
	var speculative any
	if n := set.NumSpeculativeTokens; n > 0 {
		speculative = map[string]any{"method": "ngram", "num_speculative_tokens": n}
	}
	config := map[string]any{
		"model_config": map[string]any{
			"model": c.Model, "served_model_name": c.Model, "dtype": "torch.bfloat16", "quantization": nil,
			"max_model_len": c.maxModelLen(), "enforce_eager": false, "hf_token": "hf_secret-of-the-engine",
		},
		"cache_config":       map[string]any{"block_size": c.BlockSize, "cache_dtype": "auto", "enable_prefix_caching": !set.NoPrefixCaching, "num_gpu_blocks": c.Engines * c.NumGPUBlocks},
		"parallel_config":    map[string]any{"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "data_parallel_size": c.Engines},
		"scheduler_config":   map[string]any{"max_num_seqs": c.MaxNumSeqs, "max_num_batched_tokens": set.MaxNumBatchedTokens, "enable_chunked_prefill": true, "policy": "fcfs"},
		"speculative_config": speculative,
		"attention_config":   map[string]any{"backend": nil},
		"load_config":        map[string]any{"load_format": "dummy"},
	}
	if connector := set.connectorName(); connector != "" {
		config["kv_transfer_config"] = map[string]any{"kv_connector": connector, "kv_role": "kv_both", "kv_load_failure_policy": "recompute"}
	}
	answer["vllm_config"] = config
	return answer
}

// connectorName returns the class of the configured KV connector, or "".
func (s *Settings) connectorName() string {
	switch {
	case s.Offload != nil:
		return "OffloadingConnector"
	case s.Transfer != nil:
		return "NixlConnector"
	}
	return ""
}

// text is str(VllmConfig), reduced in the same way.
func (c *Config) text() string {
	speculative := "None"
	set := c.settings()
	if n := set.NumSpeculativeTokens; n > 0 {
		speculative = fmt.Sprintf("SpeculativeConfig(method='ngram', model=None, num_spec_tokens=%d)", n)
	}
	return strings.Join([]string{
		fmt.Sprintf("model='%s'", c.Model), "speculative_config=" + speculative, "dtype=torch.bfloat16", fmt.Sprintf("max_seq_len=%d", c.maxModelLen()),
		"load_format=dummy", "tensor_parallel_size=1", "pipeline_parallel_size=1", fmt.Sprintf("data_parallel_size=%d", c.Engines),
		"quantization=None", "enforce_eager=False", "kv_cache_dtype=auto", "enable_prefix_caching=" + pythonBool(!set.NoPrefixCaching), "enable_chunked_prefill=True",
	}, ", ")
}
