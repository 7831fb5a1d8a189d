package intent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/schema"
)

// TestCompare compares pairs of an intended and an effective value.
func TestCompare(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pair     string // as --intend has it
		actual   any
		mismatch string // "" if they agree
	}{
		// From NeMo Safe Synthesizer's test_vllm_observability.py.
		{"enable_prefix_caching=True", true, ""},
		{"enable_prefix_caching=False", true, "enable_prefix_caching: intended=False actual=True"},
		{"max_num_seqs=256", int64(128), "max_num_seqs: intended=256 actual=128"},
		{"kv_cache_dtype=fp8", "auto", "kv_cache_dtype: intended='fp8' actual='auto'"},
		// By value.
		{"max_num_batched_tokens=8K", int64(8192), ""},
		{"max_num_batched_tokens=8k", int64(8192), "max_num_batched_tokens: intended=8000 actual=8192"},
		{"max_num_seqs=256", "256", ""},
		{"max_num_seqs=256", "128", "max_num_seqs: intended=256 actual=128"},
		{"max-num-seqs=256", 256.0, ""},
		{"max_num_seqs=99999999999999999999", int64(5), "max_num_seqs: intended=99999999999999999999 actual=5"},
		{"kv_cache_memory_bytes=80000000001", int64(80000000000), "kv_cache_memory_bytes: intended=80000000001 actual=80000000000"},
		{"enable_chunked_prefill=true", "True", ""},
		{"enable_chunked_prefill=no", "True", "enable_chunked_prefill: intended=False actual=True"},
		{"--enforce-eager=on", int64(1), ""},
		{"gpu_memory_utilization=0.90", schema.Float(0.9), ""},
		{"gpu_memory_utilization=.9", "0.92", "gpu_memory_utilization: intended=0.9 actual=0.92"},
		{"gpu_memory_utilization=1", schema.Float(1), ""},
		{"kv_cache_dtype=fp8", "fp8_e4m3", ""},
		{"kv_cache_dtype=fp8_e4m3", "fp8", ""},
		{"kv_cache_dtype=fp8", "fp8_e5m2", "kv_cache_dtype: intended='fp8' actual='fp8_e5m2'"},
		{"kv_cache_dtype=fp9_of_later", "fp9_of_later", ""},
		{"dtype=half", "torch.float16", ""},
		{"dtype=half", "bfloat16", "dtype: intended='half' actual='bfloat16'"},
		{"attention_config.backend=flash_attn", "AttentionBackendEnum.FLASH_ATTN", ""},
		{"attention_backend=FLASHINFER", "FLASH_ATTN", "attention_backend: intended='FLASHINFER' actual='FLASH_ATTN'"},
		{"quantization=awq", "awq_marlin", "quantization: intended='awq' actual='awq_marlin'"},
		{"model=Qwen/Qwen3-8B", "Qwen/Qwen3-8B", ""},
		{"model=Qwen/Qwen3-8B", "/c/hub/models--Qwen--Qwen3-8B/snapshots/0a1b", ""},
		{"model=Qwen/Qwen3-8B", "/c/hub/models--Qwen--Qwen3-8B-FP8/snapshots/0a1b", "model: intended='Qwen/Qwen3-8B' actual='/c/hub/models--Qwen--Qwen3-8B-FP8/snapshots/0a1b'"},
		{"model=./testdata/", "testdata", ""},
		{"model=testdata", filepath.Join(wd, "testdata"), ""},
		{"model=it's", "a", `model: intended="it's" actual='a'`},
		{"served_model_name=a b", "a", ""},
		{"served_model_name=b a", "a", "served_model_name: intended=['b', 'a'] actual='a'"},
		{"cudagraph_capture_sizes=1 2 4", []int{1, 2, 4}, ""},
		{"cudagraph_capture_sizes=[1,2]", []any{int64(1), int64(2), int64(4)}, "cudagraph_capture_sizes: intended=[1, 2] actual=[1, 2, 4]"},
		{"spec_method=ngram", "ngram", ""},
		{"speculative-config.method=ngram", "eagle", "speculative_method: intended='ngram' actual='eagle'"},
		{"tensor_parallel_size=2", int64(1), "tensor_parallel_size: intended=2 actual=1"},
		{"some_new_switch=8K", int64(8192), ""},
	} {
		in, err := ParsePairs([]string{c.pair})
		if err != nil {
			t.Errorf("%s: %v", c.pair, err)
			continue
		}
		name := in.Names()[0]
		got := Compare(in, Effective{Values: map[string]any{name: c.actual}})
		want := Result{Mismatches: []string{}, Checked: []string{name}, Unchecked: []schema.FlagUnchecked{}}
		if c.mismatch != "" {
			want.Mismatches = []string{c.mismatch}
			for _, field := range schema.CheckedFields {
				want.DidNotEngage = want.DidNotEngage || name == field
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s against %v:\n%s", c.pair, c.actual, diff)
		}
	}
}

// TestCompareOff compares intents with settings that are off.
func TestCompareOff(t *testing.T) {
	in, err := ParsePairs([]string{"quantization=fp8", "speculative_config.method=ngram", "speculative_config.num_speculative_tokens=3", "kv_cache_dtype=None"})
	if err != nil {
		t.Fatal(err)
	}
	got := Compare(in, Effective{Off: []string{"quantization", "speculative_method", "num_speculative_tokens", "kv_cache_dtype"}})
	want := Result{
		Mismatches: []string{"quantization: intended='fp8' actual=None", "speculative_config.num_speculative_tokens: intended=3 actual=None", "speculative_method: intended='ngram' actual=None"},
		Checked:    []string{"quantization", "speculative_config.num_speculative_tokens", "speculative_method"},
		Unchecked:  []schema.FlagUnchecked{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestCompareLists checks the order, the settings without an intent and those that cannot be
// compared.
func TestCompareLists(t *testing.T) {
	in, err := ParsePairs([]string{"tensor_parallel_size=2", "kv_cache_dtype=auto", "enable_prefix_caching=true", "max_num_seqs=4", "max_model_len=-1",
		"dtype=None", "swap_space=4", "seed=1", "load_format=dummy", "block_size=16", "num_gpu_blocks_override=5", "speculative_config.num_speculative_tokens=3"})
	if err != nil {
		t.Fatal(err)
	}
	in.Problems["max_num_batched_tokens"] = "unreadable"
	got := Compare(in, Effective{
		Values: map[string]any{"tensor_parallel_size": int64(1), "max_num_seqs": int64(2), "enable_prefix_caching": false, "kv_cache_dtype": "fp8", "max_model_len": int64(9),
			"dtype": "bfloat16", "block_size": nil, "num_speculative_tokens": int64(3)},
		Why: func(name string) string {
			if name == "seed" {
				return "because"
			}
			return ""
		},
	})
	want := Result{
		Mismatches: []string{"max_num_seqs: intended=4 actual=2", "enable_prefix_caching: intended=True actual=False", "tensor_parallel_size: intended=2 actual=1"},
		Checked:    []string{"max_num_seqs", "enable_prefix_caching", "speculative_config.num_speculative_tokens", "tensor_parallel_size"},
		Unchecked: []schema.FlagUnchecked{
			{Flag: "block_size", Reason: "the engine does not report it"},
			{Flag: "load_format", Reason: "the engine does not report it"},
			{Flag: "num_gpu_blocks_override", Reason: "the engine does not report it"},
			{Flag: "seed", Reason: "because"},
			{Flag: "swap_space", Reason: "the engine does not report it; vLLM 0.32 has no setting of this name"},
			{Flag: "max_num_batched_tokens", Reason: "unreadable"},
		},
		DidNotEngage: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestPrecedence checks that --intend overrides --intend-file and that this overrides the
// command line, member by member unless a whole object is withdrawn.
func TestPrecedence(t *testing.T) {
	line := FromCommandLine(args.Parse(strings.Fields("vllm serve m --max-num-seqs 1 --max-num-batched-tokens 1 --kv-cache-dtype fp8 --seed x -sc.method ngram -sc.num_speculative_tokens 3"), ""))
	file, err := parseIntents([]byte(`{"max_num_seqs": 2, "max-num-batched-tokens": "2k", "seed": 2, "speculative_config": {"num_speculative_tokens": 4}}`), true)
	if err != nil {
		t.Fatal(err)
	}
	flags, err := ParsePairs([]string{"max_num_seqs=4", "max_num_seqs=3", "kv_cache_dtype=auto"})
	if err != nil {
		t.Fatal(err)
	}
	got := flags.Over(file.Over(line))
	want := map[string]any{"model": "m", "max_num_seqs": int64(3), "max_num_batched_tokens": int64(2000), "kv_cache_dtype": nil, "seed": int64(2),
		"speculative_method": "ngram", "speculative_config.num_speculative_tokens": int64(4)}
	if diff := cmp.Diff(want, got.Values); diff != "" || len(got.Problems) > 0 {
		t.Errorf("%v %s", got.Problems, diff)
	}
	none, err := ParsePairs([]string{"speculative_config=None"})
	if err != nil {
		t.Fatal(err)
	}
	if got := none.Over(got).Names(); strings.Join(got, " ") != "max_num_batched_tokens max_num_seqs model seed" {
		t.Error(got)
	}
	if got := got.Names(); strings.Join(got, " ") != "max_num_batched_tokens max_num_seqs model seed speculative_config.num_speculative_tokens speculative_method" {
		t.Error(got)
	}
	if _, changed := line.Values["seed"]; changed || len(line.Problems) != 1 {
		t.Error("Over changed its argument")
	}
}

// TestParseIntents reads the forms of --intend-file.
func TestParseIntents(t *testing.T) {
	seven := map[string]any{"max_num_seqs": int64(7), "enable_prefix_caching": false}
	for text, want := range map[string]map[string]any{
		`{"max_num_seqs": 7, "enable_prefix_caching": false}`:                                                                  seven,
		"max-num-seqs: 7\nno-enable-prefix-caching: true\n":                                                                    seven,
		"--max-num-seqs: '7'\nenable_prefix_caching: off\n":                                                                    seven,
		"{max_num_seqs: 7, enable-prefix-caching: no}":                                                                         seven,
		"\xef\xbb\xbf" + `{"kind":"header","run_id":"r","engine_parameters":{"max_num_seqs":7,"enable_prefix_caching":false}}`: seven,
		`{"name":"c","engine_config":{"max_num_seqs":7,"enable_prefix_caching":false,"kv_cache_dtype":null}}`: {
			"max_num_seqs": int64(7), "enable_prefix_caching": false, "kv_cache_dtype": nil},
		`{"attention_backend":"FLASH_ATTN","structured_generation_backend":"xgrammar","max_model_len":4096,"gpu_memory_utilization":0.9,"speculative_config":{"method":"ngram"},"kv_cache_metrics":true}`: {
			"attention_backend": "FLASH_ATTN", "structured_outputs_config.backend": "xgrammar", "max_model_len": int64(4096), "gpu_memory_utilization": 0.9,
			"speculative_method": "ngram", "kv_cache_metrics": true},
		"max-model-len: 25.6k\nmax-num-batched-tokens: 8K\nkv-cache-dtype: auto\n": {
			"max_model_len": int64(25600), "max_num_batched_tokens": int64(8192), "kv_cache_dtype": nil},
		"{}": {},
	} {
		got, err := parseIntents([]byte(text), false)
		if diff := cmp.Diff(want, got.Values); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"":                                "not a mapping of names to values",
		"[1]":                             "not a mapping of names to values",
		"max-num-seqs: many":              `"max-num-seqs": must be a whole number`,
		"max-num-seqs: true":              `"max-num-seqs": must be a number`,
		"enforce-eager: 3":                `"enforce-eager": must be true or false`,
		"enforce-eager: perhaps":          `"enforce-eager": must be true or false`,
		"compilation-config: [1]":         `"compilation-config": must be an object`,
		"kv-cache-dtype: {a: b}":          `"kv-cache-dtype": must be a string`,
		"max-num-batched-tokens: 1.5K":    "write 1.5k",
		`{"engine_parameters": 3}`:        "engine_parameters is not a mapping of names to values",
		"a b: 3":                          `"a b" is not the name of a setting`,
		"max-num-seqs: [1":                "[1:",
		`{"speculative_config": "ngram"}`: `cannot read "ngram" for --speculative-config`,
	} {
		if got, err := parseIntents([]byte(text), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	if _, err := ReadFile("../vllm/args/testdata/absent.json"); err == nil || err.Error() != "--intend-file ../vllm/args/testdata/absent.json: no such file or directory" {
		t.Error(err)
	}
	if in, err := ReadFile("../vllm/args/testdata/config/full.yaml"); err != nil || in.Values["max_num_batched_tokens"] != int64(8000) {
		t.Error(in, err)
	}
}

// TestParsePairsErrors holds what --intend refuses.
func TestParsePairsErrors(t *testing.T) {
	for pair, want := range map[string]string{
		"max_num_seqs":               `--intend "max_num_seqs" is not of the form NAME=VALUE`,
		"=5":                         "is not of the form NAME=VALUE",
		"a b=5":                      "is not of the form NAME=VALUE",
		"max_num_seqs=many":          `--intend "max_num_seqs=many": must be a whole number such as 8192, 8k (8000) or 8K (8192)`,
		"enforce_eager=perhaps":      "must be true or false",
		"gpu_memory_utilization=90%": `vLLM cannot read "90%" for --gpu-memory-utilization`,
		"compilation_config=3":       "not a JSON object",
		"max_model_len=1.5K":         "write 1.5k",
	} {
		if got, err := ParsePairs([]string{pair}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", pair, got, err, want)
		}
	}
}

// A setting that the event does not have is looked for in everything that the engine reports.
func TestCompareFound(t *testing.T) {
	reported := map[string]any{
		"seed": int64(11), "optimization_level": int64(1), "shutdown_timeout": int64(15), "num_gpu_blocks_override": "24", "kv_sharing_fast_prefill": "False",
		"max_num_queued_reqs": nil, "mamba_block_size": "None", "compilation_config.cudagraph_mode": int64(0), "ignore_patterns": []any{"a"}, "kv_cache_dtype_skip_layers": "[]",
		"compilation_config.custom_ops": []any{"none", "+rms_norm"}, "watermark": 0.0, "tokenizer": "/c/hub/models--org--name/snapshots/1", "max_num_seqs": int64(9),
	}
	for _, c := range []struct {
		pair, mismatch, unchecked string // both "" if the values agree
	}{
		{"seed=11", "", ""},
		{"seed=12", "seed: intended=12 actual=11", ""},
		{"optimization_level=1", "", ""},
		{"optimization_level=3", "optimization_level: intended='3' actual=1", ""},
		{"shutdown-timeout=15", "", ""},
		{"num_gpu_blocks_override=24", "", ""},
		{"num_gpu_blocks_override=25", "num_gpu_blocks_override: intended=25 actual=24", ""},
		{"kv_sharing_fast_prefill=true", "kv_sharing_fast_prefill: intended=True actual=False", ""},
		{"max_num_queued_reqs=8", "", "the engine reports None for it"},
		{"mamba_block_size=8", "", "the engine reports None for it"},
		{"compilation_config.cudagraph_mode=FULL", "", "the engine reports it in another form: 0"},
		{"compilation_config.cudagraph_mode=2", "compilation_config.cudagraph_mode: intended=2 actual=0", ""},
		{"kv_cache_dtype_skip_layers=1 2", "", "in another form"},
		{"ignore_patterns=a", "", ""},
		{`compilation_config={"custom_ops":["+rms_norm"]}`, "", ""},
		{`compilation_config={"custom_ops":["+silu"]}`, "compilation_config.custom_ops: intended=['+silu'] actual=['none', '+rms_norm']", ""},
		{"watermark=0.01", "watermark: intended=0.01 actual=0.0", ""},
		{"tokenizer=org/name", "", ""},
		{"device=cpu", "", "several settings of this name"},
		{"swap_space=4", "", "has no setting of this name"},
		{"max_num_seqs=4", "", ""}, // as the event has it
	} {
		in, err := ParsePairs([]string{c.pair})
		if err != nil {
			t.Errorf("%s: %v", c.pair, err)
			continue
		}
		got := Compare(in, Effective{Values: map[string]any{"max_num_seqs": int64(4)}, Find: func(name string) (any, bool, string) {
			if name == "device" {
				return nil, false, "several settings of this name"
			}
			value, found := reported[name]
			return value, found, ""
		}})
		if strings.Join(got.Mismatches, " ") != c.mismatch || (len(got.Checked) == 1) != (c.unchecked == "") {
			t.Errorf("%s: %+v, want %q", c.pair, got, c.mismatch)
		}
		if c.unchecked != "" && (len(got.Unchecked) != 1 || !strings.Contains(got.Unchecked[0].Reason, c.unchecked)) {
			t.Errorf("%s: %+v, want %q", c.pair, got.Unchecked, c.unchecked)
		}
	}
}
