// Package truth tests whether the figures that package probe reports are true. It
// simulates vLLM engines whose timeline is known exactly, serves their /metrics pages, and
// compares the reader's figures with what really happened.
//
//   - engine.go: one engine: continuous batching, KV blocks, preemption, as in vLLM's V1
//     scheduler.
//   - client.go: the load: open, closed and in bursts, with requests that are given up.
//   - simulation.go: engines and client on one virtual timeline, with restarts.
//   - counters.go, page.go: what vLLM counts, and when; the page as vLLM 0.32.0 serves it.
//   - server.go: the HTTP server, with answers that come late.
//   - trace.go, facts.go: what happened: exact means, peaks, quantiles and totals.
//   - scenario.go: random runs.
//   - compare.go, table.go: the reader's figures against the facts.
//
// The simulator shares no code with the reader, nor with package demo.
package truth
