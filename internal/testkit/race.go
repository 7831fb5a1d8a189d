//go:build race

package testkit

// RaceEnabled reports whether the race detector is on, which slows everything down and
// allocates.
const RaceEnabled = true
