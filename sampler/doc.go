// Package sampler takes readings on a clock while a command runs: of the GPUs
// through NVML (the gpu*.go files), and of the host: load
// averages, pressure, the cgroup's limits and the command's process tree.
//
// # Reading and parsing
//
// Every reader of the host takes the path of a /proc, so that a test can give it
// a fixture tree; what it has read goes to a parser that is a pure function.
// Nothing here changes the state of the host or of the command: no signal, no
// ptrace, no write.
//
// # What is cheap and what is not
//
// Observation has a budget (0.2 % of one core for the host's part), so the costs
// decide the design. A known process is one pread of /proc/PID/statm through a
// descriptor that stays open (about 1 µs of CPU; the descriptor names that one
// process for good, so a reused pid cannot be mistaken for it). Finding new
// processes costs a listing of /proc and one read of /proc/PID/stat for every
// process not seen before (about 4 µs each), so it happens more rarely; see
// [Tree]. What takes the memory map's lock of the process that is read
// (/proc/PID/cmdline, /proc/PID/environ, /proc/PID/smaps_rollup) can hang when
// that process hangs in a driver, so it is never read on the clock.
//
// # Off Linux
//
// All of it builds; without a /proc each figure is null and says why.
package sampler
