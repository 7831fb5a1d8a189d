package intent

import (
	"fmt"
	"github.com/vobs/vobs/internal/vllm/args"
	"maps"
	"slices"
)

// useFlags is what a user can do where the command line does not tell.
const useFlags = "give --intend or --intend-file"

// FromCommandLine reads the engine's settings in a command's arguments, as vLLM
// would. Files that --config names are read, relative to the working directory.
func FromCommandLine(argv []string) Intents {
	out := newIntents()
	c := args.Locate(argv)
	switch {
	case c.Shell != "" && (c.Text || c.Name != "" || len(argv) > 1):
		out.Reason = fmt.Sprintf("the command runs through %s, whose script vobs does not read: %s", c.Shell, useFlags)
		return out
	case c.Name == "":
		out.Reason = "the command line starts no vLLM: " + useFlags
		return out
	}
	p, reason := args.ParseCommand(c, argv[c.At:])
	if reason != "" {
		out.Reason = reason + ": " + useFlags
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
		if name == "config" || args.IsEngineSetting(name) || args.ByFlagName(name) == nil {
			name = canonicalName(name)
			out.drop(name)
			out.Problems[name] = why
		}
	}
	return out
}
