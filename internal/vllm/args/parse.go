package args

import (
	"errors"
	"fmt"
	"maps"
	"strings"
)

// parseCommand parses the arguments of a vLLM command that starts an engine. If it does not,
// parseCommand returns nil and the reason.
func parseCommand(c Command, args []string, file *configFile) (p *Options, reason string) {
	name := c.Name
	switch name {
	case "serve", "run-batch":
	case "api_server":
		name = "serve"
	case "bench":
		if len(args) < 2 {
			return nil, "vllm bench does not name which benchmark to run"
		}
		switch name = args[1]; name {
		case "throughput", "latency", "startup", "mm-processor":
		case "serve":
			return nil, "vllm bench serve is a client, whose flags set nothing in the engine"
		case "sweep":
			return nil, "vllm bench sweep starts engines with several settings"
		default:
			return nil, fmt.Sprintf("vobs does not know vllm bench %s", clip(name))
		}
	default:
		return nil, fmt.Sprintf("vllm %s does not start an engine", clip(name))
	}
	if c.Module {
		args = args[1:]
	}
	options := commandOptions()[name]
	problems := map[string]string{}
	flat, err := preprocess(args, func(name string) ([]string, error) {
		if c.Name == "bench" {
			return nil, errors.New("vllm bench does not take a file of options")
		}
		return file.load(name, func(flag string) bool { return c.Module && options.byFlag[flag] != nil })
	})
	if err != nil {
		problems["config"] = err.Error()
	}
	ignored, whyIgnored := file.switchedOff(), ""
	if name, ok := attachedConfig(args); ok && options.byFlag["--config"] != nil {
		whyIgnored = "vLLM does not read the file of --config=FILE: write --config FILE"
		if _, err := file.load(name, anyFlag); err != nil {
			whyIgnored += fmt.Sprintf(" (--config=%s: %v)", clip(name), err)
		}
		ignored = file.options
	}
	if !c.Module {
		flat = flat[1:]
	}
	if c.Name == "bench" {
		flat = flat[1:]
	}
	p = options.parse(flat)
	p.Ignored, p.WhyIgnored = options.ignored(ignored), whyIgnored
	for name, why := range problems {
		p.problem(name, "%s", why)
	}
	// The model is the positional argument of `vllm serve`; the module has only --model.
	if tag, ok := p.Values["model_tag"]; ok {
		delete(p.Values, "model_tag")
		if c.Name == "serve" {
			p.Values["model"] = tag
		}
	}
	if why, ok := p.Problems["model_tag"]; ok && c.Name == "serve" {
		delete(p.Problems, "model_tag")
		p.problem("model", "%s", why)
	}
	delete(p.Values, "config")
	return p, ""
}

// attachedConfig returns the file of --config=FILE. vLLM's parser inserts the options of a
// file only if --config is a word of its own, and nothing else reads the option
// (FlexibleArgumentParser.parse_args).
func attachedConfig(args []string) (file string, ok bool) {
	for _, arg := range args {
		switch value, found := strings.CutPrefix(arg, "--config="); {
		case arg == "--config":
			return "", false
		case found:
			file, ok = value, true
		}
	}
	return file, ok
}

func anyFlag(string) bool { return true }

// ignored returns the settings of a file that vLLM does not apply, by name.
func (g *grammar) ignored(settings object) map[string]any {
	out := map[string]any{}
	args, err := collectDotted(normalizeFlags(configArgs(settings, anyFlag)))
	if err != nil {
		return out
	}
	p := g.parse(args)
	maps.Copy(out, p.Values)
	for _, u := range p.Unknown {
		// --no-NAME is unknown even if NAME is a switch.
		if name, off := strings.CutPrefix(u.Name, "no_"); off && u.Value == false {
			u = UnknownOption{name, true}
		}
		o := g.byFlag["--"+strings.ReplaceAll(u.Name, "_", "-")]
		if o == nil || o.kind == "bool" || o.kind == "true" {
			out[u.Name] = u.Value
		}
	}
	return out
}
