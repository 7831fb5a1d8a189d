package args

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/pyvalue"
)

// ParseHumanInt is human_readable_int of vllm/utils/argparse_utils.py: 8k is 8000, 8K is
// 8192, 25.6k is 25600; a fraction before a capital letter is refused. The result is an int64
// if it fits, a *big.Int otherwise.
func ParseHumanInt(s string) (any, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, pyvalue.ErrNotANumber
	}
	number, suffix := s[:len(s)-1], s[len(s)-1]
	power := strings.IndexByte("kmgt", suffix|0x20)
	whole, fraction, isFraction := strings.Cut(number, ".")
	if power < 0 || !pyvalue.IsDigits(whole) || isFraction && !pyvalue.IsDigits(fraction) {
		return pyvalue.ParseInt(s)
	}
	if suffix < 'a' {
		if isFraction {
			return nil, fmt.Errorf("vLLM takes no fraction before %c: write %s%c", suffix, number, suffix|0x20)
		}
		n, ok := new(big.Int).SetString(whole, 10)
		if !ok || len(whole) > pyvalue.MaxDigits {
			return nil, pyvalue.ErrNotANumber
		}
		return pyvalue.FromBigInt(n.Lsh(n, uint(10*(power+1)))), nil
	}
	// Like vLLM, multiply floats and truncate.
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return nil, pyvalue.ErrNotANumber
	}
	f *= math.Pow10(3 * (power + 1))
	if math.IsInf(f, 0) {
		return nil, pyvalue.ErrNotANumber
	}
	n, _ := new(big.Float).SetFloat64(f).Int(nil)
	return pyvalue.FromBigInt(n), nil
}

// expandHumanInts is _expand_json_human_readable_numbers of vllm/engine/arg_utils.py: 80m in
// the JSON of a config class is 80000000.
func expandHumanInts(s string) (string, error) {
	var failed error
	out := pyvalue.MapOutsideStrings(s, func(part string) string {
		var b strings.Builder
		for i := 0; i < len(part); {
			if !isWordByte(part[i]) {
				b.WriteByte(part[i])
				i++
				continue
			}
			end := i
			for end < len(part) && (isWordByte(part[end]) || part[end] == '.' && pyvalue.IsDigit(part[end-1]) && end+1 < len(part) && pyvalue.IsDigit(part[end+1])) {
				end++
			}
			token := part[i:end]
			if last := token[len(token)-1]; pyvalue.IsDigit(token[0]) && strings.IndexByte("kKmMgGtT", last) >= 0 && !strings.Contains(token, "_") {
				n, err := ParseHumanInt(token)
				switch {
				case err == nil:
					token = fmt.Sprint(n)
				case !errors.Is(err, pyvalue.ErrNotANumber):
					failed = err
				}
			}
			b.WriteString(token)
			i = end
		}
		return b.String()
	})
	return out, failed
}

func isWordByte(c byte) bool {
	return pyvalue.IsDigit(c) || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
