//go:build race

package budget

// detector is how much dearer the race detector makes Go code: a start takes 49 ms of
// CPU time instead of 7. Counted in full, the start alone would use up the budget of
// the first seconds, and a program under test would hardly look at anything in them.
const detector = 7
