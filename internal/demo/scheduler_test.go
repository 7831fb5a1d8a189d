package demo

import (
	"math"
	"reflect"
	"testing"
)

// simulate runs engine 0 of cfg without a clock and passes each step to see.
func simulate(t *testing.T, cfg Config, see func(*core, *stepRecord)) *core {
	t.Helper()
	cfg.fill()
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	e := newCore(&cfg, 0)
	rs := phaseRequests(&cfg, 0)[0]
	for _, r := range rs {
		r.scale = 1
	}
	e.submit(rs)
	for steps := 0; !e.idle(); steps++ {
		if steps > 1_000_000 {
			t.Fatalf("does not end: %d running, %d waiting, %d to come", len(e.running), len(e.waiting), len(e.incoming))
		}
		e.begin()
		see(e, e.end())
	}
	return e
}

// The block pool accounts for every block after every step, whatever the size of the
// pool, and in the end all blocks are free.
func TestPoolInvariants(t *testing.T) {
	for _, cfg := range []Config{
		{}, {Speculative: true}, {Seed: 7, Speculative: true, NumGPUBlocks: 120}, {Seed: 8, NumGPUBlocks: 110, Requests: 40},
		{Seed: 9, BlockSize: 1, PromptTokens: 20, MaxTokens: 8, NumGPUBlocks: 60, Speculative: true},
		{Seed: 10, BlockSize: 784, Speculative: true}, {Seed: 11, MaxNumSeqs: 1, Requests: 10},
		{Seed: 12, PromptTokens: 5000, Requests: 20, NumGPUBlocks: 1000, Speculative: true}, {PromptTokens: 1, MaxTokens: 1},
	} {
		e := simulate(t, cfg, func(e *core, st *stepRecord) {
			held, refs := make(map[int]bool), 0
			for _, r := range e.running {
				for _, b := range r.blocks {
					held[b] = true
					refs++
				}
				if have := len(r.blocks) * e.set.BlockSize; have < r.computed {
					t.Fatalf("request %d holds %d tokens of blocks for %d computed", r.id, have, r.computed)
				}
			}
			if n := len(e.pool.blocks) - 1 - len(held); n != e.pool.free {
				t.Fatalf("%d blocks free, %d by the requests' count", e.pool.free, n)
			}
			total, listed := 0, 0
			for i, b := range e.pool.blocks {
				total += b.refs
				if b.keyed && e.pool.index[b.key] != i {
					t.Fatalf("block %d has a key that the index knows otherwise", i)
				}
			}
			for i := e.pool.blocks[0].next; i != 0; i = e.pool.blocks[i].next {
				listed++
			}
			if total != refs || listed != e.pool.free {
				t.Fatalf("%d references for %d, %d blocks listed for %d free", total, refs, listed, e.pool.free)
			}
			if want := float64(len(held)) / float64(len(e.pool.blocks)-1); math.Abs(st.usage-want) > 1e-12 {
				t.Fatalf("usage %v, want %v", st.usage, want)
			}
			if st.running > e.set.MaxNumSeqs || st.usage > 1 {
				t.Fatalf("%d running, usage %v", st.running, st.usage)
			}
		})
		for _, r := range e.all {
			if !r.done || r.output != r.target || r.cached%e.set.BlockSize != 0 || r.cached >= r.prompt {
				t.Fatalf("request %+v", r)
			}
			if !(r.arrival < r.queued && r.queued <= r.scheduled && r.scheduled < r.first && r.first <= r.last && r.last < r.finished) {
				t.Fatalf("request %d: out of order: %+v", r.id, r)
			}
		}
		if e.pool.usage() != 0 {
			t.Errorf("usage %v at the end", e.pool.usage())
		}
	}
}

// With the defaults, for many seeds, the demo shows what it is meant to show.
func TestDefaultsShowEverything(t *testing.T) {
	for seed := range int64(20) {
		cfg := DefaultConfig()
		cfg.Seed = seed
		waiting, running, preemptions, queries, hits, steps := 0, 0, 0, 0, 0, 0
		usage, above, falling := 0.0, 0, 0.0
		e := simulate(t, cfg, func(e *core, st *stepRecord) {
			steps++
			waiting, running, usage = max(waiting, st.waiting), max(running, st.running), max(usage, st.usage)
			preemptions, queries, hits = preemptions+st.preemptions, queries+st.queries, hits+st.hits
			if st.usage > 0.8 {
				above++
			}
			falling = st.usage
		})
		rate := float64(hits) / float64(queries)
		step := cfg.Duration.Seconds() / float64(steps)
		if waiting < 10 || running < 30 || usage < 0.9 || preemptions < 2 || preemptions > 60 || rate < 0.3 || rate > 0.6 || falling != 0 {
			t.Errorf("seed %d: waiting %d, running %d, usage %.2f, %d preemptions, hits %.2f", seed, waiting, running, usage, preemptions, rate)
		}
		// Polls at 500 ms must see the high plateau.
		if seconds := float64(above) * step; seconds < 1.5 {
			t.Errorf("seed %d: usage is above 0.8 for %.2f s only", seed, seconds)
		}
		if step < 0.009 || step > 0.020 || e.now < 3.5 || e.now > 5 {
			t.Errorf("seed %d: %.1f ms a step, %.2f simulated seconds", seed, 1000*step, e.now)
		}
	}
}

func TestSeedDetermines(t *testing.T) {
	run := func(seed int64) []stepRecord {
		var all []stepRecord
		simulate(t, Config{Seed: seed, Speculative: true}, func(_ *core, st *stepRecord) {
			one := *st
			one.firstTokens, one.finished = nil, nil
			all = append(all, one)
		})
		return all
	}
	a, b, c := run(1), run(1), run(2)
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed gave two runs")
	}
	if reflect.DeepEqual(a, c) {
		t.Error("two seeds gave the same run")
	}
}

func TestConfigCheck(t *testing.T) {
	for _, cfg := range []Config{
		{Engines: -1}, {Requests: -1}, {MaxNumSeqs: 5000}, {PromptTokens: 10, SharedPrefix: 10}, {SharedPrefix: -1},
		{NumGPUBlocks: 90}, {Duration: -1}, {BlockSize: -16}, {NumGPUBlocks: 1},
	} {
		if e, err := New(cfg); err == nil {
			e.Close()
			t.Errorf("%+v: no error", cfg)
		}
	}
}
