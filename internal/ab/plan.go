package ab

import (
	"fmt"
	"math/rand/v2"
)

// Side is one of the two commands.
type Side string

// The sides. A is the base.
const (
	A Side = "A"
	B Side = "B"
)

// Order is how the runs of a pair follow each other.
type Order string

// The orders.
const (
	ABBA   Order = "abba"   // A first in odd pairs, B first in even ones: a steady drift cancels out
	Random Order = "random" // by chance in each pair
)

// ParseOrder reads the name of an order.
func ParseOrder(name string) (Order, error) {
	switch o := Order(name); o {
	case ABBA, Random:
		return o, nil
	}
	return "", fmt.Errorf("order %q: use abba or random", name)
}

// Step is one run of a plan.
type Step struct {
	Side     Side
	Pair     int // from 1; 0 for a warm-up
	Position int // in the plan, from 1; 0 for a warm-up
}

// Plan returns the runs of a number of pairs, after warm-ups of each side that do not count.
// The seed is that of the random order.
func Plan(order Order, pairs, warmups int, seed uint64) []Step {
	var steps []Step
	for range warmups {
		steps = append(steps, Step{Side: A}, Step{Side: B})
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for pair := 1; pair <= pairs; pair++ {
		first, second := A, B
		if order == ABBA && pair%2 == 0 || order == Random && random.IntN(2) == 1 {
			first, second = B, A
		}
		steps = append(steps, Step{first, pair, 2*pair - 1}, Step{second, pair, 2 * pair})
	}
	return steps
}
