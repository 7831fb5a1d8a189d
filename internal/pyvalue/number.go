package pyvalue

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// ErrNotANumber is returned for text that Python would not read as a number.
var ErrNotANumber = errors.New("not a number")

// MaxDigits is Python's own limit on the digits of an integer
// (sys.get_int_max_str_digits).
const MaxDigits = 4300

// ParseInt reads ASCII text as Python's int does: blanks around it, a sign, single
// underscores between digits. The result is an int64 if it fits, a *big.Int otherwise.
func ParseInt(s string) (any, error) {
	s = strings.TrimSpace(s)
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || !isGroupedDigits(digits) {
		return nil, ErrNotANumber
	}
	return ParseDecimal(strings.ReplaceAll(strings.TrimPrefix(s, "+"), "_", ""))
}

// ParseDecimal reads a decimal integer with an optional sign: an int64 if it fits, a
// *big.Int otherwise.
func ParseDecimal(s string) (any, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if len(s) > MaxDigits {
		return nil, ErrNotANumber
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, ErrNotANumber
	}
	return n, nil
}

// ParseDigits reads the digits of a number in the given base, without a sign or prefix;
// negative negates it.
func ParseDigits(digits string, base int, negative bool) (any, error) {
	n, ok := new(big.Int).SetString(digits, base)
	if !ok || len(digits) > MaxDigits {
		return nil, ErrNotANumber
	}
	if negative {
		n.Neg(n)
	}
	return FromBigInt(n), nil
}

// FromBigInt returns n as an int64 if it fits, and n itself otherwise.
func FromBigInt(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

// ParseFloat reads ASCII text as Python's float does. A number beyond float64 is infinite.
func ParseFloat(s string) (float64, error) {
	s = strings.TrimSpace(s)
	switch strings.ToLower(strings.TrimLeft(s, "+-")) {
	case "inf", "infinity", "nan":
	default:
		for i := range len(s) {
			switch c := s[i]; {
			case IsDigit(c), strings.IndexByte("+-.eE", c) >= 0:
			case c == '_' && i > 0 && i+1 < len(s) && IsDigit(s[i-1]) && IsDigit(s[i+1]):
			default:
				return 0, ErrNotANumber
			}
		}
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, ErrNotANumber
	}
	return f, nil
}

// IsDigit reports whether c is an ASCII digit.
func IsDigit(c byte) bool { return c >= '0' && c <= '9' }

// IsDigits reports whether s is ASCII digits alone, at least one.
func IsDigits(s string) bool {
	for i := range len(s) {
		if !IsDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// isGroupedDigits reports whether s is digits with single underscores between them.
func isGroupedDigits(s string) bool {
	last := byte('_')
	for i := range len(s) {
		if s[i] == '_' && last == '_' || s[i] != '_' && !IsDigit(s[i]) {
			return false
		}
		last = s[i]
	}
	return last != '_'
}
