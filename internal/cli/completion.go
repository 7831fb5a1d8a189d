package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// shells are the shells for which there is a script.
const shells = "bash zsh fish"

// completionCommand prints scripts made from the app's own flags. They do not call
// vobs while a user types, as urfave/cli's do: its --generate-bash-completion at the
// end of the line would be taken away from a command that has such a flag.
func completionCommand(app *cli.App) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for a shell",
		ArgsUsage: strings.ReplaceAll(shells, " ", "|"),
		Description: `bash: source <(vobs completion bash)
zsh:  source <(vobs completion zsh)
fish: vobs completion fish | source`,
		Action: func(c *cli.Context) error {
			scripts := map[string]func(*cli.App) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
			script, ok := scripts[c.Args().First()]
			if !ok || c.NArg() != 1 {
				return fail(exitUsage, withHint(fmt.Errorf("no completion for shell %q", c.Args().First()), "vobs completion bash, zsh or fish"))
			}
			_, err := fmt.Fprint(c.App.Writer, script(app))
			return err
		},
	}
}

// visible returns the subcommands that help shows.
func visible(app *cli.App) []*cli.Command {
	var out []*cli.Command
	for _, c := range app.Commands {
		if !c.Hidden {
			out = append(out, c)
		}
	}
	return out
}

// names returns the names of subcommands, separated by spaces.
func names(commands []*cli.Command) string {
	var out []string
	for _, c := range commands {
		out = append(out, c.Name)
	}
	return strings.Join(out, " ")
}

// spellings returns the names of a flag with their dashes.
func spellings(f cli.Flag) []string {
	var out []string
	for _, name := range f.Names() {
		if len(name) == 1 {
			out = append(out, "-"+name)
		} else {
			out = append(out, "--"+name)
		}
	}
	return out
}

func takesValue(f cli.Flag) bool {
	_, isBool := f.(*cli.BoolFlag)
	return !isBool
}

// ownFlags returns the flags of a subcommand without --help, which urfave/cli adds once the
// subcommand runs.
func ownFlags(c *cli.Command) []cli.Flag {
	return slices.DeleteFunc(slices.Clone(c.Flags), func(f cli.Flag) bool { return f == cli.HelpFlag })
}

// options returns the flags of a subcommand with their dashes.
func options(c *cli.Command) (all, withValue []string) {
	for _, f := range ownFlags(c) {
		all = append(all, spellings(f)...)
		if takesValue(f) {
			withValue = append(withValue, spellings(f)...)
		}
	}
	return append(all, "--help"), withValue
}

// valueIsFile reports whether a flag's value is the name of a file.
func valueIsFile(f cli.Flag) bool {
	switch documented(f).Value {
	case "FILE", "DIR", "DIRECTORY", "FOLDER":
		return true
	}
	return false
}

// argumentKind is what the arguments of a subcommand are.
type argumentKind int

const (
	noArgument       argumentKind = iota
	commandArguments              // a command and its arguments, after the first word that is no flag
	fileArguments
	shellArgument // the name of a shell
	otherArguments
)

// argumentsOf returns what the arguments of a subcommand are.
func argumentsOf(c *cli.Command) argumentKind {
	switch {
	case strings.Contains(c.ArgsUsage, "COMMAND"):
		return commandArguments
	case c.Name == "completion":
		return shellArgument
	case strings.Contains(c.ArgsUsage, "FILE"), strings.Contains(c.ArgsUsage, "EVENT"), strings.Contains(c.ArgsUsage, "BASE"):
		return fileArguments
	case c.ArgsUsage == "":
		return noArgument
	}
	return otherArguments
}

// usageOf returns a flag's usage text for a menu: without its backquotes and its variable.
func usageOf(f cli.Flag) string { return strings.ReplaceAll(documented(f).Meaning, "`", "") }
