// Package window turns the pages of one run into what the engines' metrics did in it.
//
// [Counters] adds up what the counters and histograms of one endpoint gained between its
// first and its last page, series by series and across restarts, as Prometheus's
// increase() does over a range. [Gauges] follows the gauges of all endpoints and keeps
// the last value, the peak and the mean over time. [ActiveTime] is the time in which any
// endpoint worked. [MergeHistograms] combines the histograms of several engines.
//
// A page goes through [Counters.Classify], which reports what kind of page it is and
// drops the samples that are not read, then through [Counters.Apply], which adds up its
// values, and then through [Gauges.Add]. A page whose series were all on the one before
// allocates next to nothing.
//
// The package is pure: it has no clock, no lock and does no I/O. The caller passes the
// times and serializes the calls. Package aggregate reads the results: it must not change
// exported fields or what the methods return.
//
// The window begins with the baseline: the first page, if it was scraped before the
// command started, or zero, if the process started inside the run. The last full page
// ends it. A metric whose increase cannot be computed is unusable, and
// [Counters.WhyUnusable] returns the reason.
package window
