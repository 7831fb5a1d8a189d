// Package observe runs one command and writes one event about it.
//
// Nothing here may fail, slow or change the command. A part that does not work leaves a
// reason in the event; so does a part that panics.
//
// # Timeline
//
// [Run] goes through these steps, in this order:
//
//  1. Prepare. The load averages are read while the samplers of the host and the GPUs
//     start (NVML initializes in the background). The prober gets the addresses of
//     --metrics-url and of the command line. The directories of --multiproc and
//     --instrument are made. If the command line starts a server, its port is checked: a
//     server that answers there already is never read.
//  2. With --strict, NVML and every --metrics-url must respond within 10 s.
//  3. The prober scrapes a baseline.
//  4. The command starts. While it runs, discovery looks for servers among its
//     processes, coreMonitor waits for the end of engine cores, and partialWriter writes
//     FILE.partial. A shutdown signal is passed on after one more scrape, at most 250 ms
//     later.
//  5. The command ends.
//  6. Collect. The load averages, the last GPU readings, the stop of discovery and coreMonitor
//     followed by the scrapes until the engine has settled, and the wait for descendants run
//     side by side, for at most 2 s. INT or TERM ends the last two.
//  7. Leftovers are listed, the host sampler stops, the event is assembled and delivered.
//  8. Leftovers are killed (--kill-leftovers), the event is uploaded (--wandb), and the
//     temporary directories are removed: this run's if no process of the command lives,
//     those of earlier runs if no process uses them.
//
// If the command cannot be started, the samplers and the prober stop right away, and the
// event has the reason (run.start_error).
//
// # Goroutines
//
// Run itself prepares, waits for the command, collects and delivers. Beside it, while the
// command runs:
//
//   - discovery: one look at the process tree every second, and one at the engines' memory every
//     five;
//   - coreMonitor: a goroutine for each engine core and each worker, blocked on its pidfd;
//   - partialWriter: writes every minute and upon the first shutdown signal;
//   - the signal loop of package child, which calls beforeShutdown;
//   - the sampler's goroutine of package gpu, which calls discovery.ours.
//
// The first three have ended before the event is assembled, unless they hang in a file of
// /proc: then they are left behind. The prober and the samplers have goroutines of their own,
// which end in step 6 or 7.
//
// # Locks
//
// sharedNotes, discovery, coreMonitor and introspection each have a mutex for a few of
// their own fields. None of these is held while another one is taken, while a file of /proc is
// read, or during a request to a server, so there is no order among them.
package observe
