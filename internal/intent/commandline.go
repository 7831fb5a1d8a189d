package intent

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// useFlags is what a user can do where the command line does not tell.
const useFlags = "give --intend or --intend-file"

// FromCommandLine reads the engine's settings in a command's arguments, as vLLM
// would. Files that --config names are read, relative to the working directory.
func FromCommandLine(args []string) Intents {
	out := newIntents()
	c := Find(args)
	switch {
	case c.Shell != "" && (c.Text || c.Name != "" || len(args) > 1):
		out.Reason = fmt.Sprintf("the command runs through %s, whose script vobs does not read: %s", c.Shell, useFlags)
		return out
	case c.Name == "":
		out.Reason = "the command line starts no vLLM: " + useFlags
		return out
	}
	p, reason := parseCommand(c, args[c.At:])
	if reason != "" {
		out.Reason = reason
		return out
	}
	for _, name := range slices.Sorted(maps.Keys(p.set)) {
		if isEngine(name) {
			out.add(name, p.set[name])
		}
	}
	for _, u := range p.unknown {
		out.add(u.name, u.value)
	}
	for name, why := range p.problems {
		if name == "config" || isEngine(name) || byFlagName(name) == nil {
			name = canonicalName(name)
			out.drop(name)
			out.Problems[name] = why
		}
	}
	return out
}

// WithFile gives the arguments of a vLLM command from its name on, with the options of
// the file that --config names put in as vLLM does; a relative name is looked for in
// dir, "" for the working directory. Where the file cannot be read, nothing is put in.
func WithFile(c Command, args []string, dir string) []string {
	args = args[c.At:]
	if c.Module {
		args = args[1:]
	}
	if !slices.Contains(args, "--config") {
		return args
	}
	args, _ = withConfig(args, func(file string) ([]string, error) {
		if dir != "" && !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		return loadConfig(file, func(string) bool { return false })
	})
	return args
}

func isEngine(name string) bool { return byName()[name] != nil }

// byFlagName finds an option of any command by the name that it sets.
func byFlagName(name string) *option {
	for _, p := range table() {
		if o := p.byFlag["--"+strings.ReplaceAll(name, "_", "-")]; o != nil {
			return o
		}
	}
	return nil
}

// parseCommand reads the arguments of a vLLM command that makes an engine; a
// reason instead where it makes none, or none by these arguments.
func parseCommand(c Command, args []string) (p *parsed, reason string) {
	name := c.Name
	switch name {
	case "serve", "run-batch":
	case "api_server":
		name = "serve"
	case "bench":
		if len(args) < 2 {
			return nil, "vllm bench is not told which benchmark to run"
		}
		switch name = args[1]; name {
		case "throughput", "latency", "startup", "mm-processor":
		case "serve":
			return nil, "vllm bench serve is a client, its flags set nothing in the engine: " + useFlags
		case "sweep":
			return nil, "vllm bench sweep starts engines of several settings: " + useFlags
		default:
			return nil, fmt.Sprintf("vobs does not know vllm bench %s: %s", clip(name), useFlags)
		}
	default:
		return nil, fmt.Sprintf("vllm %s makes no engine: %s", clip(name), useFlags)
	}
	if c.Module {
		args = args[1:]
	}
	options := table()[name]
	problems := map[string]string{}
	flat, err := flexible(args, func(file string) ([]string, error) {
		if c.Name == "bench" {
			return nil, errors.New("vllm bench takes no file of options")
		}
		return loadConfig(file, func(flag string) bool { return c.Module && options.byFlag[flag] != nil })
	})
	if err != nil {
		problems["config"] = err.Error()
	}
	if !c.Module {
		flat = flat[1:]
	}
	if c.Name == "bench" {
		flat = flat[1:]
	}
	p = options.parse(flat)
	for name, why := range problems {
		p.problem(name, "%s", why)
	}
	// The model: `vllm serve` has it in front, the module by --model alone.
	if tag, ok := p.set["model_tag"]; ok {
		delete(p.set, "model_tag")
		if c.Name == "serve" {
			p.set["model"] = tag
		}
	}
	if why, ok := p.problems["model_tag"]; ok && c.Name == "serve" {
		delete(p.problems, "model_tag")
		p.problem("model", "%s", why)
	}
	delete(p.set, "config")
	return p, ""
}
