// Package sampler groups the readings that vobs takes periodically while a command runs:
// package gpu reads NVIDIA GPUs through NVML, package host reads load averages, pressure,
// cgroup limits and the resources of the command's processes, and package proc finds
// these processes in /proc.
//
// # Reading and parsing
//
// Every reader of the host takes the path of a /proc, so that a test can pass a fixture
// tree. What it read goes to a parser, which is a pure function. Nothing here changes the
// state of the host or of the command: no signals, no ptrace, no writes.
//
// # Cost
//
// Observation has a budget (0.2 % of one core for the host's part), so cost determines
// the design. Reading a known process takes about 1 µs of CPU time. Finding new processes
// takes a listing of /proc and one read of /proc/PID/stat for every process not seen
// before (about 4 µs each), so it happens less often; see
// [github.com/vobs/vobs/sampler/proc.Tree]. A read that takes the lock of the process's
// memory map (/proc/PID/cmdline, /proc/PID/environ, /proc/PID/smaps_rollup) can hang if
// that process hangs in a driver, so no such file is read periodically.
//
// # Other systems
//
// Everything builds outside Linux. Without a /proc each figure is null and has a reason.
package sampler
