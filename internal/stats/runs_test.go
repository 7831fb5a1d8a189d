package stats

import "testing"

func TestCountRuns(t *testing.T) {
	for _, c := range []struct {
		sequence            string
		runs, trues, falses int
	}{
		{"", 0, 0, 0}, {"a", 1, 1, 0}, {"b", 1, 0, 1}, {"aab", 2, 2, 1}, {"abba", 3, 2, 2}, {"ababab", 6, 3, 3}, {"bbbb", 1, 0, 4},
	} {
		var sequence []bool
		for _, kind := range c.sequence {
			sequence = append(sequence, kind == 'a')
		}
		if runs, trues, falses := CountRuns(sequence); runs != c.runs || trues != c.trues || falses != c.falses {
			t.Errorf("%q: %d runs of %d and %d", c.sequence, runs, trues, falses)
		}
	}
}

// The probabilities of a large table do not overflow, and grow from 0 to 1.
func TestRunsTestOfManyValues(t *testing.T) {
	const n, m = 100_000, 70_000
	last := 0.0
	for _, runs := range []int{1, 2, 1000, 81_000, 82_000, 82_353, 82_354, 82_600, 83_000, 120_000, 2 * m, n + m} {
		p := RunsTest(runs, n, m)
		if !(p >= last && p <= 1) {
			t.Errorf("%d runs: p %v, and %v for fewer", runs, p, last)
		}
		last = p
	}
	if middle := RunsTest(82_354, n, m); middle < 0.49 || middle > 0.51 || last != 1 { // the mean is 1 + 2nm/(n+m)
		t.Errorf("p %v at the mean, %v at the end", middle, last)
	}
}
