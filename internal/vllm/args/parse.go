package args

import (
	"errors"
	"fmt"
)

// parseCommand parses the arguments of a vLLM command that starts an engine. If it does not,
// parseCommand returns nil and the reason. load returns the options of a --config file as
// arguments, like [configFile.load].
func parseCommand(c Command, args []string, load func(file string, hasNo func(flag string) bool) ([]string, error)) (p *Options, reason string) {
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
	flat, err := preprocess(args, func(file string) ([]string, error) {
		if c.Name == "bench" {
			return nil, errors.New("vllm bench does not take a file of options")
		}
		return load(file, func(flag string) bool { return c.Module && options.byFlag[flag] != nil })
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
