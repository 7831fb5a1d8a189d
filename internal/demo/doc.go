// Package demo is a simulated vLLM engine: a discrete-time simulation of the scheduler
// (queue, chunked prefill, paged KV cache with prefix caching, preemption, ngram
// speculation) behind a real /metrics endpoint that answers as vLLM 0.32.0 does.
//
// `make demo` runs it on a machine without a GPU, and the end-to-end tests compare an
// event with it: no number on its page is canned, and Totals counts the same run from
// the client's side.
//
// Everything but the wall clock is a function of Config: the same seed gives the same
// tokens, preemptions and latencies. Steps run at fixed deadlines of the wall clock, so
// that a poller sees the gauges move; latencies are those of the simulated clock, which
// a slow machine does not stretch.
//
// A Scenario is another server, another load and other faults, with what a diagnosis should
// find in them: see Scenarios. Each pathology follows from the mechanism (the cap, the token
// budget, the blocks, the cost of a step, the API server's thread, the links of a KV
// connector), no figure is canned. An Engine runs a scenario on the wall clock; Record runs
// it in simulated time, in a fraction of a second, and returns the pages that a poller would
// have seen. What no page shows (GPU, host) is in no scenario.
//
// What a real page looks like (order, help texts, labels, number format) was taken from
// a recording of vLLM 0.32.0; testdata/families.tsv holds its skeleton.
package demo
