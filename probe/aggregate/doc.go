// Package aggregate turns what was read of the engines over one run into the event's
// groups: `engine`, `omni`, and the engine's figures in the frozen core.
//
// [Aggregate] is pure: it has no lock, no clock and does no I/O, and it does not change
// its [Input]; the same Input always yields the same [Output]. Package probe collects the
// Input under its lock: a record of every endpoint ([Endpoint]), with the counters and
// gauges that package window kept.
//
// Each file fills the group of the event that it is named after. Every figure goes through
// the few functions in metrics.go: they select the metrics of a stage over all endpoints,
// combine them, and if there is no figure they note why at the figure's path. Throughout
// the package, a second result named why is the reason for a missing first one, and "" if
// it is there.
//
// With a vllm-omni pipeline, the engine's groups show one stage, the first whose counters
// moved, and stages are never added up. In the same way, if some servers prefill prompts for
// others, the groups show those that decode. A [view] is the aggregator's look at one stage of
// the servers of one role.
package aggregate
