package demo

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Version is the simulated server's answer at /version: the vLLM release whose page it
// imitates, marked as simulated.
const Version = "0.32.0+simulated"

// DefaultModel is the served model's name unless Config says otherwise.
const DefaultModel = "vobs-demo/simulated-8b"

// draftTokens is num_speculative_tokens of the simulated ngram proposer.
const draftTokens = 3

// maxBatchedTokens is max_num_batched_tokens unless Config says otherwise.
const maxBatchedTokens = 2048

// Config describes one simulated server. Zero fields take their defaults, except for
// Speculative, Startup and Linger, where zero means none: start from DefaultConfig for
// what `make demo` shows.
type Config struct {
	// Addr is where Run listens: "127.0.0.1:0" (the default) takes a free
	// port, "unix:/path" a unix socket.
	Addr string
	// Model is the name in the model_name label.
	Model string
	// Engines is the number of data-parallel ranks behind the endpoint, each
	// with its own scheduler and KV cache (label engine="0", "1", ...).
	Engines int
	// Duration is the wall time of one generation phase: all times of the
	// simulation are scaled to it. With the defaults and 4 s, an engine step takes
	// 10 to 20 ms. Of a scenario it is the wall time of its load and of the idle time
	// after that; the default is the scenario's own.
	Duration time.Duration
	// Startup is the time Run spends "loading the model" before it listens.
	Startup time.Duration
	// Linger is how long Run keeps the endpoint up after the last request.
	Linger time.Duration

	// Requests is the number of requests of one generation phase, over all engines.
	Requests int
	// MaxNumSeqs is how many requests one engine runs at once.
	MaxNumSeqs int
	// PromptTokens is the mean length of a prompt; SharedPrefix is the part of it
	// that the requests of one group (of four) have in common.
	PromptTokens, SharedPrefix int
	// MaxTokens is every request's max_tokens; most stop before it.
	MaxTokens int
	// BlockSize is the number of tokens in a KV block, NumGPUBlocks the number of
	// blocks of one engine (one of them is vLLM's null block and never used).
	BlockSize, NumGPUBlocks int
	// Scenario, if set, is what Generate runs, and its Settings replace those above.
	Scenario *Scenario
	// Seed determines the workload; 0 is a valid seed.
	Seed int64
	// Speculative turns on simulated ngram speculation and its families.
	Speculative bool

	// DevMode serves the configuration at /server_info, as vLLM does with
	// VLLM_SERVER_DEV_MODE=1.
	DevMode bool

	// MemoryFile, if set, holds the bytes in use on the simulated GPU, as decimal
	// text of MemoryWidth bytes, padded with spaces on the left and rewritten in
	// place. With several engines it is engine 0's GPU.
	MemoryFile string
	// Log receives a few lines like those of a server's log.
	Log io.Writer
	// Ready, if set, is called by Run once the endpoint listens.
	Ready func(net.Addr)
	// Done, if set, is called by Run when it has lingered. Then Run lingers once more.
	Done func() error
}

// DefaultConfig is what `make demo` shows, in about six seconds: a queue builds up, KV
// usage rises above 0.9 and falls to 0, some requests are preempted, about half of the
// prompt tokens are prefix hits.
func DefaultConfig() Config {
	c := Config{
		Startup:     300 * time.Millisecond,
		Linger:      1500 * time.Millisecond,
		Speculative: true,
	}
	c.fill()
	return c
}

// fill sets zero fields to their defaults.
func (c *Config) fill() {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Model == "" {
		c.Model = DefaultModel
	}
	if s := c.Scenario; s != nil {
		if c.Duration == 0 {
			c.Duration = seconds(s.length())
		}
		c.Scenario = s.filled()
		c.useScenario()
	}
	if c.Duration == 0 {
		c.Duration = 4 * time.Second
	}
	def(&c.Engines, 1)
	def(&c.Requests, 110*c.Engines)
	def(&c.MaxNumSeqs, 40)
	def(&c.PromptTokens, 1024)
	if c.SharedPrefix == 0 {
		c.SharedPrefix = c.PromptTokens / 2
	}
	def(&c.MaxTokens, 192)
	def(&c.BlockSize, 16)
	def(&c.NumGPUBlocks, 1537)
}

// useScenario copies the scenario's settings to the fields that the page shows.
func (c *Config) useScenario() {
	set := &c.Scenario.Settings
	c.Engines, c.MaxNumSeqs, c.BlockSize, c.NumGPUBlocks = set.Engines, set.MaxNumSeqs, set.BlockSize, set.NumGPUBlocks
	c.Speculative = set.NumSpeculativeTokens > 0
	c.PromptTokens, c.SharedPrefix, c.MaxTokens = c.Scenario.Load.longest()
}

// settings returns what the engine was started with.
func (c *Config) settings() *Settings {
	if c.Scenario != nil {
		return &c.Scenario.Settings
	}
	set := &Settings{
		MaxNumSeqs: c.MaxNumSeqs, MaxNumBatchedTokens: maxBatchedTokens, BlockSize: c.BlockSize, NumGPUBlocks: c.NumGPUBlocks,
		Engines: c.Engines, Cost: phaseCost,
	}
	if c.Speculative {
		set.NumSpeculativeTokens, set.Acceptance = draftTokens, acceptProbability
	}
	return set
}

// maxPrompt is the longest prompt that the workload can draw.
func (c *Config) maxPrompt() int { return c.SharedPrefix + (c.PromptTokens-c.SharedPrefix)*3/2 }

// maxModelLen is the context length that /v1/models reports: 4096, or more if the
// requests are longer.
func (c *Config) maxModelLen() int {
	n := 4096
	for n < c.maxPrompt()+c.MaxTokens {
		n *= 2
	}
	return n
}

// check refuses a configuration with which the simulation would not end.
func (c *Config) check() error {
	if c.Scenario != nil {
		if err := c.Scenario.checkLoad(); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		v    int
	}{
		{"Engines", c.Engines}, {"Requests", c.Requests}, {"MaxNumSeqs", c.MaxNumSeqs}, {"PromptTokens", c.PromptTokens},
		{"MaxTokens", c.MaxTokens}, {"BlockSize", c.BlockSize}, {"NumGPUBlocks", c.NumGPUBlocks},
	} {
		if f.v < 1 {
			return fmt.Errorf("demo: %s is %d, want 1 or more", f.name, f.v)
		}
	}
	if c.SharedPrefix < 0 || c.SharedPrefix >= c.PromptTokens {
		return fmt.Errorf("demo: SharedPrefix is %d, want 0 to PromptTokens-1 (%d)", c.SharedPrefix, c.PromptTokens-1)
	}
	if limit := c.settings().MaxNumBatchedTokens; c.MaxNumSeqs > limit {
		return fmt.Errorf("demo: MaxNumSeqs is %d, want %d at most", c.MaxNumSeqs, limit)
	}
	if c.Duration < 0 || c.Startup < 0 || c.Linger < 0 {
		return errors.New("negative duration")
	}
	if n := c.settings().NumSpeculativeTokens; n > maxDraftTokens {
		return fmt.Errorf("demo: NumSpeculativeTokens is %d, want %d at most", n, maxDraftTokens)
	}
	need := (c.maxPrompt() + c.MaxTokens + max(draftTokens, c.settings().NumSpeculativeTokens) + c.BlockSize - 1) / c.BlockSize
	if need > c.NumGPUBlocks-1 {
		return fmt.Errorf("demo: NumGPUBlocks is %d, but the longest request needs %d and the null block", c.NumGPUBlocks, need)
	}
	return nil
}
