package args

import (
	"errors"
	"github.com/vobs/vobs/internal/pyvalue"
	"math/big"
	"strings"
)

// ParseSetting reads a value that is given as text.
func ParseSetting(name, text string) (any, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || trimmed == "None" || trimmed == "null" || strings.EqualFold(trimmed, "auto") {
		return nil, nil // no intent
	}
	known := OptionByName()[name]
	if known == nil {
		if name == "speculative_method" || name == "attention_backend" {
			return trimmed, nil
		}
		return guessValue(trimmed), nil
	}
	o := *known
	o.choices = nil // another version may have others
	if o.nargs == "+" && strings.HasPrefix(trimmed, "[") {
		return pyvalue.ParseJSON(trimmed)
	}
	switch kind := strings.TrimPrefix(o.kind, "?"); kind {
	case "bool", "true", "false":
		b, ok := ParseBool(trimmed)
		if !ok {
			return nil, errors.New("it takes true or false")
		}
		return b, nil
	case "int", "human", "humanauto":
		if o.nargs == "+" {
			break
		}
		n, err := ParseHumanNumber(trimmed)
		if errors.Is(err, pyvalue.ErrNotANumber) {
			return nil, errors.New("it takes a whole number, as 8192, 8k (8000) or 8K")
		}
		return n, err
	}
	if o.nargs == "" || o.nargs == "?" {
		return o.one(text)
	}
	return o.read("", strings.Fields(trimmed))
}

// CheckSetting refuses a value of a file that its setting cannot have.
func CheckSetting(name string, value any) error {
	o := OptionByName()[name]
	if o == nil || value == nil {
		return nil
	}
	_, isList := value.([]any)
	_, isObject := value.(map[string]any)
	_, isBool := value.(bool)
	_, isNumber := Number(value)
	isNumber = isNumber && !isBool
	switch strings.TrimPrefix(o.kind, "?") {
	case "bool", "true", "false":
		if !isBool {
			return errors.New("it takes true or false")
		}
	case "int", "human", "humanauto", "float":
		if !isNumber && !(o.nargs == "+" && isList) {
			return errors.New("it takes a number")
		}
	case "config":
		if !isObject {
			return errors.New("it takes an object")
		}
	case "str", "lower":
		if isObject || isList && o.nargs == "" {
			return errors.New("it takes a text")
		}
	}
	return nil
}

// ParseBool reads the ways to say yes and no.
func ParseBool(s string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "yes", "on", "1":
		return true, true
	case "false", "no", "off", "0":
		return false, true
	}
	return false, false
}

// Number reads a number, also from a text.
func Number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	case bool: // as in Python: the seed's comparison has True == 1
		if v {
			return 1, true
		}
		return 0, true
	case string:
		if n, err := ParseHumanNumber(v); err == nil {
			return Number(n)
		}
		f, err := pyvalue.ParseFloat(v)
		return f, err == nil
	}
	return 0, false
}
