package args

import (
	"fmt"
	"slices"
)

// CommandLine is a parsed command line.
type CommandLine struct {
	// Argv is the whole command line, launchers included.
	Argv []string
	// Command is the vLLM command in it. Its Name is empty if there is none.
	Command Command
	// Role is what the vLLM command does.
	Role Role
	// Args are the words of the vLLM command, from its name on; a module's begin after
	// its name. Those of a server include the options of its --config file, inserted
	// where vLLM inserts them. Args is nil if there is no vLLM command.
	Args []string
	// Options are the options as vLLM's parser reads them. Options is nil, and
	// WhyNoOptions has the reason, if the command sets no options of an engine or if its
	// arguments are unknown.
	Options      *Options
	WhyNoOptions string
}

// Role is what a vLLM command does.
type Role int

const (
	// OtherRole is any other command, of vLLM or not.
	OtherRole Role = iota
	// Server is `vllm serve` or the module of the API server.
	Server
	// OfflineBenchmark is `vllm bench throughput` or `vllm bench latency`: an engine that
	// records its statistics and listens on no port.
	OfflineBenchmark
	// BenchmarkClient is `vllm bench serve`, which sends requests to a server.
	BenchmarkClient
)

// Parse parses a command line. dir is the directory in which the command runs, to which
// the name after --config may be relative; "" is the working directory.
func Parse(argv []string, dir string) CommandLine {
	c := CommandLine{Argv: argv, Command: Locate(argv)}
	if c.Command.Name != "" {
		c.Args = c.Command.words(argv)
		if c.Command.Module {
			c.Args = c.Args[1:]
		}
		c.Role = roleOf(c.Command, c.Args)
	}
	file := configFile{dir: dir, inContainer: c.Command.Container != nil}
	switch {
	case c.Command.Shell != "" && (c.Command.Text || c.Command.Name != "" || len(argv) > 1):
		c.WhyNoOptions = fmt.Sprintf("the command runs through %s, whose script vobs does not read", c.Command.Shell)
	case c.Command.Name == "":
		c.WhyNoOptions = "the command line does not start vLLM"
	default:
		c.Options, c.WhyNoOptions = parseCommand(c.Command, c.Command.words(argv), &file)
	}
	if c.Role == Server && slices.Contains(c.Args, "--config") {
		// The problems in Options include the error.
		c.Args, _ = withConfig(c.Args, func(name string) ([]string, error) {
			return file.load(name, func(string) bool { return false })
		})
	}
	return c
}

func roleOf(c Command, args []string) Role {
	switch {
	case c.IsServer():
		return Server
	case c.Name != "bench" || len(args) < 2:
		return OtherRole
	}
	switch args[1] {
	case "throughput", "latency":
		return OfflineBenchmark
	case "serve":
		return BenchmarkClient
	}
	return OtherRole
}
