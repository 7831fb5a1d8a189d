// Package proc reads processes from /proc.
//
//   - [Table] is all processes of a host: it lists them once for all who need that.
//   - [Tree] follows the descendants of one process: it finds them, sums up their
//     memory and CPU time, and forgets those that ended.
//   - [CommandLine] and [Environ] read the arguments and the environment of a process.
//   - [RayWorkerJob] and [RayDriverJobs] read which job of Ray a process belongs to.
//   - [Sockets] maps processes to the sockets they listen on, and sockets to processes.
//   - [StateOf] and [ExitWatcher] report whether and how a process ended.
//
// Every reader takes the path of a procfs, so that a test can pass a fixture tree;
// what it read goes to a parser, which is a pure function.
package proc
