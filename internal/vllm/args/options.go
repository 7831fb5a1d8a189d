package args

import (
	_ "embed"
	"strings"
	"sync"
)

// optionsTable is made by testdata/record.py from vLLM 0.32.0's own parsers; its
// second line tells the columns.
//
//go:embed options.tsv
var optionsTable string

// option is one option of a vLLM command, or its positional argument.
type option struct {
	// flags are its spellings as argparse has them; none for a positional.
	flags []string
	// name is the attribute that it sets, by which vLLM's EngineArgs knows it.
	name string
	// nargs is argparse's: "" one value, ? + * or 0 none.
	nargs string
	// kind is the type: str, int, human (8k), humanauto, float, json, config (JSON
	// with human numbers), dictstr, lower, csv, bool (--x and --no-x), true, false,
	// flagstr (a value or none), append, ends, other. A ? in front: "" and None are
	// no value.
	kind string
	// choices are the values that are taken; nil for any.
	choices []string
	// engine says that it is a setting of the engine, not of the server or the benchmark.
	engine bool
}

// grammar is the options of one command.
type grammar struct {
	byFlag     map[string]*option
	flags      []string
	positional *option
}

// commandOptions is the options by command. It is read when the first vLLM command is.
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
			p := out[command]
			if p == nil {
				p = &grammar{byFlag: map[string]*option{}}
				out[command] = p
			}
			if len(o.flags) == 0 {
				p.positional = o
			}
			for _, flag := range o.flags {
				p.byFlag[flag] = o
				p.flags = append(p.flags, flag)
			}
		}
	}
	return out
})

// OptionByName finds an engine's setting by its name.
var OptionByName = sync.OnceValue(func() map[string]*option {
	out := map[string]*option{}
	for _, o := range commandOptions()["serve"].byFlag {
		if o.engine {
			out[o.name] = o
		}
	}
	return out
})
