package demo

import "math/rand/v2"

// residency is vLLM's KVCacheMetricsCollector (vllm/v1/core/kv_cache_metrics.py): how long
// a sample of the blocks stays in the cache, and when it is used. A nil *residency does
// nothing.
type residency struct {
	rng    *rand.Rand
	now    float64 // simulated time
	blocks map[int]*blockUse
	events []eviction
}

// residencySample is the share of the blocks that is observed: ten times vLLM's default of
// --kv-cache-metrics-sample, for a scenario is short.
const residencySample = 0.1

// maxAccesses is how many accesses to a block vLLM remembers.
const maxAccesses = 4

// blockUse is the history of one block's content.
type blockUse struct {
	born, last float64
	accesses   []float64 // since it was born
}

// eviction is what is known of a block when its content is dropped, in simulated seconds.
type eviction struct {
	lifetime, idle float64
	gaps           []float64
}

func newResidency(seed int64, rank int) *residency {
	return &residency{rng: rand.New(rand.NewPCG(uint64(seed), uint64(rank)|1<<61)), blocks: make(map[int]*blockUse)}
}

// taken ends the history of block i, and may begin a new one.
func (s *residency) taken(i int) {
	if s == nil {
		return
	}
	if b := s.blocks[i]; b != nil {
		ev := eviction{lifetime: s.now - b.born, idle: s.now - b.last}
		for j := 1; j < len(b.accesses); j++ {
			ev.gaps = append(ev.gaps, b.accesses[j]-b.accesses[j-1])
		}
		s.events = append(s.events, ev)
		delete(s.blocks, i)
	}
	if s.rng.Float64() < residencySample {
		s.blocks[i] = &blockUse{born: s.now, last: s.now}
	}
}

// touched records a hit.
func (s *residency) touched(i int) {
	if s == nil {
		return
	}
	b := s.blocks[i]
	if b == nil {
		return
	}
	b.last = s.now
	if len(b.accesses) == maxAccesses {
		b.accesses = b.accesses[1:]
	}
	b.accesses = append(b.accesses, s.now)
}

// drain returns the evictions since the last call.
func (s *residency) drain() []eviction {
	if s == nil {
		return nil
	}
	events := s.events
	s.events = nil
	return events
}

// residencySeries are the metrics of --kv-cache-metrics, one child per engine.
type residencySeries struct{ lifetime, idle, gap *child }

func residencyBounds() []float64 {
	return []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800}
}

func (m *metrics) registerResidency(each perEngine) {
	r := &m.reg
	each(r.addHistogram("vllm:kv_block_lifetime_seconds", "Histogram of KV cache block lifetime from allocation to eviction. Sampled metrics (controlled by --kv-cache-metrics-sample).", residencyBounds()),
		func(e *engineSeries, c *child) { e.lifetime = c })
	each(r.addHistogram("vllm:kv_block_idle_before_evict_seconds", "Histogram of idle time before KV cache block eviction. Sampled metrics (controlled by --kv-cache-metrics-sample).", residencyBounds()),
		func(e *engineSeries, c *child) { e.idle = c })
	each(r.addHistogram("vllm:kv_block_reuse_gap_seconds", "Histogram of time gaps between consecutive KV cache block accesses. Only the most recent accesses are recorded (ring buffer). Sampled metrics (controlled by --kv-cache-metrics-sample).", residencyBounds()),
		func(e *engineSeries, c *child) { e.gap = c })
}

func (m *metrics) recordResidency(rank int, st *stepRecord) {
	s := m.engines[rank]
	for _, ev := range st.evictions {
		s.lifetime.observe(ev.lifetime * m.scale)
		s.idle.observe(ev.idle * m.scale)
		for _, gap := range ev.gaps {
			s.gap.observe(gap * m.scale)
		}
	}
}
