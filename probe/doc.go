// Package probe reads the engine: what a vLLM server tells of itself on its
// /metrics page, and what that amounts to over one run.
//
// A [Prober] is given addresses ([Target]), some before the run and some found
// inside it. Of each it takes a reading before the command starts, polls its
// gauges while the command runs, and takes a final reading when the last
// observations have settled. Counters and histograms are bracketed: they count
// as differences, series by series, from the first reading to the last, with
// restarts of the engine added up. Gauges fall back to zero when the engine has
// drained, so their peaks and means come from the polls.
//
// The parts, from the wire inwards: client fetches a page, package exposition
// turns it into samples as it comes, pace decides when the next one is asked for,
// ledger adds up counters and histograms, gauges follows gauges, activity the
// time in which the engine did something, report says what it amounts to, in the
// event's own types.
//
// A server may answer anything. What is read of it is bounded in time, in bytes
// and in memory; a page that is no good page of an engine is left out whole and
// counted as an error; a value that cannot be is left out alone. In the end a
// figure is right for what was read, or null with the reason.
package probe
