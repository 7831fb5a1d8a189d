package args

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/vllm"
)

// Command is a vLLM command inside a command line.
type Command struct {
	// At is the index of its first word: the subcommand of `vllm`, or the module. If these
	// are a container's entry point, it is the index of the word after the image.
	At int
	// Name is serve, api_server (the module of that name), bench, run-batch, launch or
	// another subcommand of `vllm`; "" if there is no vLLM.
	Name string
	// Module is set if Python runs the command as a module (python -m vllm.entrypoints…).
	Module bool
	// Shell is the name of the shell before it, or "". What the shell's script does to the
	// arguments is unknown.
	Shell string
	// Text is set if the shell's program is an argument (sh -c).
	Text bool
	// Container is the container that the command runs in; nil if it runs on the host.
	Container *Container

	// entry are the words of a container's entry point that precede those from At on.
	entry []string
}

// words returns the words of the command from its name on; argv is the command line that it
// was found in.
func (c Command) words(argv []string) []string { return slices.Concat(c.entry, argv[c.At:]) }

// IsServer reports whether the command is a vLLM server.
func (c Command) IsServer() bool { return c.Name == "serve" || c.Name == "api_server" }

// commands are the subcommands of vllm (vllm/entrypoints/cli/main.py).
var commands = []string{"serve", "bench", "run-batch", "launch", "chat", "complete", "collect-env", "preload", "download-kernels", "snapshot"}

// valueFlags are options of launchers and clients whose value may be the word vllm, which is
// then not the program.
var valueFlags = []string{"--with", "--with-editable", "--from", "--package", "--extra", "--group", "-p", "-n", "--name", "--job-name", "-J", "--backend", "--engine"}

// Locate finds vLLM in a command line, after any launcher (env, nice, numactl, uv run, srun,
// torchrun): `vllm` followed by one of its subcommands, or -m followed by a module of
// vllm.entrypoints. In `docker run` it looks behind the image. It does not look into the
// text of `sh -c`.
func Locate(args []string) Command {
	if run, ok := findContainerRun(args); ok {
		if c := run.locate(args); c.Name != "" || c.Shell != "" {
			return c
		}
		return Command{}
	}
	return locateWords(args)
}

// locateWords is [Locate] in the words of one command.
func locateWords(args []string) Command {
	var c Command
	for i, arg := range args {
		next := ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		if module, ok := moduleAt(arg, next); ok {
			if module == "" {
				continue
			}
			c.At, c.Name, c.Module = i+1, module, true
			if arg != "-m" && arg != "--module" {
				c.At = i
			}
			if module == "vllm" { // the module of the program vllm
				if c.At+1 >= len(args) {
					return Command{Shell: c.Shell}
				}
				c.At, c.Name, c.Module = c.At+1, args[c.At+1], false
			}
			return c
		}
		switch base := filepath.Base(arg); {
		case (base == "vllm" || base == "vllm-omni") && slices.Contains(commands, next) && !(i > 0 && slices.Contains(valueFlags, args[i-1])):
			c.At, c.Name = i+1, next
			return c
		case c.Shell == "" && isShell(base) && (i == 0 || !slices.Contains(valueFlags, args[i-1])):
			c.Shell = base
			if strings.HasPrefix(next, "-") && !strings.HasPrefix(next, "--") && strings.Contains(next, "c") {
				return Command{Shell: base, Text: true} // the rest is a program, not arguments
			}
		}
	}
	return Command{Shell: c.Shell}
}

func isShell(base string) bool {
	switch base {
	case "sh", "bash", "dash", "zsh", "ksh", "ash", "fish":
		return true
	}
	return false
}

// moduleAt reads -m MODULE, -mMODULE and torchrun's --module MODULE. ok reports whether
// MODULE is one of vLLM's; name is the command that it runs, or "".
func moduleAt(arg, next string) (name string, ok bool) {
	module := next
	if attached, found := strings.CutPrefix(arg, "-m"); found && strings.HasPrefix(attached, "vllm.") {
		module = attached
	} else if arg != "-m" && arg != "--module" {
		return "", false
	}
	if !strings.HasPrefix(module, vllm.ModulePrefix) && !strings.HasPrefix(module, vllm.OmniModulePrefix) {
		return "", false
	}
	switch last := module[strings.LastIndexByte(module, '.')+1:]; {
	case strings.HasSuffix(last, "api_server"), strings.HasSuffix(module, "api_server.entry"):
		return "api_server", true
	case last == "run_batch":
		return "run-batch", true
	case strings.HasSuffix(module, "cli.main"):
		return "vllm", true
	}
	return "", true
}
