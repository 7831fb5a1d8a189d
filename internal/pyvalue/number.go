package pyvalue

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
)

var ErrNotANumber = errors.New("no number")

// ParseInt reads what Python's int() does of ASCII: blanks around it, a sign,
// single underscores between digits.
func ParseInt(s string) (any, error) {
	s = strings.TrimSpace(s)
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || !joinedDigits(digits) {
		return nil, ErrNotANumber
	}
	return ParseDecimal(strings.ReplaceAll(strings.TrimPrefix(s, "+"), "_", ""))
}

// ParseDecimal reads decimal digits, as an int64 where it fits.
func ParseDecimal(s string) (any, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if len(s) > 4300 { // Python's own limit
		return nil, ErrNotANumber
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, ErrNotANumber
	}
	return n, nil
}

// joinedDigits says whether s is digits with single underscores between them.
func joinedDigits(s string) bool {
	last := byte('_')
	for i := range len(s) {
		if s[i] == '_' && last == '_' || s[i] != '_' && (s[i] < '0' || s[i] > '9') {
			return false
		}
		last = s[i]
	}
	return last != '_'
}

func ShrinkInt(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func IsDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// ParseFloat reads what Python's float() does of ASCII.
func ParseFloat(s string) (float64, error) {
	s = strings.TrimSpace(s)
	switch strings.ToLower(strings.TrimLeft(s, "+-")) {
	case "inf", "infinity", "nan":
	default:
		for i := range len(s) {
			switch c := s[i]; {
			case c >= '0' && c <= '9', strings.IndexByte("+-.eE", c) >= 0:
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

func IsDigit(c byte) bool { return c >= '0' && c <= '9' }

func ParseBase(digits string, base int, negative bool) (any, error) {
	n, ok := new(big.Int).SetString(digits, base)
	if !ok || len(digits) > 4300 {
		return nil, ErrNotANumber
	}
	if negative {
		n.Neg(n)
	}
	return ShrinkInt(n), nil
}
