// Package stats holds the statistics that compare sets of runs: rank tests with exact p
// values, shifts with confidence intervals, adjustment for several tests, the order of
// runs, sample sizes, change points in a history, and trends of readings. It knows nothing of events.
//
// A run is one value. Two sets of runs are called x and y; shifts are of y relative to x.
// For ratios instead of differences, pass logarithms: the exponential of a shift of
// logarithms is a ratio. Rank tests treat values as tied only if they are equal as float64,
// so that rounding in the caller may break ties of differences.
//
// Values must be finite. Results for NaN or infinite values are unspecified. All functions
// are pure: they change no argument, and return the same result for the same arguments.
// Unless noted otherwise, tests and intervals are two-sided, and alpha is the probability
// of an error of the first kind, as in a confidence interval of level 1-alpha.
//
// Sources:
//
//   - Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3rd edition (2014),
//     chapters 3 and 4, for the rank tests, their estimators and their intervals
//   - Pratt: Remarks on Zeros and Ties in the Wilcoxon Signed Rank Procedures, JASA 54 (1959)
//   - Holm: A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6 (1979)
//   - Noether: Wilcoxon Confidence Intervals for Location Parameters in the Discrete Case,
//     JASA 62 (1967)
//   - Sen: Estimates of the Regression Coefficient Based on Kendall's Tau, JASA 63 (1968)
//   - Hamed, Rao: A Modified Mann-Kendall Trend Test for Autocorrelated Data, J. Hydrology 204 (1998)
package stats
