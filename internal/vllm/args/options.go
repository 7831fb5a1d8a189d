package args

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

// optionsTable is written by testdata/record.py from vLLM 0.32.0's own parsers. Its second
// line names the columns.
//
//go:embed options.tsv
var optionsTable string

// option is one option of a vLLM command, or its positional argument.
type option struct {
	// flags are its spellings in argparse; none for a positional argument.
	flags []string
	// name is the attribute that it sets, a field of EngineArgs for an engine's setting.
	name string
	// nargs is argparse's: "" for one value, ?, +, *, a number, or 0 for none.
	nargs string
	// kind is the type: str, int, human (8k), humanauto, float, json, config (JSON with
	// human-readable integers), dictstr, lower, csv, bool (--x and --no-x), true, false,
	// flagstr (a value or none), append, ends (--help), other. After a ?, "" and None are no
	// value.
	kind string
	// choices are the accepted values; nil for any.
	choices []string
	// engine is set for settings of the engine, not of the server or the benchmark.
	engine bool
}

// grammar holds the options of one command.
type grammar struct {
	byFlag     map[string]*option
	flags      []string
	positional *option
}

// commandOptions returns the options by command. The first call reads the table.
var commandOptions = sync.OnceValue(func() map[string]*grammar {
	out := map[string]*grammar{}
	for line := range strings.Lines(optionsTable) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 7 || line[0] == '#' {
			continue
		}
		o := &option{name: f[2], nargs: f[3], kind: f[4], engine: f[6] != ""}
		if f[1] != "-" {
			o.flags = strings.Fields(f[1])
		}
		if f[5] != "" {
			o.choices = strings.Split(f[5], "|")
		}
		for _, command := range strings.Split(f[0], ",") {
			g := out[command]
			if g == nil {
				g = &grammar{byFlag: map[string]*option{}}
				out[command] = g
			}
			if len(o.flags) == 0 {
				g.positional = o
			}
			for _, flag := range o.flags {
				g.byFlag[flag] = o
				g.flags = append(g.flags, flag)
			}
		}
	}
	return out
})

// IsOption reports whether any vLLM command has an option of this name.
func IsOption(name string) bool {
	for _, g := range commandOptions() {
		if g.byFlag["--"+strings.ReplaceAll(name, "_", "-")] != nil {
			return true
		}
	}
	return false
}

// secretOptions are the options whose values are secrets: the keys that clients need, and the
// token for the Hugging Face Hub.
var secretOptions = []string{"--api-key", "--hf-token"}

// IsSecretOption reports whether a vLLM option of this name has a secret for its value.
func IsSecretOption(name string) bool {
	return slices.Contains(secretOptions, "--"+strings.ReplaceAll(name, "_", "-"))
}

// IsSecretFlag reports whether a vLLM command reads this flag, which may be abbreviated, as
// that of a secret. A value after = is ignored.
func (c Command) IsSecretFlag(flag string) bool {
	name, _, _ := strings.Cut(flag, "=")
	if len(name) < 3 || !strings.HasPrefix(name, "--") || c.Name == "" {
		return false
	}
	name = strings.ReplaceAll(name, "_", "-")
	return slices.ContainsFunc(secretOptions, func(secret string) bool {
		if !strings.HasPrefix(secret, name) {
			return false
		}
		// Abbreviations stand for one option only.
		others := func(other string) bool { return other != secret && strings.HasPrefix(other, name) }
		return name == secret || !slices.ContainsFunc(commandOptions()["serve"].flags, others)
	})
}

// IsShortFlag reports whether a vLLM command has this flag with one dash, such as -tp.
func IsShortFlag(flag string) bool {
	for _, g := range commandOptions() {
		if !strings.HasPrefix(flag, "--") && g.byFlag[flag] != nil {
			return true
		}
	}
	return false
}

// IsEngineSetting reports whether vLLM 0.32 has a setting of the engine, a field of
// EngineArgs, of this name.
func IsEngineSetting(name string) bool { return engineOptions()[name] != nil }

// engineOptions returns the options that are settings of the engine, by name.
var engineOptions = sync.OnceValue(func() map[string]*option {
	out := map[string]*option{}
	for _, o := range commandOptions()["serve"].byFlag {
		if o.engine {
			out[o.name] = o
		}
	}
	return out
})
