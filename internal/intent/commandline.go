package intent

import (
	"github.com/vobs/vobs/internal/vllm/args"
	"maps"
	"slices"
)

// useFlags is the advice for command lines that cannot be read.
const useFlags = "give --intend or --intend-file"

// FromCommandLine returns the engine's settings in a command line.
func FromCommandLine(line args.CommandLine) Intents {
	out := newIntents()
	p := line.Options
	if p == nil {
		out.Reason = line.WhyNoOptions + ": " + useFlags
		return out
	}
	for _, name := range slices.Sorted(maps.Keys(p.Set)) {
		if args.IsEngineSetting(name) {
			out.add(name, p.Set[name])
		}
	}
	for _, u := range p.Unknown {
		out.add(u.Name, u.Value)
	}
	for name, why := range p.Problems {
		if name == "config" || args.IsEngineSetting(name) || !args.IsOption(name) {
			name = canonicalName(name)
			out.drop(name)
			out.Problems[name] = why
		}
	}
	return out
}
