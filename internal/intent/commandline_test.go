package intent

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/vllm/args"
)

// TestFromCommandLine reads vLLM behind launchers, and commands that are not vLLM.
func TestFromCommandLine(t *testing.T) {
	serve := map[string]any{"model": "m", "max_num_seqs": int64(8)}
	for _, c := range []struct {
		line   string
		want   map[string]any
		reason string // a part of it
	}{
		{line: "vllm serve m --max-num-seqs 8", want: serve},
		{line: "/opt/venv/bin/vllm serve m --max-num-seqs 8 --port 80 --api-key secret", want: serve},
		{line: "python3 /opt/venv/bin/vllm serve m --max-num-seqs 8", want: serve},
		{line: "env -u FOO --chdir=/tmp A=b HF_HUB_OFFLINE=1 vllm serve m --max-num-seqs 8", want: serve},
		{line: "nice -n 10 ionice -c 2 vllm serve m --max-num-seqs 8", want: serve},
		{line: "uv run --with vllm --no-sync vllm serve m --max-num-seqs 8", want: serve},
		{line: "uv run -p 3.12 -- vllm serve m --max-num-seqs 8", want: serve},
		{line: "numactl --cpunodebind=0 -m 0 vllm serve m --max-num-seqs 8", want: serve},
		{line: "srun -n 1 --gres gpu:1 --job-name vllm vllm serve m --max-num-seqs 8", want: serve},
		{line: "timeout -k 5 1h stdbuf -oL vllm serve m --max-num-seqs 8", want: serve},
		{line: "torchrun --nproc-per-node 2 -m vllm.entrypoints.openai.api_server --model m --max-num-seqs 8", want: serve},
		{line: "torchrun --module vllm.entrypoints.openai.api_server --model m --max-num-seqs 8", want: serve},
		{line: "python -u -m vllm.entrypoints.openai.api_server --model m --max_num_seqs=8", want: serve},
		{line: "python -mvllm.entrypoints.openai.api_server --model m --max_num_seqs=8", want: serve},
		{line: "python -m vllm.entrypoints.cli.main serve m --max-num-seqs 8", want: serve},
		{line: "python -m vllm.entrypoints.openai.run_batch -i a -o b --model m --max-num-seqs 8", want: serve},
		{line: "vllm run-batch -i a -o b --model m --max-num-seqs 8", want: serve},
		{line: "vllm bench throughput --model m --max-num-seqs 8 --num-prompts 5", want: serve},
		{line: "vllm serve --config ../vllm/args/testdata/config/small.yaml --max-num-seqs 8 --model m", want: map[string]any{
			"model": "m", "max_num_seqs": int64(8), "enable_prefix_caching": false, "seed": int64(16), "block_size": int64(16)}},
		{line: "vllm serve m -sc.method ngram --speculative-config.num_speculative_tokens 3 -cc.pass_config.fuse_norm_quant true -ac.backend FLASH_ATTN", want: map[string]any{
			// To vLLM's parser -sc and --speculative-config are two options: the later one replaces the other.
			"model": "m", "speculative_config.num_speculative_tokens": int64(3), "compilation_config.pass_config.fuse_norm_quant": true, "attention_backend": "FLASH_ATTN"}},
		{line: "vllm serve m --swap-space 4 --use-v2-block-manager --max-num-seqs 8", want: map[string]any{
			"model": "m", "max_num_seqs": int64(8), "swap_space": int64(4), "use_v2_block_manager": true}},
		{line: "vllm serve m --kv-cache-dtype fp9 --max-num-seqs 8", want: map[string]any{ // of a later version
			"model": "m", "max_num_seqs": int64(8), "kv_cache_dtype": "fp9"}},
		// vLLM passes on nothing that is false in a file, and reads no file of --config=FILE.
		{line: "vllm serve m --config testdata/off.yaml --no-async-scheduling", want: map[string]any{
			"model": "m", "max_num_seqs": int64(9), "enable_prefix_caching": false, "async_scheduling": false}},
		{line: "vllm serve m --config testdata/off.yaml --enable-prefix-caching", want: map[string]any{
			"model": "m", "max_num_seqs": int64(9), "enable_prefix_caching": true, "async_scheduling": false}},
		{line: "docker run --gpus all -p 8000:8000 vllm/vllm-openai:latest --model m --max-num-seqs 8", want: serve},
		{line: "podman run --entrypoint vllm docker.io/vllm/vllm-openai@sha256:ab serve m --max-num-seqs 8", want: serve},
		{line: "docker run --entrypoint bash vllm/vllm-openai -c vllm", reason: "through bash,"},
		{line: "docker run vllm/vllm-openai vllm bench serve", reason: "is a client"},
		{line: "docker run ubuntu", reason: "does not start vLLM"},
		{line: "uv run --with vllm serve m", reason: "does not start vLLM"},
		{line: "vllm bench serve --model m --port 8000", reason: "is a client"},
		{line: "vllm bench sweep serve", reason: "several settings"},
		{line: "vllm bench", reason: "which benchmark"},
		{line: "vllm chat", reason: "does not start an engine"},
		{line: "python -m vllm.entrypoints.cli.main", reason: "does not start vLLM"},
		{line: "python client.py --url http://127.0.0.1:8000 --backend vllm", reason: "does not start vLLM: give --intend"},
		{line: "bash run.sh", reason: "through bash, whose script vobs does not read: give --intend"},
		{line: "env A=b sh -ec exec\u00a0vllm", reason: "through sh,"},
		{line: "bash wrapper.sh vllm serve m --max-num-seqs 8", reason: "through bash,"},
		{line: "bash -c x vllm serve m", reason: "through bash,"},
		{line: "true", reason: "does not start vLLM"},
		{line: "", reason: "does not start vLLM"},
	} {
		got := FromCommandLine(args.Parse(strings.Fields(c.line), ""))
		if !strings.Contains(got.Reason, c.reason) || (c.reason == "") != (got.Reason == "") {
			t.Errorf("%s: reason %q, want %q", c.line, got.Reason, c.reason)
		}
		if c.want == nil {
			c.want = map[string]any{}
		}
		if diff := cmp.Diff(c.want, got.Values); diff != "" || len(got.Problems) > 0 {
			t.Errorf("%s: %v\n%s", c.line, got.Problems, diff)
		}
	}
}

// TestProblems checks that a setting that cannot be read is named and the others are read.
func TestProblems(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, name, want string }{
		{"vllm serve m --max-num-seqs many --seed 5", "max_num_seqs", `vLLM cannot read "many" for --max-num-seqs`},
		{"vllm serve m --max-num-seqs 8 --max-num-seqs many --seed 5", "max_num_seqs", `cannot read "many"`},
		{"vllm serve m --max-num-batched-tokens 1.5K --seed 5", "max_num_batched_tokens", "write 1.5k"},
		{"vllm serve m --enforce-eager=yes --seed 5", "enforce_eager", "vLLM takes no value for --enforce-eager"},
		{"vllm serve m --max-num 5 --seed 5", "max_num", "--max-num is ambiguous: it could be any of --max-num-batched-tokens, "},
		{"vllm serve m --seed 5 -cudagraph-capture-sizes --cudagraph-c", "cudagraph_capture_sizes", "has no value"},
		{"vllm serve m --seed 5 --block-size", "block_size", "--block-size has no value"},
		{"vllm serve m --seed 5 --config ../vllm/args/testdata/config/absent.yaml", "config", "--config ../vllm/args/testdata/config/absent.yaml: no such file"},
		{"vllm serve m --seed 5 --config ../vllm/args/testdata/config/broken.yaml", "config", "--config ../vllm/args/testdata/config/broken.yaml: [1:"},
		{"vllm serve m --seed 5 --config ../vllm/args/testdata/config/small.txt", "config", "ends in .yaml or .yml"},
		{"vllm serve m --seed 5 --config " + pipe, "config", "not a regular file"},
		{"vllm serve m --seed 5 --config " + large, "config", "larger than 1 MiB"},
		{"vllm bench throughput --seed 5 --config ../vllm/args/testdata/config/small.yaml", "config", "does not take a file"},
		{"vllm serve --swap-space 4 m --seed 5", "model", `"4" follows --swap-space, which vobs does not know`},
	} {
		got := FromCommandLine(args.Parse(strings.Fields(c.line), ""))
		if !strings.Contains(got.Problems[c.name], c.want) || got.Values["seed"] != int64(5) || got.Reason != "" {
			t.Errorf("%s: %+v, want %s", c.line, got, c.want)
		}
		if _, both := got.Values[c.name]; both {
			t.Errorf("%s: %s is read too", c.line, c.name)
		}
	}
}

// Everything in the file of --config=FILE is intended, although vLLM does not read it, and a
// problem explains that.
func TestAttachedConfigFile(t *testing.T) {
	got := FromCommandLine(args.Parse(strings.Fields("vllm serve m --config=testdata/off.yaml --max-num-seqs 8"), ""))
	want := map[string]any{"model": "m", "max_num_seqs": int64(8), "enable_prefix_caching": false, "async_scheduling": false}
	if diff := cmp.Diff(want, got.Values); diff != "" || !strings.Contains(got.Problems["config"], "does not read the file of --config=FILE") {
		t.Errorf("%v\n%s", got.Problems, diff)
	}
}
