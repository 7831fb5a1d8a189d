package stats

import "math"

// MinRuns returns the smallest number of values per side with which MannWhitney can reach
// P <= alpha at all, for alpha above 0: if all values of one side are above all of the other,
// P is 2 divided by the number of ways to choose a side.
func MinRuns(alpha float64) int {
	ways := 1.0
	for n := 1; ; n++ {
		ways *= float64(2*(2*n-1)) / float64(n) // binomial(2n, n)
		if 2/ways <= alpha || math.IsInf(ways, 1) {
			return n
		}
	}
}

// MinPairs returns the smallest number of pairs with which SignedRank can reach P <= alpha
// at all, for alpha above 0: if all differences have the same sign, P is 2^(1-n).
func MinPairs(alpha float64) int {
	p := 1.0
	for n := 1; ; n++ {
		if p <= alpha {
			return n
		}
		p /= 2
	}
}

// RunsNeeded returns how many values per side MannWhitney needs to reach P <= alpha with the
// given probability (power), if the values of the sides are normal with standard deviation
// sd and are shifted by effect. effect and sd have the same unit, and may both be relative.
// The result is an approximation and at least MinRuns. It is math.MaxInt if effect is zero.
//
// It is the number for a test on the mean, with Guenther's correction for small samples (The
// American Statistician 35, 1981), divided by the rank test's asymptotic relative efficiency
// 3/π (Hollander & Wolfe, section 4.5).
func RunsNeeded(effect, sd, alpha, power float64) int {
	return needed(effect, sd, alpha, power, 2, MinRuns(alpha))
}

// PairsNeeded returns how many pairs SignedRank needs, as RunsNeeded does for MannWhitney. sd
// is the standard deviation of the differences of pairs.
func PairsNeeded(effect, sd, alpha, power float64) int {
	return needed(effect, sd, alpha, power, 1, MinPairs(alpha))
}

// DetectableByRuns returns the smallest shift for which RunsNeeded is at most n: infinite if
// n is below MinRuns.
func DetectableByRuns(n int, sd, alpha, power float64) float64 {
	return detectable(n, sd, alpha, power, 2, MinRuns(alpha))
}

// DetectableByPairs returns the smallest shift for which PairsNeeded is at most n: infinite if
// n is below MinPairs.
func DetectableByPairs(n int, sd, alpha, power float64) float64 {
	return detectable(n, sd, alpha, power, 1, MinPairs(alpha))
}

func needed(effect, sd, alpha, power, samples float64, atLeast int) int {
	if sd == 0 && effect != 0 {
		return atLeast
	}
	scale, correction := sampleSize(alpha, power, samples)
	n := math.Ceil(scale*(sd/effect)*(sd/effect) + correction)
	if !(n < math.MaxInt32) {
		return math.MaxInt
	}
	return max(atLeast, int(n))
}

func detectable(n int, sd, alpha, power, samples float64, atLeast int) float64 {
	scale, correction := sampleSize(alpha, power, samples)
	if n < atLeast || float64(n) <= correction {
		return math.Inf(1)
	}
	return sd * math.Sqrt(scale/(float64(n)-correction))
}

// sampleSize returns scale and correction of n = scale*(sd/effect)² + correction, for one
// sample (of differences) or two.
func sampleSize(alpha, power, samples float64) (scale, correction float64) {
	const efficiency = 3 / math.Pi
	z := normalQuantile(1 - alpha/2)
	sum := z + normalQuantile(power)
	return samples * sum * sum / efficiency, z * z / (2 * samples) / efficiency
}

func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }
