//go:build race

package testkit

// RaceEnabled reports whether the race detector is on, which makes everything slower
// and allocates.
const RaceEnabled = true
