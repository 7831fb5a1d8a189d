// Package check compares the figures of events with limits, for vobs check.
//
// Limits come from flags, from a file (file.go) and from service level objectives; limit.go
// finds the figures that they name. [Run] reads events and evaluates every limit against
// each of them (evaluate.go). The [Result] writes itself as text, Markdown, JSON (result.go)
// or JUnit XML (junit.go), with what would decide the limits that are undecided (cure.go).
//
// A percentile is known by its proven bounds only. A limit within the bounds is undecided,
// never a guess.
package check
