// Package host reads the host while a command runs: load averages, pressure stall
// information, CPU and memory limits of the cgroup, and the CPU time and memory of
// the command's processes.
//
// A [Sampler] reads on a clock of its own, which a [Governor] sets so that the host's
// part takes at most 0.2 % of one core. [Sampler.Leftovers] lists the processes that
// outlive the command. [ReadLoadAvg] reads the load averages once, by the rules of the
// event's frozen core.
package host
