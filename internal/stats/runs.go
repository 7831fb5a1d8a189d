package stats

// CountRuns returns the number of runs in a sequence of two kinds, and how many values of
// each kind there are. A run, here and in RunsTest, is an unbroken series of equal values.
func CountRuns(sequence []bool) (runs, trues, falses int) {
	for i, kind := range sequence {
		if i == 0 || kind != sequence[i-1] {
			runs++
		}
		if kind {
			trues++
		} else {
			falses++
		}
	}
	return runs, trues, falses
}

// RunsTest returns the probability of at most this many runs if n values of one kind and m of
// another are in random order: the exact one-sided test for too few runs (Wald and Wolfowitz,
// On a Test Whether Two Samples are from the Same Population, Ann. Math. Statist. 11, 1940).
// It is low if the kinds come in blocks.
func RunsTest(runs, n, m int) float64 {
	if n == 0 || m == 0 {
		if runs >= min(1, n+m) {
			return 1
		}
		return 0
	}
	// With k runs of either kind there are binomial(n-1, k-1) * binomial(m-1, k-1) ways to
	// part the values, and either kind may come first: 2k runs. An additional run of the
	// first kind multiplies the ways by (n-k)/k: 2k+1 runs. All ways are relative to those of
	// the k that has the most.
	var few, total float64
	add := func(k int, ways float64) {
		even := 2 * ways
		odd := ways * (float64(n-k) + float64(m-k)) / float64(k)
		total += even
		total += odd // as few adds them, so that all of them are exactly 1
		if 2*k <= runs {
			few += even
		}
		if 2*k+1 <= runs {
			few += odd
		}
	}
	next := func(k int) float64 { // ways of k+1, relative to those of k
		return float64(n-k) / float64(k) * (float64(m-k) / float64(k))
	}
	most := max(1, int(float64(n)*float64(m)/float64(n+m)))
	ways := 1.0
	for k := most; k <= min(n, m); k++ {
		add(k, ways)
		ways *= next(k)
	}
	ways = 1.0
	for k := most - 1; k >= 1; k-- {
		ways /= next(k)
		add(k, ways)
	}
	return min(1, few/total)
}
