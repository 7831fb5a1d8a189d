// Package doctor finds out what `vobs run` could observe on this machine, before a first run.
//
// [Run] makes all checks side by side, each within a time limit, with the code that a run uses:
// gpu.Inspect and host.Inspect read as the samplers do, probe.Check reads a server as --strict
// does, package wandb reads W&B's settings, package deliver opens the event's target. Each check
// results in a [Check]: what was found, and what to do about it. A [Report] renders itself as
// text or JSON.
//
// Nothing is started, no state is changed, and nothing is written except a temporary file beside
// the event's target.
package doctor
