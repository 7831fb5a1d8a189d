package intent

import (
	"bytes"
	"errors"
	"fmt"
	"github.com/vobs/vobs/internal/pyvalue"
	"github.com/vobs/vobs/internal/vllm/args"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ParsePairs reads the values of --intend: NAME=VALUE, the name that of a flag of
// vLLM, with dashes or underscores, with dots into an object. A value is read as
// vLLM reads that flag's, but that any whole number may be written as 8k or 8K and
// a switch takes true or false; an unknown name's value by its looks. Of two values
// for one name the later counts.
func ParsePairs(pairs []string) (Intents, error) {
	out := newIntents()
	for _, pair := range pairs {
		name, text, ok := strings.Cut(pair, "=")
		name, err := nameOf(name)
		if !ok || err != nil {
			return Intents{}, fmt.Errorf("--intend %s is no NAME=VALUE", quoted(pair))
		}
		value, err := args.ParseSetting(name, text)
		if err != nil {
			return Intents{}, fmt.Errorf("--intend %s: %w", quoted(pair), err)
		}
		one := newIntents()
		one.add(name, value)
		out = one.Over(out)
	}
	return out, nil
}

// ReadFile reads a file of intents: a mapping in JSON or YAML of vLLM's flags
// (with dashes or underscores, as a file for vllm's --config) or of the seed's
// engine parameters, which may stand under engine_parameters or engine_config, as
// they do in the seed's corpus and candidates.
func ReadFile(name string) (Intents, error) {
	in, err := readIntents(name)
	if err != nil {
		return Intents{}, fmt.Errorf("--intend-file %s: %w", name, err)
	}
	return in, nil
}

func readIntents(name string) (Intents, error) {
	text, err := args.ReadFile(name)
	if err != nil {
		return Intents{}, err
	}
	return parseIntents(text, strings.EqualFold(filepath.Ext(name), ".json"))
}

// parseIntents reads the text of a file: as JSON where it is that or is called so,
// as YAML else.
func parseIntents(text []byte, isJSON bool) (Intents, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	v, err := pyvalue.ParseJSON(string(text))
	if err != nil && !isJSON {
		v, err = args.ReadYAML(text)
		v = args.PlainYAML(v)
	}
	if err != nil {
		return Intents{}, err
	}
	settings, ok := v.(map[string]any)
	if !ok {
		return Intents{}, errors.New("it holds no names and values")
	}
	for _, key := range []string{"engine_parameters", "engine_config"} {
		if inner, ok := settings[key]; ok {
			if settings, ok = inner.(map[string]any); !ok {
				return Intents{}, fmt.Errorf("%s holds no names and values", key)
			}
			break
		}
	}
	out := newIntents()
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		name, err := nameOf(key)
		if err != nil {
			return Intents{}, err
		}
		value := settings[key]
		if positive, off := strings.CutPrefix(name, "no_"); off && !args.IsEngineSetting(name) {
			if on, ok := value.(bool); ok { // --no-x: true, as vLLM's own files may have it
				name, value = positive, !on
			}
		}
		// What is a text in the file is read as on the command line.
		if text, ok := value.(string); ok {
			if value, err = args.ParseSetting(name, text); err != nil {
				return Intents{}, fmt.Errorf("%s: %w", quoted(key), err)
			}
		} else if err := args.CheckSetting(name, value); err != nil {
			return Intents{}, fmt.Errorf("%s: %w", quoted(key), err)
		}
		one := newIntents()
		one.add(name, value)
		out = one.Over(out)
	}
	return out, nil
}

// nameOf is a setting's name as vLLM's EngineArgs have it.
func nameOf(s string) (string, error) {
	name := strings.TrimPrefix(strings.TrimSpace(s), "--")
	root, rest, dotted := strings.Cut(name, ".")
	root = strings.ReplaceAll(root, "-", "_")
	valid := root != "" && strings.Trim(root, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" && (!dotted || rest != "")
	if !valid || len(name) > 200 {
		return "", fmt.Errorf("%s is no name of a setting", quoted(s))
	}
	if dotted {
		return canonicalName(root + "." + rest), nil
	}
	return canonicalName(root), nil
}

func quoted(s string) string { return strconv.Quote(args.Clip(s)) }
