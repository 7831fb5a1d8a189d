package args

import (
	"errors"
	"math/big"
	"strings"

	"github.com/vobs/vobs/internal/pyvalue"
)

// ParseValue reads the value of an engine's setting from text. It returns nil for "", None,
// null and auto. The value of a setting that vLLM 0.32 does not have is read as what it looks
// like.
func ParseValue(name, text string) (any, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || trimmed == "None" || trimmed == "null" || strings.EqualFold(trimmed, "auto") {
		return nil, nil
	}
	known := engineOptions()[name]
	if known == nil {
		if name == "speculative_method" || name == "attention_backend" {
			return trimmed, nil
		}
		return guessValue(trimmed), nil
	}
	o := *known
	o.choices = nil // other versions may have others
	if o.nargs == "+" && strings.HasPrefix(trimmed, "[") {
		return pyvalue.ParseJSON(trimmed)
	}
	switch kind := strings.TrimPrefix(o.kind, "?"); kind {
	case "bool", "true", "false":
		b, ok := ParseBool(trimmed)
		if !ok {
			return nil, errNotBool
		}
		return b, nil
	case "int", "human", "humanauto":
		if o.nargs == "+" {
			break
		}
		n, err := ParseHumanInt(trimmed)
		if errors.Is(err, pyvalue.ErrNotANumber) {
			return nil, errors.New("must be a whole number such as 8192, 8k (8000) or 8K (8192)")
		}
		return n, err
	}
	if o.nargs == "" || o.nargs == "?" {
		return o.convertWord(text)
	}
	return o.convert("", strings.Fields(trimmed))
}

var errNotBool = errors.New("must be true or false")

// CheckValue returns an error if an engine's setting cannot have the given value. A setting
// that vLLM 0.32 does not have can have any value.
func CheckValue(name string, value any) error {
	o := engineOptions()[name]
	if o == nil || value == nil {
		return nil
	}
	_, isList := value.([]any)
	_, isObject := value.(map[string]any)
	_, isBool := value.(bool)
	_, isNumber := Float(value)
	isNumber = isNumber && !isBool
	switch strings.TrimPrefix(o.kind, "?") {
	case "bool", "true", "false":
		if !isBool {
			return errNotBool
		}
	case "int", "human", "humanauto", "float":
		if !isNumber && !(o.nargs == "+" && isList) {
			return errors.New("must be a number")
		}
	case "config":
		if !isObject {
			return errors.New("must be an object")
		}
	case "str", "lower":
		if isObject || isList && o.nargs == "" {
			return errors.New("must be a string")
		}
	}
	return nil
}

// ParseBool reads true, yes, on and 1, or false, no, off and 0, in any case.
func ParseBool(s string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "yes", "on", "1":
		return true, true
	case "false", "no", "off", "0":
		return false, true
	}
	return false, false
}

// Float converts a number, which may be given as text, to a float64.
func Float(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	case bool: // as in Python, where True == 1
		if v {
			return 1, true
		}
		return 0, true
	case string:
		if n, err := ParseHumanInt(v); err == nil {
			return Float(n)
		}
		f, err := pyvalue.ParseFloat(v)
		return f, err == nil
	}
	return 0, false
}
