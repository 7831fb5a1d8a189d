// Package pyvalue reads and writes values as Python does: repr and str, the numbers that
// int and float accept, and JSON with NaN and the infinities, which [ParseJSON] reads as
// values and [SplitObject] splits into the original texts.
//
// A value is nil, bool, int64, *big.Int, float64, string, []any or map[string]any.
package pyvalue
