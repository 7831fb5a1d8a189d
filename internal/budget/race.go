//go:build race

package budget

// raceSlowdown is the factor by which the race detector slows Go code down: a start
// takes 49 ms of CPU time instead of 7. Counted in full, the start alone would use up
// the budget of the first seconds, and a program under test would read hardly anything
// in them.
const raceSlowdown = 7
