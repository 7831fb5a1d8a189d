package args

import (
	"errors"
	"fmt"
	"github.com/vobs/vobs/internal/pyvalue"
	"maps"
	"slices"
	"strings"
)

// errNoValue is where vLLM's parser runs over the end of the arguments.
var errNoValue = errors.New("an option at the end has no value")

// preprocess does to arguments what FlexibleArgumentParser.parse_args does before
// argparse sees them (vllm/utils/argparse_utils.py): the model of `vllm serve`
// goes to the front, a file of options is put in, underscores of a flag become
// dashes, -O3 becomes --optimization-level 3, and options with a dot are gathered
// as the JSON of the option before the dot. load reads a file of options.
func preprocess(args []string, load func(file string) ([]string, error)) ([]string, error) {
	if len(args) > 0 && args[0] == "serve" {
		var err error
		if args, err = modelFirst(args); err != nil {
			return args, err
		}
	}
	if slices.Contains(args, "--config") {
		var err error
		if args, err = withConfig(args, load); err != nil {
			return args, err
		}
	}
	return gatherDotted(dashed(args))
}

func isLong(arg, flag string) bool {
	return arg == flag || strings.HasPrefix(arg, flag+"=") && len(arg) > len(flag)+1
}

// modelFirst makes --model of `vllm serve` its positional argument.
func modelFirst(args []string) ([]string, error) {
	i := slices.IndexFunc(args, func(a string) bool { return isLong(a, "--model") })
	if i >= 0 {
		rest := i + 1
		model := strings.TrimPrefix(args[i], "--model=")
		if args[i] == "--model" {
			if rest == len(args) {
				return args, errNoValue
			}
			model = args[rest]
			rest++
		}
		args = slices.Concat([]string{"serve", model}, args[1:i], args[rest:])
	}
	has := func(flags ...string) bool {
		return slices.ContainsFunc(args, func(a string) bool {
			return slices.ContainsFunc(flags, func(f string) bool { return isLong(a, f) })
		})
	}
	if len(args) > 1 && strings.HasPrefix(args[1], "-") && !has("--config") &&
		has("--served-model-name", "--served_model_name", "--served-model_name", "--served_model-name") {
		return args, errors.New("vLLM wants the model in front of --served-model-name")
	}
	return args, nil
}

// withConfig puts the options of a file where they count for less than those of
// the command line: behind the command and its model.
func withConfig(args []string, load func(string) ([]string, error)) ([]string, error) {
	i := slices.Index(args, "--config")
	switch {
	case slices.Index(args[i+1:], "--config") >= 0:
		return args, errors.New("vLLM takes one --config only")
	case i+1 == len(args):
		return args, errors.New("--config names no file")
	}
	file := args[i+1]
	options, err := load(file)
	if err != nil {
		return slices.Delete(slices.Clone(args), i, i+2), fmt.Errorf("--config %s: %w", Clip(file), err)
	}
	rest := slices.Delete(slices.Clone(args), i, i+2)
	at := 1
	switch {
	case strings.HasPrefix(args[0], "-"):
		at = 0
	case args[0] == "serve":
		if len(args) > 1 && !strings.HasPrefix(args[1], "-") {
			at = 2
		} else if !slices.Contains(options, "--model") {
			return slices.Insert(rest, at, options...), errors.New("vLLM finds no model, neither in front nor in the file of --config")
		}
	}
	return slices.Insert(rest, at, options...), nil
}

// dashed makes the underscores of flags dashes, up to the first dot.
func dashed(args []string) []string {
	var out []string
	for i, arg := range args {
		switch {
		case strings.HasPrefix(arg, "--help="):
			out = append(out, "--help")
		case strings.HasPrefix(arg, "--"):
			key, value, hasValue := strings.Cut(arg, "=")
			name, path, dotted := strings.Cut(key[2:], ".")
			key = "--" + strings.ReplaceAll(name, "_", "-")
			if dotted {
				key += "." + path
			}
			if hasValue {
				key += "=" + value
			}
			out = append(out, key)
		case strings.HasPrefix(arg, "-O") && arg != "-O":
			level := arg[2:]
			if level[0] == '=' {
				level = level[1:]
			}
			out = append(out, "--optimization-level", level)
		case arg == "-O" && i+1 < len(args) && len(args[i+1]) == 1 && strings.Contains("0123", args[i+1]):
			out = append(out, "--optimization-level")
		default:
			out = append(out, arg)
		}
	}
	return out
}

// gatherDotted takes --a.b.c VALUE, --a.b=VALUE and --a.b+ X,Y out of the
// arguments and puts them at their end as --a JSON. Any word that begins with a
// dash and has a dot counts as one, a negative fraction too: so it is there.
func gatherDotted(args []string) ([]string, error) {
	var out, order []string
	objects := map[string]map[string]any{}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		flag, text, hasValue := strings.Cut(arg, "=")
		if !strings.HasPrefix(arg, "-") || !strings.Contains(flag, ".") {
			out = append(out, arg)
			continue
		}
		if !hasValue {
			if i+1 == len(args) {
				return out, fmt.Errorf("%w: %s", errNoValue, Clip(arg))
			}
			i++
			text = args[i]
		}
		var value any
		if name, list := strings.CutSuffix(flag, "+"); list {
			var parts []any
			for _, part := range strings.Split(text, ",") {
				parts = append(parts, part)
			}
			flag, value = name, parts
		} else if v, err := pyvalue.ParseJSON(text); err == nil {
			value = v
		} else if n, err := ParseHumanNumber(text); err == nil {
			value = n
		} else {
			value = text
		}
		path := strings.Split(flag, ".")
		if len(path) > pyvalue.MaxNesting {
			return out, fmt.Errorf("%s is nested too deeply", Clip(arg))
		}
		if objects[path[0]] == nil {
			objects[path[0]] = map[string]any{}
			order = append(order, path[0])
		}
		merge(objects[path[0]], path[1:], value)
	}
	for _, flag := range order {
		out = append(out, flag, pyvalue.FormatJSON(objects[flag]))
	}
	return out, nil
}

// merge is recursive_dict_update of a value at a path: objects are merged, lists
// are added up, anything else is replaced.
func merge(object map[string]any, path []string, value any) {
	key := path[0]
	if len(path) > 1 {
		inner, ok := object[key].(map[string]any)
		if !ok {
			inner = map[string]any{}
			object[key] = inner
		}
		merge(inner, path[1:], value)
		return
	}
	switch v := value.(type) {
	case map[string]any:
		if inner, ok := object[key].(map[string]any); ok {
			for _, k := range slices.Sorted(maps.Keys(v)) {
				merge(inner, []string{k}, v[k])
			}
			return
		}
	case []any:
		if earlier, ok := object[key].([]any); ok {
			object[key] = slices.Concat(earlier, v)
			return
		}
	}
	object[key] = value
}
