// Package vllm has facts about vLLM that hold in all of its parts: addresses, paths,
// environment variables and process titles. Its subpackages have what it knows of
// metrics, command lines, configuration and the plugin. When a new version of vLLM
// comes out, this folder is the place to look at.
package vllm

// Defaults of `vllm serve` and `vllm bench serve`
// (vllm/entrypoints/openai/cli_args.py, vllm/benchmarks/serve.py).
const (
	DefaultPort = "8000"
	MetricsPath = "/metrics"
)

// MaxNumSeqs is the largest --max-num-seqs that is taken for real.
const MaxNumSeqs = 1 << 20
