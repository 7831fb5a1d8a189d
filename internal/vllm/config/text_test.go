package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFromTextOldVersions reads what VllmConfig.__str__ of older versions writes.
func TestFromTextOldVersions(t *testing.T) {
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
		got, err := fromText(c.text)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", version, err, diff)
		}
	}
}

// TestFromTextAmbiguous reads texts in which a value could pass for something else.
func TestFromTextAmbiguous(t *testing.T) {
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
		got, err := fromText(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "x", "tokenizer='a', model='b'", "model='a'\ndtype=x", `--model=a`} {
		if got, err := fromText(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzFromText(f *testing.F) {
	for _, c := range recorded(f).Configs {
		f.Add(c.Text)
	}
	f.Add(`model='a', speculative_config=SpeculativeConfig(method='x', num_spec_tokens=1), dtype=[{(<y>)}]`)
	f.Fuzz(func(t *testing.T, s string) {
		v, err := fromText(s)
		checkValues(t, v, err)
	})
}
