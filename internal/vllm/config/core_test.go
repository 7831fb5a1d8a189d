package config

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recordedCore returns what the plugin reported of an engine core of vLLM 0.32.0 on a CPU.
func recordedCore(t testing.TB) (config, live []byte) {
	t.Helper()
	b, err := os.ReadFile("../plugin/testdata/recorded/process-core.json")
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Cores []struct{ Config, Live json.RawMessage }
	}
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	return p.Cores[0].Config, p.Cores[0].Live
}

func TestFromCore(t *testing.T) {
	config, live := recordedCore(t)
	want := settings(Values{
		"max_num_seqs": int64(16), "max_num_batched_tokens": int64(4096), "enforce_eager": true,
		"num_gpu_blocks": int64(40), "kv_cache_size_tokens": int64(5120),
	})
	delete(want, "data_parallel_size") // only the front-end knows it
	got, err := FromCore(config, live)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(err, d)
	}
	// The scheduler's own limits take precedence.
	edit := func(from []byte, old, new string) []byte {
		t.Helper()
		if !strings.Contains(string(from), old) {
			t.Fatalf("no %s", old)
		}
		return []byte(strings.Replace(string(from), old, new, 1))
	}
	other := []byte(`{"max_num_running_reqs": 8, "max_num_scheduled_tokens": 1024, "max_model_len": 256, "enable_caching": false, "num_gpu_blocks": 39}`)
	changed := maps.Clone(want)
	maps.Copy(changed, Values{"max_num_seqs": int64(8), "max_num_batched_tokens": int64(1024), "max_model_len": int64(256), "enable_prefix_caching": false, "num_gpu_blocks": int64(39)})
	got, err = FromCore(config, other)
	if d := cmp.Diff(changed, got); d != "" || err != nil {
		t.Error(err, d)
	}
	// max_num_scheduled_tokens is a setting of its own.
	changed["max_num_batched_tokens"] = int64(4096)
	got, err = FromCore(edit(config, `"max_num_scheduled_tokens": null`, `"max_num_scheduled_tokens": 1024`), other)
	if d := cmp.Diff(changed, got); d != "" || err != nil {
		t.Error(err, d)
	}
	// A core that did not come up reports its configuration only; invalid values are left out.
	for _, live := range []string{"", "{}", `{"max_num_running_reqs": "many", "enable_caching": 1, "num_gpu_blocks": -1, "max_model_len": null}`} {
		if got, err = FromCore(config, []byte(live)); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %v %s", live, err, cmp.Diff(want, got))
		}
	}
	for _, bad := range [][2]string{{"", ""}, {"[]", ""}, {"{}", ""}, {string(config), "[1"}, {string(config), "3"}, {string(config[:400]), ""}} {
		if got, err := FromCore([]byte(bad[0]), []byte(bad[1])); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestFromWorkersAndFrontEnd(t *testing.T) {
	const cpu, flash = "vllm.v1.attention.backends.cpu_attn.CPUAttentionBackend", "vllm.v1.attention.backends.flash_attn.FlashAttentionBackend"
	for _, c := range []struct {
		backends [][]string
		want     any
	}{
		{nil, nil}, {[][]string{{}, {}}, nil}, {[][]string{{cpu}, {cpu}}, "CPU_ATTN"}, {[][]string{{cpu, flash}}, nil}, {[][]string{{cpu}, {flash}}, nil}, {[][]string{{"my.Backend"}}, nil},
	} {
		if got := FromWorkers(c.backends)["attention_backend"]; got != c.want {
			t.Errorf("%v: %v", c.backends, got)
		}
	}
	for _, c := range []struct {
		sizes []int64
		want  any
	}{{nil, nil}, {[]int64{2}, int64(2)}, {[]int64{2, 2}, int64(2)}, {[]int64{1, 2}, nil}, {[]int64{-1}, nil}} {
		if got := FromFrontEnd(c.sizes)["data_parallel_size"]; got != c.want {
			t.Errorf("%v: %v", c.sizes, got)
		}
	}
}

func TestAgree(t *testing.T) {
	common, differ := Agree([]Values{{"a": int64(1), "b": true, "n": Disabled{}}, {"a": int64(2), "b": true, "c": "x", "n": Disabled{}}, {"a": int64(1)}})
	if d := cmp.Diff(Values{"b": true, "c": "x", "n": Disabled{}}, common); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string][2]any{"a": {"1", "2"}}, differ); d != "" {
		t.Error(d)
	}
}
