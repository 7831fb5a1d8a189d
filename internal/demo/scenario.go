package demo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

// Scenario is a simulated server, the load on it, what goes wrong, and what a diagnosis of
// it should find. Everything on its page follows from the first three.
type Scenario struct {
	Name string
	// Doc is one line about it.
	Doc string
	Settings
	Load   Load
	Faults Faults
	Truth  Truth
}

// Truth is what is known of a scenario because it was built so.
type Truth struct {
	// Binding is the binding resource, AlsoRight what else may be said if only the page is
	// known.
	Binding   schema.BindingCode
	AlsoRight []schema.BindingCode
	// Findings are those that must be found. Permitted ones are true as well, but are not
	// what the scenario is about: no others may be found.
	Findings, Permitted []schema.FindingCode
	// Why is the reason, in one line.
	Why string
}

// Short names for the table.
type (
	findings = []schema.FindingCode
	bindings = []schema.BindingCode
	kinds    = []RequestKind
)

// chat is the usual request: a system prompt that four groups of users share, and a
// question.
var chat = RequestKind{Weight: 1, Prompt: 600, Shared: 304, Groups: 4, Output: 200}

// Scenarios returns all scenarios, as new copies.
func Scenarios() []Scenario {
	return []Scenario{
		{
			Name: "healthy", Doc: "a moderate load on a server with room for more",
			Settings: Settings{MaxNumSeqs: 40},
			Load:     Load{Seconds: 90, Rate: 8, Kinds: kinds{chat}},
			Truth: Truth{
				Binding: schema.BindingClient, Permitted: findings{schema.FindingClientLimited},
				Why: "nothing waits, and neither the cap nor the KV cache is nearly reached: the clients do not send more",
			},
		},
		{
			Name: "low-traffic", Doc: "a request now and then",
			Load: Load{Seconds: 90, Rate: 0.5, Kinds: kinds{chat}},
			Truth: Truth{
				Binding: schema.BindingClient, Findings: findings{schema.FindingClientLimited},
				Why: "the engine is idle most of the time",
			},
		},
		{
			Name: "cap", Doc: "max_num_seqs 8 under 32 clients: short steps, bound by the weights",
			Settings: Settings{MaxNumSeqs: 8},
			Load:     Load{Seconds: 90, Clients: 32, Ramp: 40, Kinds: kinds{chat}},
			Truth: Truth{
				Binding: schema.BindingConcurrencyCap, AlsoRight: bindings{schema.BindingCapOrCompute},
				Findings: findings{schema.FindingConcurrencyCap}, Permitted: findings{schema.FindingQueueSaturation},
				Why: "requests queue at the cap, while a step of 16 sequences would take hardly longer than one of 8",
			},
		},
		{
			Name: "compute", Doc: "256 sequences on a small GPU under 320 clients: steps bound by compute",
			Settings: Settings{MaxNumSeqs: 256, NumGPUBlocks: 16001, Cost: dense8BSmall},
			Load:     Load{Seconds: 120, Clients: 320, Ramp: 80, Kinds: kinds{{Weight: 1, Prompt: 160, Groups: 1, Output: 240}}},
			Truth: Truth{
				Binding: schema.BindingCompute, AlsoRight: bindings{schema.BindingCapOrCompute},
				Permitted: findings{schema.FindingQueueSaturation},
				Why:       "requests queue at the cap, but from 120 sequences on each more makes the step longer: a higher cap does not help",
			},
		},
		{
			Name: "thrashing", Doc: "a KV cache of 9600 tokens under 24 clients with long outputs: preemptions",
			Settings: Settings{NumGPUBlocks: 601},
			Load:     Load{Seconds: 90, Clients: 24, Kinds: kinds{{Weight: 1, Prompt: 300, Groups: 1, Output: 500}}},
			Truth: Truth{
				Binding:  schema.BindingKVCache,
				Findings: findings{schema.FindingKVCacheThrashing}, Permitted: findings{schema.FindingQueueSaturation},
				Why: "far below the cap, requests are preempted for want of blocks, and computed again",
			},
		},
		{
			Name: "token-budget", Doc: "max_num_batched_tokens 512 and long prompts: every step is full",
			Settings: Settings{MaxNumBatchedTokens: 512, NumGPUBlocks: 12001, Cost: sparse30B},
			Load:     Load{Seconds: 75, Rate: 11, Kinds: kinds{{Weight: 1, Prompt: 4000, Groups: 1, Output: 64}}},
			Truth: Truth{
				Binding:  schema.BindingTokenBudget,
				Findings: findings{schema.FindingTokenBudgetBound}, Permitted: findings{schema.FindingQueueSaturation},
				Why: "prompts come faster than 512 tokens a step can compute, far below the cap and with free blocks; a step of 1024 would hardly take longer",
			},
		},
		{
			Name: "long-prompts", Doc: "prompts of 6000 tokens among short ones: their steps hold up the others",
			Settings: Settings{MaxNumBatchedTokens: 16384, NumGPUBlocks: 24001},
			Load:     Load{Seconds: 90, Rate: 3.4, Kinds: kinds{{Weight: 0.4, Prompt: 200, Groups: 1, Output: 900}, {Weight: 0.6, Prompt: 6000, Groups: 1, Output: 100}}},
			Truth: Truth{
				Binding:  schema.BindingClient,
				Findings: findings{schema.FindingPrefillDecodeInterference}, Permitted: findings{schema.FindingClientLimited},
				Why: "the step that computes a whole long prompt takes many times the others: each request that decodes meanwhile waits for it",
			},
		},
		{
			Name: "stalled", Doc: "for 40 s the scheduler schedules nothing, while requests wait",
			Load:   Load{Seconds: 120, Rate: 2, Kinds: kinds{chat}},
			Faults: Faults{StallFrom: 45, StallUntil: 85},
			Truth: Truth{
				Binding:  schema.BindingStalled,
				Findings: findings{schema.FindingAdmissionStalled}, Permitted: findings{schema.FindingQueueSaturation},
				Why: "requests wait for 40 s, with free blocks and far below the cap, and no counter moves",
			},
		},
		{
			Name: "shared-prefix", Doc: "prompts that share most of their tokens, found in the prefix cache",
			Settings: Settings{MaxNumBatchedTokens: 512, KVCacheMetrics: true},
			Load:     Load{Seconds: 90, Rate: 6, Kinds: kinds{{Weight: 1, Prompt: 1600, Shared: 1280, Groups: 8, Output: 160}}},
			Truth: Truth{
				Binding: schema.BindingClient, Permitted: findings{schema.FindingClientLimited},
				Why: "after the first request of each group its prefix is always found",
			},
		},
		{
			Name: "no-shared-prefix", Doc: "prompts that have nothing in common: a hit rate of 0, which is right",
			Settings: Settings{MaxNumBatchedTokens: 512, KVCacheMetrics: true},
			Load:     Load{Seconds: 90, Rate: 4, Kinds: kinds{{Weight: 1, Prompt: 1600, Groups: 1, Output: 160}}},
			Truth: Truth{
				Binding: schema.BindingClient, Permitted: findings{schema.FindingClientLimited},
				Why: "there is nothing to find in the prefix cache",
			},
		},
		{
			Name: "prefix-cache-off", Doc: "prompts that share most of their tokens, with prefix caching switched off",
			Settings: Settings{MaxNumBatchedTokens: 512, NoPrefixCaching: true},
			Load:     Load{Seconds: 90, Rate: 4, Kinds: kinds{{Weight: 1, Prompt: 1600, Shared: 1280, Groups: 8, Output: 160}}},
			Truth: Truth{
				Binding:  schema.BindingClient,
				Findings: findings{schema.FindingPrefixCacheIneffective}, Permitted: findings{schema.FindingClientLimited},
				Why: "four fifths of the prompt tokens are computed again and again; only who knows the load's sharing can tell",
			},
		},
		{
			Name: "cache-too-small", Doc: "prompts that share most of their tokens in many groups: evicted before they come again",
			Settings: Settings{MaxNumBatchedTokens: 512, NumGPUBlocks: 4001, KVCacheMetrics: true},
			Load:     Load{Seconds: 90, Rate: 5, Kinds: kinds{{Weight: 1, Prompt: 1600, Shared: 1280, Groups: 130, Output: 160}}},
			Truth: Truth{
				Binding:  schema.BindingClient,
				Findings: findings{schema.FindingPrefixCacheIneffective}, Permitted: findings{schema.FindingClientLimited},
				Why: "the groups' prefixes are 166400 tokens, the KV cache has 64000; only who knows the load's sharing can tell",
			},
		},
		{
			Name: "leak", Doc: "one request in eight never gives its KV blocks back; then the server is idle",
			Load:   Load{Seconds: 60, Idle: 75, Rate: 3, Kinds: kinds{chat}},
			Faults: Faults{LeakedRequests: 0.125},
			Truth: Truth{
				Binding:  schema.BindingClient,
				Findings: findings{schema.FindingKVNotReleased}, Permitted: findings{schema.FindingClientLimited},
				Why: "the KV cache stays in use although nothing runs or waits",
			},
		},
		{
			Name: "host-memory-leak", Doc: "the API server's memory grows with each request",
			Load:   Load{Seconds: 660, Rate: 2, Kinds: kinds{chat}},
			Faults: Faults{RequestLeak: 1 << 20},
			Truth: Truth{
				Binding:  schema.BindingClient,
				Findings: findings{schema.FindingHostMemoryLeak}, Permitted: findings{schema.FindingClientLimited},
				Why: "1 MiB a request, 2 MiB/s for 11 minutes, and none of it comes back",
			},
		},
		{
			Name: "slow-frontend", Doc: "an API server that tokenizes and detokenizes slowly: its one thread is busy all the time",
			Settings: Settings{Frontend: Frontend{Request: 2e-3, PromptToken: 60e-6, Output: 500e-6}},
			Load:     Load{Seconds: 90, Clients: 48, Kinds: kinds{chat}},
			Truth: Truth{
				Binding:  schema.BindingFrontend,
				Findings: findings{schema.FindingFrontendBound},
				Why:      "requests spend most of their time to the first token outside of the engine, which waits for the API server's thread",
			},
		},
		{
			Name: "imbalance", Doc: "two engines, one of which gets nearly all requests",
			Settings: Settings{Engines: 2, MaxNumSeqs: 16},
			Load:     Load{Seconds: 90, Clients: 40, Kinds: kinds{chat}, Shares: []float64{0.95, 0.05}},
			Truth: Truth{
				Binding: schema.BindingConcurrencyCap, AlsoRight: bindings{schema.BindingCapOrCompute, schema.BindingUnknown},
				Findings: findings{schema.FindingReplicaImbalance}, Permitted: findings{schema.FindingConcurrencyCap, schema.FindingQueueSaturation},
				Why: "requests queue at one engine's cap while the other is nearly idle",
			},
		},
		{
			Name: "restart", Doc: "the server dies in the middle, and serves again after 6 s",
			Load:   Load{Seconds: 90, Rate: 6, Kinds: kinds{chat}},
			Faults: Faults{RestartAt: 48.3, RestartTime: 6},
			Truth: Truth{
				Binding:  schema.BindingClient,
				Findings: findings{schema.FindingEngineRestarts}, Permitted: findings{schema.FindingClientLimited},
				Why: "the counters begin again from 0, with a later start time of the process",
			},
		},
		{
			Name: "errors", Doc: "the engine ends one request in twelve with an error",
			Load:   Load{Seconds: 90, Rate: 6, Kinds: kinds{chat}},
			Faults: Faults{FailedRequests: 1. / 12},
			Truth: Truth{
				Binding:  schema.BindingClient,
				Findings: findings{schema.FindingEngineErrors}, Permitted: findings{schema.FindingClientLimited},
				Why: "finish reason error, and status 5xx",
			},
		},
		{
			Name: "aborts", Doc: "the engine aborts one request in ten, and the clients of a fifth of the others hang up",
			Load:   Load{Seconds: 90, Rate: 6, Kinds: kinds{chat}},
			Faults: Faults{AbortedRequests: 0.1, Impatient: 0.5, Patience: 3},
			Truth: Truth{
				Binding:  schema.BindingClient,
				Findings: findings{schema.FindingAbortedRequests}, Permitted: findings{schema.FindingClientLimited},
				Why: "finish reason abort; requests whose client hangs up have a time to the first token, but never finish",
			},
		},
		{
			Name: "speculative-waste", Doc: "drafts of up to 5 tokens, of which few are accepted",
			Settings: Settings{NumSpeculativeTokens: 5, Acceptance: 0.12, Cost: dense8BSmall},
			Load:     Load{Seconds: 90, Clients: 80, Think: 1, Kinds: kinds{{Weight: 1, Prompt: 80, Groups: 1, Output: 200}}},
			Truth: Truth{
				Binding:  schema.BindingClient,
				Findings: findings{schema.FindingSpeculativeWaste}, Permitted: findings{schema.FindingClientLimited},
				Why: "of a draft's three tokens on average 0.13 is accepted; they make the steps bound by compute, and longer",
			},
		},
		{
			Name: "offload", Doc: "long shared prefixes that come back from host memory over a slow link",
			Settings: Settings{MaxNumBatchedTokens: 512, NumGPUBlocks: 4001, Offload: &Offload{Blocks: 60000, BytesPerSecond: 0.6e9}},
			Load:     Load{Seconds: 90, Clients: 14, Kinds: kinds{{Weight: 1, Prompt: 2800, Shared: 2400, Groups: 60, Output: 100}}},
			Truth: Truth{
				Binding:  schema.BindingOffload,
				Findings: findings{schema.FindingOffloadBound}, Permitted: findings{schema.FindingQueueSaturation},
				Why: "the engine could compute a prefix faster than the link delivers it: requests wait, deferred, for their loads",
			},
		},
		{
			Name: "kv-transfer-failures", Doc: "a decode server of which one KV transfer in six fails after 4 s",
			Settings: Settings{MaxNumBatchedTokens: 512, Transfer: &Transfer{Base: 5e-3, BytesPerSecond: 8e9, FailedShare: 1. / 6, Timeout: 4}},
			Load:     Load{Seconds: 90, Rate: 6, Kinds: kinds{{Weight: 1, Prompt: 1600, Groups: 1, Output: 160}}},
			Truth: Truth{
				Binding:  schema.BindingKVTransfer,
				Findings: findings{schema.FindingKVTransferFailures}, Permitted: findings{schema.FindingQueueSaturation},
				Why: "what waits is deferred, for transfers that fail; then the prompt is computed here",
			},
		},
	}
}

// FindScenario returns the scenario with the given name.
func FindScenario(name string) (*Scenario, error) {
	all := Scenarios()
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return nil, fmt.Errorf("unknown scenario %q: use one of %s", name, strings.Join(names, ", "))
}

// length returns the simulated seconds of the load, and of the idle time after it.
func (s *Scenario) length() float64 { return s.Load.Seconds + s.Load.Idle }

// share returns an engine's share of the load.
func (s *Scenario) share(rank int) float64 {
	if s.Load.Shares == nil {
		return 1 / float64(s.Engines)
	}
	return s.Load.Shares[rank]
}

// filled returns a copy whose zero settings have their defaults: an 8B model on an H100
// with a KV cache of 128000 tokens, and vLLM's own limits.
func (s *Scenario) filled() *Scenario {
	f := *s
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&f.MaxNumSeqs, 256)
	def(&f.MaxNumBatchedTokens, 8192)
	def(&f.BlockSize, 16)
	def(&f.NumGPUBlocks, 8001)
	def(&f.Engines, 1)
	if f.Cost == (Cost{}) {
		f.Cost = dense8B
	}
	if f.Frontend == (Frontend{}) {
		f.Frontend = usualFrontend
	}
	f.Load.Kinds = slices.Clone(f.Load.Kinds)
	return &f
}

// checkLoad refuses a load with which the simulation would not work.
func (s *Scenario) checkLoad() error {
	switch l := &s.Load; {
	case l.Seconds <= 0, l.Idle < 0, l.Rate < 0, l.Clients < 0, l.Rate > 0 == (l.Clients > 0):
		return fmt.Errorf("demo: scenario %q: want Seconds, and either Rate or Clients", s.Name)
	case len(l.Kinds) == 0:
		return fmt.Errorf("demo: scenario %q: no kinds of requests", s.Name)
	case l.Shares != nil && len(l.Shares) != s.Engines:
		return fmt.Errorf("demo: scenario %q: %d shares for %d engines", s.Name, len(l.Shares), s.Engines)
	}
	return nil
}
