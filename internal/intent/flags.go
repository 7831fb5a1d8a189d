package intent

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/pyvalue"
	"github.com/vobs/vobs/internal/vllm/args"
)

// ParsePairs reads the values of --intend, each NAME=VALUE. NAME is a flag of vLLM, with
// dashes or underscores; dots lead into an object. VALUE is read as vLLM reads the flag's
// value, except that every integer may be written as 8k or 8K and that a switch takes true
// or false. The value of an unknown name is read as what it looks like. Of two values for
// one name, the later one counts.
func ParsePairs(pairs []string) (Intents, error) {
	out := newIntents()
	for _, pair := range pairs {
		name, text, ok := strings.Cut(pair, "=")
		name, err := parseName(name)
		if !ok || err != nil {
			return Intents{}, fmt.Errorf("--intend %s is not of the form NAME=VALUE", args.Quote(pair))
		}
		value, err := args.ParseValue(name, text)
		if err != nil {
			return Intents{}, fmt.Errorf("--intend %s: %w", args.Quote(pair), err)
		}
		one := newIntents()
		one.add(name, value)
		out = one.Over(out)
	}
	return out, nil
}

// ReadFile reads the file of --intend-file: a mapping, in JSON or YAML, of vLLM's flags, with
// dashes or underscores as in a file for vLLM's --config, or of NeMo Safe Synthesizer's
// engine parameters. The mapping may be under the key engine_parameters or engine_config, as
// in that project's files.
func ReadFile(name string) (Intents, error) {
	in, err := readIntents(name)
	if err != nil {
		return Intents{}, fmt.Errorf("--intend-file %s: %w", name, err)
	}
	return in, nil
}

func readIntents(name string) (Intents, error) {
	text, err := args.ReadLimited(name)
	if err != nil {
		return Intents{}, err
	}
	return parseIntents(text, strings.EqualFold(filepath.Ext(name), ".json"))
}

// parseIntents reads the text of a file as JSON and, if that fails and isJSON is not set, as
// YAML.
func parseIntents(text []byte, isJSON bool) (Intents, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	v, err := pyvalue.ParseJSON(string(text))
	if err != nil && !isJSON {
		v, err = args.ParseYAML(text)
	}
	if err != nil {
		return Intents{}, err
	}
	settings, ok := v.(map[string]any)
	if !ok {
		return Intents{}, errors.New("not a mapping of names to values")
	}
	for _, key := range []string{"engine_parameters", "engine_config"} {
		if inner, ok := settings[key]; ok {
			if settings, ok = inner.(map[string]any); !ok {
				return Intents{}, fmt.Errorf("%s is not a mapping of names to values", key)
			}
			break
		}
	}
	out := newIntents()
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		name, err := parseName(key)
		if err != nil {
			return Intents{}, err
		}
		value := settings[key]
		if positive, off := strings.CutPrefix(name, "no_"); off && !args.IsEngineSetting(name) {
			if on, ok := value.(bool); ok { // no-x: true, as in vLLM's own files
				name, value = positive, !on
			}
		}
		// A string in the file is read as on the command line.
		if text, ok := value.(string); ok {
			if value, err = args.ParseValue(name, text); err != nil {
				return Intents{}, fmt.Errorf("%s: %w", args.Quote(key), err)
			}
		} else if err := args.CheckValue(name, value); err != nil {
			return Intents{}, fmt.Errorf("%s: %w", args.Quote(key), err)
		}
		one := newIntents()
		one.add(name, value)
		out = one.Over(out)
	}
	return out, nil
}

// parseName returns the name of a setting in vLLM's EngineArgs.
func parseName(s string) (string, error) {
	name := strings.TrimPrefix(strings.TrimSpace(s), "--")
	root, rest, dotted := strings.Cut(name, ".")
	root = strings.ReplaceAll(root, "-", "_")
	valid := root != "" && strings.Trim(root, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" && (!dotted || rest != "")
	if !valid || len(name) > 200 {
		return "", fmt.Errorf("%s is not the name of a setting", args.Quote(s))
	}
	if dotted {
		return canonicalName(root + "." + rest), nil
	}
	return canonicalName(root), nil
}
