//go:build !race

package budget

const detector = 1
