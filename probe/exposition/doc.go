// Package exposition parses a /metrics page into samples. It reads both dialects, the
// Prometheus text format (version 0.0.4) and OpenMetrics 1.0, and the quoted names that
// both have; dialect.go describes how it distinguishes them.
//
// It is written for the pages of inference engines, most of whose lines are histogram
// buckets that are not needed. A [Parser] knows which names are wanted and skips any
// other line after its name. It interns names and label sets, so that reading the same
// page again allocates next to nothing. [Families] gathers the samples of a whole page into
// families, for vobs scrape.
//
// The formats: https://prometheus.io/docs/instrumenting/exposition_formats/,
// https://prometheus.io/docs/specs/om/open_metrics_spec/ and, for quoted names,
// https://prometheus.io/docs/specs/utf8/.
package exposition
