package args

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/pyvalue"
)

// convert converts the words after an option's flag to its value.
func (o *option) convert(flag string, words []string) (any, error) {
	switch o.kind {
	case "bool":
		return !strings.HasPrefix(flag, "--no-"), nil
	case "true", "ends":
		return true, nil
	case "false":
		return false, nil
	}
	if o.nargs == "?" && len(words) == 0 {
		if o.kind == "flagstr" {
			return true, nil
		}
		return nil, nil
	}
	if o.nargs == "" || o.nargs == "?" {
		return o.convertWord(words[0])
	}
	list := make([]any, 0, len(words))
	var choiceErr error
	for _, word := range words {
		v, err := o.convertWord(word)
		switch {
		case errors.Is(err, errChoice):
			choiceErr = err
		case err != nil:
			return nil, err
		}
		list = append(list, v)
	}
	return list, choiceErr
}

// errChoice is returned with a value that is not among the choices of vLLM 0.32; another
// version may have it.
var errChoice = errors.New("not one of the option's choices")

// convertWord converts one word by the option's type.
func (o *option) convertWord(word string) (any, error) {
	kind, optional := strings.CutPrefix(o.kind, "?")
	if optional && (word == "" || word == "None") {
		return nil, nil
	}
	v, err := convertKind(kind, word)
	if err != nil {
		if errors.Is(err, pyvalue.ErrNotANumber) {
			return nil, fmt.Errorf("vLLM cannot read %s for --%s", Quote(word), strings.ReplaceAll(o.name, "_", "-"))
		}
		return nil, fmt.Errorf("vLLM cannot read %s for --%s: %w", Quote(word), strings.ReplaceAll(o.name, "_", "-"), err)
	}
	if o.choices != nil && !slices.Contains(o.choices, pyvalue.Str(v)) {
		return v, errChoice
	}
	return v, nil
}

func convertKind(kind, word string) (any, error) {
	switch kind {
	case "int":
		return pyvalue.ParseInt(word)
	case "human":
		return ParseHumanInt(word)
	case "humanauto": // human_readable_int_or_auto
		if w := strings.TrimSpace(word); w == "-1" || strings.EqualFold(w, "auto") {
			return int64(-1), nil
		}
		return ParseHumanInt(word)
	case "float":
		return pyvalue.ParseFloat(word)
	case "json":
		return pyvalue.ParseJSON(word)
	case "config":
		expanded, err := expandHumanInts(word)
		if err != nil {
			return nil, err
		}
		v, err := pyvalue.ParseJSON(expanded)
		if _, ok := v.(map[string]any); err == nil && !ok {
			return nil, errors.New("not a JSON object")
		}
		return v, err
	case "dictstr": // union_dict_and_str of vllm/engine/arg_utils.py
		if w := strings.TrimSpace(word); strings.HasPrefix(w, "{") && strings.HasSuffix(w, "}") && len(w) > 1 {
			return pyvalue.ParseJSON(word)
		}
	case "lower":
		return strings.ReplaceAll(strings.ToLower(word), "-", "_"), nil
	case "csv":
		var list []any
		for _, part := range strings.Split(word, ",") {
			part = strings.TrimSpace(part)
			if n, err := pyvalue.ParseDecimal(part); err == nil && pyvalue.IsDigits(part) {
				list = append(list, n)
				continue
			}
			list = append(list, part)
		}
		return list, nil
	}
	return word, nil
}

// guessValue reads a value of unknown type.
func guessValue(word string) any {
	switch word {
	case "true", "True":
		return true
	case "false", "False":
		return false
	case "null", "None", "":
		return nil
	}
	if n, err := ParseHumanInt(word); err == nil {
		return n
	}
	if f, err := pyvalue.ParseFloat(word); err == nil {
		return f
	}
	if t := strings.TrimSpace(word); strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") {
		if v, err := pyvalue.ParseJSON(word); err == nil {
			return v
		}
	}
	return word
}
