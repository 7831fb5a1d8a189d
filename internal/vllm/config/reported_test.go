package config

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seedInfo is a part of the response of vLLM 0.32.0+cpu started with --seed 11
// --optimization-level 1 --shutdown-timeout 15 --num-gpu-blocks-override 24, and with some
// secrets.
const seedInfo = `{"vllm_config":{
	"model_config":{"model":"/models/tiny","seed":11,"hf_token":"hf_secret","hf_overrides":{"rope_scaling":{"factor":2.0}},"logits_processors":null},
	"cache_config":{"block_size":128,"num_gpu_blocks_override":24,"_block_size_resolved":true},
	"load_config":{"device":null,"ignore_patterns":["original/**/*"]},"device_config":{"device":"cpu"},
	"parallel_config":{"eplb_config":{"window_size":1000},"worker_cls":"` + "vllm.v1.worker.cpu_worker.CPUWorker" + `"},
	"observability_config":{"otlp_traces_endpoint":"http://user:secret@host:4317"},
	"kv_transfer_config":{"kv_connector":"NixlConnector","kv_connector_extra_config":{"api_key":"secret","hosts":["http://a:secret@b"],"threads":4}},
	"mamba_config":{"backend":"triton"},"attention_config":{"backend":null},
	"lora_config":null,"instance_id":1795987167491537635,"optimization_level":1,"shutdown_timeout":15,
	"compilation_config":{"mode":0,"pass_config":{"fuse_norm_quant":true}}},
	"vllm_env":{"VLLM_X":1},"system_env":{"os":"Linux"}}`

func TestAllFromServerInfo(t *testing.T) {
	all := AllFromServerInfo([]byte(seedInfo))
	for name, want := range map[string]any{
		"seed": int64(11), "optimization_level": int64(1), "shutdown_timeout": int64(15), "num_gpu_blocks_override": int64(24), "cache_config.num_gpu_blocks_override": int64(24),
		"hf_overrides.rope_scaling.factor": 2.0, "eplb_config.window_size": int64(1000), "compilation_config.pass_config.fuse_norm_quant": true, "ignore_patterns": []any{"original/**/*"},
		"kv_transfer_config.kv_connector": "NixlConnector", "threads": int64(4), "mamba_backend": "triton", "attention_config.backend": nil, "lora_config": nil, "logits_processors": nil,
		"instance_id": int64(1795987167491537635),
	} {
		got, found, why := all.Find(name)
		if diff := cmp.Diff(want, got); diff != "" || !found || why != "" {
			t.Errorf("%s: %v, %q\n%s", name, found, why, diff)
		}
	}
	for name, want := range map[string]string{
		"device": "the engine reports several settings of this name: device_config.device, load_config.device", "backend": "several settings",
		"hf_token": "", "api_key": "", "hosts": "", "otlp_traces_endpoint": "", "_block_size_resolved": "", "VLLM_X": "", "os": "", "eed": "", "model_config": "", "swap_space": "", "": "",
	} {
		if got, found, why := all.Find(name); found || got != nil || !strings.HasPrefix(why, want) && !strings.Contains(why, want) || (want == "") != (why == "") {
			t.Errorf("%s: %v %v %q, want %q", name, got, found, why, want)
		}
	}
	for path, value := range all {
		if s, ok := value.(string); ok && strings.Contains(s, "secret") {
			t.Errorf("%s is %s", path, s)
		}
	}
	for _, body := range []string{"", "null", "[]", `{"vllm_config":"model='a', seed=1"}`, `{"vllm_config":[1]}`, `{"vllm_config":{"a":`, `{"vllm_config":{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}}"} {
		if got := AllFromServerInfo([]byte(body)); len(got) > 0 {
			t.Errorf("%.40s: %v", body, got)
		}
	}
	whole, err := os.ReadFile("../../../testdata/answers/server_info.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := AllFromServerInfo(whole); len(got) < 250 {
		t.Errorf("%d settings of a whole response", len(got))
	}
}

func TestAllFromLabels(t *testing.T) {
	labels := AllFromLabels(map[string]string{"engine": "0", "num_gpu_blocks_override": "24", "sliding_window": "None", "block_size": "16", "empty": ""})
	want := Reported{"cache_config.num_gpu_blocks_override": "24", "cache_config.sliding_window": "None", "cache_config.block_size": "16"}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Error(diff)
	}
	both := AllFromServerInfo([]byte(seedInfo)).Over(labels)
	if n, found, _ := both.Find("num_gpu_blocks_override"); !found || n != int64(24) {
		t.Errorf("%v: /server_info has types and takes precedence", n)
	}
	if s, found, _ := both.Find("sliding_window"); !found || s != "None" {
		t.Error(s)
	}
}

func TestCommon(t *testing.T) {
	a := Reported{"a.seed": int64(1), "a.only": true, "a.list": []any{"x"}}
	b := Reported{"a.seed": int64(2), "a.list": []any{"x"}}
	common := Common(a, b)
	if diff := cmp.Diff(Reported{"a.seed": Differ{}, "a.list": []any{"x"}}, common); diff != "" {
		t.Error(diff)
	}
	if v, found, why := common.Find("seed"); v != nil || found || why != "the engines have different values" {
		t.Error(v, found, why)
	}
	if len(Common()) > 0 || len(Common(a, nil)) > 0 || len(Common(a)) != 3 || len(Common(common, a)) != 2 {
		t.Error("the settings that all have")
	}
	if _, differ := Common(common, a)["a.seed"].(Differ); !differ {
		t.Error("a setting that differs")
	}
}
