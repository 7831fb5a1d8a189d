package args

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/pyvalue"
)

// errNoValue is returned where vLLM's parser runs past the end of the arguments.
var errNoValue = errors.New("the last option has no value")

// preprocess transforms arguments as FlexibleArgumentParser.parse_args does before argparse
// parses them (vllm/utils/argparse_utils.py): the model of `vllm serve` moves to the front,
// the options of a --config file are inserted, underscores in flags become dashes, -O3
// becomes --optimization-level 3, and dotted options are collected as JSON for the option
// before the dot. load returns the options of a file as arguments.
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
	return collectDotted(normalizeFlags(args))
}

// isFlag reports whether arg is flag or flag=VALUE.
func isFlag(arg, flag string) bool {
	return arg == flag || strings.HasPrefix(arg, flag+"=") && len(arg) > len(flag)+1
}

// modelFirst makes --model of `vllm serve` its positional argument.
func modelFirst(args []string) ([]string, error) {
	i := slices.IndexFunc(args, func(a string) bool { return isFlag(a, "--model") })
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
			return slices.ContainsFunc(flags, func(f string) bool { return isFlag(a, f) })
		})
	}
	if len(args) > 1 && strings.HasPrefix(args[1], "-") && !has("--config") &&
		has("--served-model-name", "--served_model_name", "--served-model_name", "--served_model-name") {
		return args, errors.New("vLLM requires the model before --served-model-name")
	}
	return args, nil
}

// withConfig replaces --config and its file by the options of the file, right after the
// command and its model, so that the options of the command line override them.
func withConfig(args []string, load func(string) ([]string, error)) ([]string, error) {
	i := slices.Index(args, "--config")
	switch {
	case slices.Index(args[i+1:], "--config") >= 0:
		return args, errors.New("vLLM takes only one --config")
	case i+1 == len(args):
		return args, errors.New("--config has no value")
	}
	file := args[i+1]
	options, err := load(file)
	if err != nil {
		return slices.Delete(slices.Clone(args), i, i+2), fmt.Errorf("--config %s: %w", clip(file), err)
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
			return slices.Insert(rest, at, options...), errors.New("vLLM finds no model before --config or in its file")
		}
	}
	return slices.Insert(rest, at, options...), nil
}

// normalizeFlags replaces underscores in flags by dashes, up to the first dot, and spells out
// -O.
func normalizeFlags(args []string) []string {
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

// collectDotted removes --a.b.c VALUE, --a.b=VALUE and --a.b+ X,Y from the arguments and
// appends --a JSON. Like vLLM, it takes every word that begins with a dash and contains a dot
// for such an option, even a negative fraction.
func collectDotted(args []string) ([]string, error) {
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
				return out, fmt.Errorf("%w: %s", errNoValue, clip(arg))
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
		} else if n, err := ParseHumanInt(text); err == nil {
			value = n
		} else {
			value = text
		}
		path := strings.Split(flag, ".")
		if len(path) > pyvalue.MaxNesting {
			return out, fmt.Errorf("%s is nested too deeply", clip(arg))
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

// merge is recursive_dict_update of a value at a path: objects are merged, lists are
// appended, other values are replaced.
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
