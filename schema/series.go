package schema

import (
	"math"
	"strconv"
)

// Series shows how figures went over the run, in slots of one width that begin at the
// command's start (`run.started_at`).
type Series struct {
	// Width of a slot: 0.25 s times a power of two. Longer runs have wider slots.
	SlotSeconds Float `json:"slot_seconds" kind:"coverage" unit:"seconds"`
	// The figures that had a reading. A figure that was never read has no curve.
	Curves []Curve `json:"curves"`
}

// Curve is one figure in the slots of the run, 120 at most, with four significant digits. A
// slot without a reading is null in both lists.
type Curve struct {
	// The figure, with its unit: `gpus.N.memory_used_bytes` and `gpus.N.power_watts` (N is the place in `gpus`), `engine.kv_cache.usage` (a fraction; the highest engine in `max`, the mean of all engines in `mean`), `engine.requests.running` and `engine.requests.waiting` (requests, of all engines together), `engine.throughput.prompt_tokens_per_second` and `engine.throughput.generation_tokens_per_second` (of all engines together), `engine.process_resident_memory_bytes` (of all API servers together, by their own metrics), `host.tree_cpu_cores` (CPU-seconds per second of the command and its descendants), `host.engine_rss_bytes` (resident memory of the processes of the engines on this host).
	Name string `json:"name"`
	// Highest reading in each slot. A lower bound.
	Max []*Rounded `json:"max" kind:"sampled peak" unit:"various"`
	// Mean of the readings in each slot, weighted by time.
	Mean []*Rounded `json:"mean" kind:"sampled mean" unit:"various"`
}

// Rounded is a number that is written with four significant digits, in as few bytes as that
// takes: an event may have thousands of them.
type Rounded float64

// negligible is the value below which a Rounded is written as 0.
const negligible = 1e-9

// MaxRoundedBytes is the most that a Rounded takes that is not negative.
const MaxRoundedBytes = len("1.234e-9")

// Round returns a pointer to x with four significant digits, or nil if x is NaN or infinite.
func Round(x float64) *Rounded {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	r, err := strconv.ParseFloat(string(roundedDigits(x)), 64)
	if err != nil {
		return nil // above the largest float64 after rounding up
	}
	return Ptr(Rounded(r))
}

// Value returns the value of a nullable number, and whether it has one.
func (r *Rounded) Value() (float64, bool) {
	if r == nil {
		return 0, false
	}
	return float64(*r), true
}

// MarshalJSON writes the number without exponent or with it, whichever is shorter.
func (r Rounded) MarshalJSON() ([]byte, error) {
	x := float64(r)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return []byte("null"), nil
	}
	return roundedDigits(x), nil
}

func roundedDigits(x float64) []byte {
	if math.Abs(x) < negligible {
		return []byte("0")
	}
	var buf [32]byte
	digits := strconv.AppendFloat(buf[:0], x, 'e', 3, 64) // -1.234e+05
	var out []byte
	if digits[0] == '-' {
		out, digits = append(out, '-'), digits[1:]
	}
	mantissa := append([]byte{digits[0]}, digits[2:5]...)
	for len(mantissa) > 1 && mantissa[len(mantissa)-1] == '0' {
		mantissa = mantissa[:len(mantissa)-1]
	}
	exponent, _ := strconv.Atoi(string(digits[6:]))
	n := len(mantissa)
	plain := n + 1 // with the point
	switch {
	case exponent < 0:
		plain = n + 1 - exponent
	case exponent >= n-1:
		plain = exponent + 1
	}
	if exponential := n + min(n-1, 1) + 1 + len(strconv.Itoa(exponent)); exponential < plain {
		out = append(out, mantissa[0])
		if n > 1 {
			out = append(append(out, '.'), mantissa[1:]...)
		}
		return strconv.AppendInt(append(out, 'e'), int64(exponent), 10)
	}
	switch {
	case exponent < 0:
		out = append(out, '0', '.')
		for range -exponent - 1 {
			out = append(out, '0')
		}
		return append(out, mantissa...)
	case exponent < n-1:
		out = append(out, mantissa[:exponent+1]...)
		return append(append(out, '.'), mantissa[exponent+1:]...)
	}
	out = append(out, mantissa...)
	for range exponent - n + 1 {
		out = append(out, '0')
	}
	return out
}
