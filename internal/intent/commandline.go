package intent

import (
	"maps"
	"slices"

	"github.com/vobs/vobs/internal/vllm/args"
)

// useFlags is the advice for command lines that cannot be read.
const useFlags = "give --intend or --intend-file"

// FromCommandLine returns the settings of the engine that a command line starts.
func FromCommandLine(line args.CommandLine) Intents {
	out := newIntents()
	options := line.Options
	if options == nil {
		out.Reason = line.WhyNoOptions + ": " + useFlags
		return out
	}
	// What vLLM ignores in a file was intended all the same. The command line takes
	// precedence over it.
	for _, name := range slices.Sorted(maps.Keys(options.Ignored)) {
		if args.IsEngineSetting(name) || !args.IsOption(name) {
			out.add(name, options.Ignored[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(options.Values)) {
		if args.IsEngineSetting(name) {
			out.drop(canonicalName(name))
			out.add(name, options.Values[name])
		}
	}
	for _, u := range options.Unknown {
		out.drop(canonicalName(u.Name))
		out.add(u.Name, u.Value)
	}
	if options.WhyIgnored != "" {
		out.Problems["config"] = options.WhyIgnored
	}
	for name, why := range options.Problems {
		if name == "config" || args.IsEngineSetting(name) || !args.IsOption(name) {
			name = canonicalName(name)
			out.drop(name)
			out.Problems[name] = why
		}
	}
	return out
}
