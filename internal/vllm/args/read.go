package args

import (
	"errors"
	"fmt"
	"github.com/vobs/vobs/internal/pyvalue"
	"slices"
	"strings"
)

// read turns an option's words into its value, by its type.
func (o *option) read(flag string, words []string) (any, error) {
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
		return o.one(words[0])
	}
	list := make([]any, 0, len(words))
	var choice error
	for _, word := range words {
		v, err := o.one(word)
		switch {
		case errors.Is(err, errChoice):
			choice = err
		case err != nil:
			return nil, err
		}
		list = append(list, v)
	}
	return list, choice
}

// errChoice comes with a value that vLLM 0.32 does not offer; another version may.
var errChoice = errors.New("not one of the option's choices")

// one reads one word by the option's type.
func (o *option) one(word string) (any, error) {
	kind, optional := strings.CutPrefix(o.kind, "?")
	if optional && (word == "" || word == "None") {
		return nil, nil
	}
	v, err := readKind(kind, word)
	if err != nil {
		if errors.Is(err, pyvalue.ErrNotANumber) {
			return nil, fmt.Errorf("vLLM cannot read %q for --%s", Clip(word), strings.ReplaceAll(o.name, "_", "-"))
		}
		return nil, fmt.Errorf("vLLM cannot read %q for --%s: %w", Clip(word), strings.ReplaceAll(o.name, "_", "-"), err)
	}
	if o.choices != nil && !slices.Contains(o.choices, pyvalue.Str(v)) {
		return v, errChoice
	}
	return v, nil
}

func readKind(kind, word string) (any, error) {
	switch kind {
	case "int":
		return pyvalue.ParseInt(word)
	case "human":
		return ParseHumanNumber(word)
	case "humanauto": // human_readable_int_or_auto
		if w := strings.TrimSpace(word); w == "-1" || strings.EqualFold(w, "auto") {
			return int64(-1), nil
		}
		return ParseHumanNumber(word)
	case "float":
		return fractionValue(word)
	case "json":
		return pyvalue.ParseJSON(word)
	case "config":
		expanded, err := expandNumbers(word)
		if err != nil {
			return nil, err
		}
		v, err := pyvalue.ParseJSON(expanded)
		if _, ok := v.(map[string]any); err == nil && !ok {
			return nil, errors.New("it is no JSON object")
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

func fractionValue(word string) (any, error) {
	f, err := pyvalue.ParseFloat(word)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// guessValue reads a value whose type nothing tells.
func guessValue(word string) any {
	switch word {
	case "true", "True":
		return true
	case "false", "False":
		return false
	case "null", "None", "":
		return nil
	}
	if n, err := ParseHumanNumber(word); err == nil {
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
