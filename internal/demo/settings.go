package demo

import "math"

// maxDraftTokens is the most tokens that a draft may have.
const maxDraftTokens = 8

// never is a time that does not come.
var never = math.Inf(1)

// Settings is what a simulated server was started with, and the hardware that it runs on.
type Settings struct {
	// MaxNumSeqs, MaxNumBatchedTokens and NumGPUBlocks are those of one engine.
	// NumGPUBlocks includes the null block.
	MaxNumSeqs, MaxNumBatchedTokens, BlockSize, NumGPUBlocks int
	// Engines is the number of data-parallel ranks.
	Engines int
	// NoPrefixCaching is --no-enable-prefix-caching.
	NoPrefixCaching bool
	// KVCacheMetrics is --kv-cache-metrics: how long blocks stay in the cache.
	KVCacheMetrics bool
	// NumSpeculativeTokens is the longest draft of the ngram proposer; 0 is no speculation.
	// Acceptance is the probability that a draft token is accepted if those before it were.
	NumSpeculativeTokens int
	Acceptance           float64
	// Offload is KV offloading to host memory; none if nil.
	Offload *Offload
	// Transfer is the transfer of prompts' KV from a prefill server; none if nil.
	Transfer *Transfer

	Cost     Cost
	Frontend Frontend
}

// connector reports whether the engine has a KV connector.
func (s *Settings) connector() bool { return s.Offload != nil || s.Transfer != nil }

// Cost is the model of an engine step's time, in seconds: a step waits for the slower of
// reading the weights from memory and computing its tokens. So few tokens in a step are
// almost free (the step is bound by memory bandwidth), and many cost in proportion (it is
// bound by compute).
type Cost struct {
	Launch      float64 // each step: scheduling, kernel launches
	Sequence    float64 // each sequence of a step: sampling, input preparation
	Weights     float64 // reading the weights once
	Token       float64 // computing one token
	ContextRead float64 // reading the KV of one token of context
}

// step returns the time of a step of so many sequences and tokens, with so many tokens of
// context before them.
func (c *Cost) step(sequences, tokens, context int) float64 {
	return c.Launch + c.Sequence*float64(sequences) + max(c.Weights, c.Token*float64(tokens)) + c.ContextRead*float64(context)
}

var (
	// phaseCost is that of `make demo`: steps take 10 to 20 ms, like those of an 8B model
	// on one GPU.
	phaseCost = Cost{Launch: 10e-3, Sequence: 50e-6, Token: 4e-6}
	// dense8B is about an 8B model in 16 bits on an H100: 16 GB of weights at 3.2 TB/s, 16
	// GFLOP a token at 640 TFLOP/s, 128 KiB of KV a token. From 200 tokens on, a step is
	// bound by compute.
	dense8B = Cost{Launch: 2e-3, Sequence: 10e-6, Weights: 5e-3, Token: 25e-6, ContextRead: 0.04e-6}
	// dense8BSmall is the same on an A10G: 600 GB/s, 70 TFLOP/s. From 120 tokens on, a step
	// is bound by compute.
	dense8BSmall = Cost{Launch: 2e-3, Sequence: 20e-6, Weights: 27e-3, Token: 230e-6, ContextRead: 0.2e-6}
	// sparse30B is about a mixture of experts of 30B parameters, 3B of them active, on an
	// H100: from 900 tokens on, a step is bound by compute.
	sparse30B = Cost{Launch: 3e-3, Sequence: 10e-6, Weights: 9e-3, Token: 10e-6, ContextRead: 0.03e-6}
)
