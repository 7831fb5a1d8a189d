// Package sampler groups the readings that vobs takes on a clock while a command
// runs: package gpu reads NVIDIA GPUs through NVML, package host reads load
// averages, pressure, cgroup limits and the resources of the command's processes,
// and package proc finds these processes in /proc.
//
// # Reading and parsing
//
// Every reader of the host takes the path of a /proc, so that a test can pass a
// fixture tree. What it read goes to a parser, which is a pure function. Nothing
// here changes the state of the host or of the command: no signal, no ptrace, no
// write.
//
// # Cost
//
// Observation has a budget (0.2 % of one core for the host's part), so cost decides
// the design. Reading a known process is one pread of /proc/PID/statm through a
// descriptor that stays open: about 1 µs of CPU, and because the descriptor names
// that one process for good, a recycled pid cannot be mistaken for it. Finding new
// processes takes a listing of /proc and one read of /proc/PID/stat for every
// process not seen before (about 4 µs each), so it happens less often; see
// [github.com/vobs/vobs/sampler/proc.Tree]. A read that takes the memory map's lock
// of its process (/proc/PID/cmdline, /proc/PID/environ, /proc/PID/smaps_rollup) can
// hang when that process hangs in a driver, so no such file is read on the clock.
//
// # Off Linux
//
// Everything builds. Without a /proc each figure is null and has a reason.
package sampler
