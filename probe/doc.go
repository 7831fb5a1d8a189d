// Package probe reads the engine: it turns what a vLLM server exports on its /metrics
// page, or in its multiprocess files, into the event's engine groups for one run.
//
// A [Prober] has targets ([scrape.Target]), some known before the run and some found
// during it. It scrapes each before the command starts, polls it while the command
// runs, and takes a final reading once the last observations have settled. Counters and
// histograms are bracketed: each series counts as the difference between the first
// reading and the last, with engine restarts added up. Gauges fall back to zero when the
// engine is idle, so their peaks and means come from the polls.
//
// The files:
//
//   - prober.go: [Prober], the targets of a run and the phases of reading them.
//   - endpoint.go: one target: scraping it, ingesting its pages, settling.
//   - files.go: what differs for a directory of multiprocess files.
//   - gaugefiles.go: a server on this host whose gauges are read from its processes' files.
//   - configquery.go: the one-time queries for an engine's configuration (/version,
//     /v1/models, /server_info).
//   - configsources.go: servers whose configuration describes engines read from files.
//   - exporter.go: a dcgm-exporter among the addresses that the user gave.
//   - introspection.go: what the plugin of --instrument reported.
//   - commandline.go: engine addresses and flags in a command's arguments.
//   - snapshot.go: the input of package aggregate, at the end and in between.
//   - oneshot.go: single requests outside a run.
//
// The subpackages, along the way of the data: scrape fetches pages and schedules the
// requests; exposition parses pages into samples; multiproc reads multiprocess files into
// the same samples; dcgm reads the activity of GPUs from a dcgm-exporter's pages; window accumulates counters, histograms, gauges and active time over
// the run; aggregate turns them into the event's groups.
//
// A server may return anything. What is read from it is bounded in time, bytes and
// memory. An invalid page is skipped as a whole and counted as an error; an invalid value
// is skipped alone. In the end each figure is correct for what was read, or null with the
// reason.
package probe
