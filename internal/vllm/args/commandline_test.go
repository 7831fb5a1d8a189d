package args

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
