package args

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "c.yaml"), []byte("port: 81\nseed: 7\nenable-prefix-caching: false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line   string
		role   Role
		args   string
		reason string // part of WhyNoOptions
	}{
		{"vllm serve m --port 8", Server, "serve m --port 8", ""},
		{"env A=b python -m vllm.entrypoints.openai.api_server --port 8", Server, "--port 8", ""},
		{"vllm serve m --config c.yaml --port 8", Server, "serve m --port 81 --seed 7 --port 8", ""},
		{"vllm serve m --config " + dir + "/c.yaml", Server, "serve m --port 81 --seed 7", ""},
		{"vllm serve m --config absent.yaml", Server, "serve m", ""},
		{"vllm serve m --config", Server, "serve m --config", ""},
		{"python -m vllm.entrypoints.openai.api_server --config c.yaml", Server, "--port 81 --seed 7", ""},
		{"vllm serve m --config=c.yaml --port 8", Server, "serve m --config=c.yaml --port 8", ""},
		{"bash wrapper.sh vllm serve m", Server, "serve m", "runs through bash, whose script vobs does not read"},
		{"vllm bench throughput --model m", OfflineBenchmark, "bench throughput --model m", ""},
		{"vllm bench latency --config c.yaml", OfflineBenchmark, "bench latency --config c.yaml", ""},
		{"vllm bench serve --model m", BenchmarkClient, "bench serve --model m", "is a client"},
		{"vllm bench startup --model m", OtherRole, "bench startup --model m", ""},
		{"vllm bench", OtherRole, "bench", "which benchmark"},
		{"vllm run-batch -i a -o b --model m", OtherRole, "run-batch -i a -o b --model m", ""},
		{"vllm chat", OtherRole, "chat", "does not start an engine"},
		{"bash -c vllm serve m", OtherRole, "", "runs through bash"},
		{"python client.py", OtherRole, "", "does not start vLLM"},
		{"", OtherRole, "", "does not start vLLM"},
	} {
		got := Parse(strings.Fields(c.line), dir)
		if got.Role != c.role || strings.Join(got.Args, " ") != c.args || strings.Join(got.Argv, " ") != c.line {
			t.Errorf("%s: role %d, arguments %q of %q", c.line, got.Role, got.Args, got.Argv)
		}
		if !strings.Contains(got.WhyNoOptions, c.reason) || (got.WhyNoOptions == "") != (c.reason == "") || (got.Options == nil) != (c.reason != "") {
			t.Errorf("%s: options %+v, reason %q, want %q", c.line, got.Options, got.WhyNoOptions, c.reason)
		}
	}
	// The options of the file are in Options, too: a module has --no-… options.
	got := Parse(strings.Fields("python -m vllm.entrypoints.openai.api_server --config c.yaml"), dir)
	if p := got.Options; p.Values["seed"] != int64(7) || p.Values["enable_prefix_caching"] != false || len(p.Problems) > 0 {
		t.Errorf("%+v", p)
	}
	if got := Parse(strings.Fields("vllm serve m --config absent.yaml"), dir); !strings.Contains(got.Options.Problems["config"], "no such file") {
		t.Errorf("%+v", got.Options)
	}
}

// vLLM's parser does not pass on what is false in a file of --config, and does not read the
// file of --config=FILE: these settings are kept apart.
func TestIgnored(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"off.yaml":    "seed: 7\nenable-prefix-caching: false\ndisable_log_stats: false\nno-enable-chunked-prefill: false\nquantization: false\nsome-switch: false\nheadless: false\n",
		"both.yaml":   "enforce-eager: false\nmax-num-seqs: 8k\nspeculative-config:\n  method: ngram\nenable-prefix-caching: true\n",
		"broken.yaml": "a: [1",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	off := map[string]any{"enable_prefix_caching": false, "disable_log_stats": false, "enable_chunked_prefill": true, "some_switch": false, "headless": false}
	for _, c := range []struct {
		line string
		want map[string]any
		why  string // part of WhyIgnored
	}{
		{"vllm serve m --config off.yaml", off, ""},
		{"vllm serve m --enable-prefix-caching --config off.yaml", off, ""},
		{"python -m vllm.entrypoints.openai.api_server --config both.yaml", map[string]any{"enforce_eager": false}, ""},
		{"vllm serve m --config=both.yaml", map[string]any{"enforce_eager": false, "enable_prefix_caching": true, "speculative_config": map[string]any{"method": "ngram"}}, "does not read the file of --config=FILE: write --config FILE"},
		{"vllm serve m --config=absent.yaml", map[string]any{}, "(--config=absent.yaml: no such file or directory)"},
		{"vllm serve m --config=broken.yaml", map[string]any{}, "(--config=broken.yaml: ["},
		{"vllm serve m --config broken.yaml", map[string]any{}, ""},
		{"vllm bench throughput --config=off.yaml", map[string]any{}, ""},
		{"vllm serve m", map[string]any{}, ""},
	} {
		got := Parse(strings.Fields(c.line), dir).Options
		if diff := cmp.Diff(c.want, got.Ignored); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.line, diff)
		}
		if !strings.Contains(got.WhyIgnored, c.why) || (c.why == "") != (got.WhyIgnored == "") {
			t.Errorf("%s: %q, want %q", c.line, got.WhyIgnored, c.why)
		}
	}
}
