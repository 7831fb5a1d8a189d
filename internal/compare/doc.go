// Package compare decides whether one set of runs is better than another.
//
// Events become runs ([NewRun]: the values of the metrics, and what must be alike for
// a comparison to mean anything), and two sets of runs become a [Result] ([Compare]):
// the verdict, what differs between the sides, and for each metric the change with its
// interval. The replicates are whole runs: requests of several runs are never pooled.
//
// A metric that a run determines, such as the peak of GPU memory, is decided by its
// tolerance alone. A noisy one is a regression only if a rank test finds it significant,
// after Holm's correction over all gated metrics, and the change exceeds both tolerances.
// Runs that were not interleaved share whatever drifts between the two blocks, which no
// test on the runs alone can see: for noisy metrics they are inconclusive.
//
// The package does no I/O.
package compare
