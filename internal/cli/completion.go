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

// options returns the flags of a subcommand with their dashes.
func options(c *cli.Command) (all, withValue []string) {
	for _, f := range c.Flags {
		all = append(all, spellings(f)...)
		if takesValue(f) {
			withValue = append(withValue, spellings(f)...)
		}
	}
	if !slices.Contains(all, "--help") { // urfave/cli adds it once the subcommand runs
		all = append(all, "--help")
	}
	return all, withValue
}

func bashCompletion(app *cli.App) string {
	var b strings.Builder
	b.WriteString(`# bash completion for vobs
_vobs_words() {
	COMPREPLY=($(compgen -W "$1" -- "$cur"))
}
_vobs_files() { # names may hold spaces; bash 3 and zsh have no compopt
	local name
	compopt -o filenames 2>/dev/null
	COMPREPLY=()
	while IFS= read -r name; do
		COMPREPLY+=("$name")
	done < <(compgen -f -- "$cur")
}
_vobs() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		_vobs_words "` + names(visible(app)) + ` ` + helpName + ` --help --version"
		return
	fi
	case ${COMP_WORDS[1]} in
	` + helpName + `) [ "$COMP_CWORD" -eq 2 ] && _vobs_words "` + names(visible(app)) + `" ;;
`)
	for _, c := range visible(app) {
		all, withValue := options(c)
		fmt.Fprintf(&b, "\t%s)\n", c.Name)
		if c.Name == "run" {
			fmt.Fprintf(&b, `		for ((i = 2; i < COMP_CWORD; i++)); do
			case ${COMP_WORDS[i]} in
			%s) ((i++)) ;;
			--) ((i++)); break ;;
			-*) ;;
			*) break ;;
			esac
		done
		if ((i < COMP_CWORD)) || [ "$prev" = "--" ]; then
			# the command's own arguments
			if [ "$prev" = "--" ] || ((i == COMP_CWORD)); then
				COMPREPLY=($(compgen -c -- "$cur"))
			elif declare -F _command_offset >/dev/null; then
				_command_offset "$i"
			else
				_vobs_files
			fi
			return
		fi
`, strings.Join(withValue, "|"))
		}
		if len(withValue) > 0 {
			fmt.Fprintf(&b, "\t\tcase $prev in %s) %s return ;; esac\n", strings.Join(withValue, "|"), bashValues(c))
		}
		fmt.Fprintf(&b, "\t\tcase $cur in -*) _vobs_words %q ;; *) %s ;; esac\n\t\t;;\n", strings.Join(all, " "), bashArguments(c))
	}
	b.WriteString("\tesac\n}\ncomplete -o default -F _vobs vobs\n")
	return b.String()
}

// bashArguments returns the bash code that completes an argument of a subcommand.
func bashArguments(c *cli.Command) string {
	switch {
	case c.Name == "run":
		return `COMPREPLY=($(compgen -c -- "$cur"))`
	case c.Name == "completion":
		return fmt.Sprintf(`[ "$COMP_CWORD" -eq 2 ] && _vobs_words %q`, shells)
	case c.ArgsUsage == "":
		return ":"
	}
	return "_vobs_files"
}

// bashValues returns the bash code that completes the value of the flag in $prev: with
// the flag's words if it takes words, otherwise with files.
func bashValues(c *cli.Command) string {
	var b strings.Builder
	b.WriteString("case $prev in ")
	for _, f := range c.Flags {
		if words := wordsOf(c, f); words != nil {
			fmt.Fprintf(&b, `%s) _vobs_words %q ;; `, strings.Join(spellings(f), "|"), strings.Join(words, " "))
		}
	}
	b.WriteString(`*) _vobs_files ;; esac;`)
	return b.String()
}

func zshCompletion(app *cli.App) string {
	// zsh can run bash's completion scripts.
	return "# zsh completion for vobs\nautoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + bashCompletion(app)
}

func fishCompletion(app *cli.App) string {
	var b strings.Builder
	b.WriteString("# fish completion for vobs\ncomplete -c vobs -f\n")
	for _, c := range visible(app) {
		fmt.Fprintf(&b, "complete -c vobs -n __fish_use_subcommand -a %s -d %s\n", c.Name, fishQuote(c.Usage))
		for _, f := range c.Flags {
			usage := ""
			if d, ok := f.(cli.DocGenerationFlag); ok {
				usage, _, _ = strings.Cut(strings.ReplaceAll(d.GetUsage(), "`", ""), " [$VOBS_")
			}
			fmt.Fprintf(&b, "complete -c vobs -n '__fish_seen_subcommand_from %s'", c.Name)
			for _, name := range f.Names() {
				if len(name) == 1 {
					fmt.Fprintf(&b, " -s %s", name)
				} else {
					fmt.Fprintf(&b, " -l %s", name)
				}
			}
			switch words := wordsOf(c, f); {
			case words != nil:
				fmt.Fprintf(&b, " -x -a %q", strings.Join(words, " "))
			case takesValue(f):
				b.WriteString(" -r -F")
			}
			fmt.Fprintf(&b, " -d %s\n", fishQuote(usage))
		}
		if c.Name == "check" || c.Name == "compare" || c.Name == "diagnose" || c.Name == "trace" || c.Name == "validate" || c.Name == "scrape" || c.Name == "wandb" {
			fmt.Fprintf(&b, "complete -c vobs -n '__fish_seen_subcommand_from %s' -F\n", c.Name)
		}
	}
	fmt.Fprintf(&b, "complete -c vobs -n '__fish_seen_subcommand_from completion' -a %s\n", fishQuote(shells))
	b.WriteString("complete -c vobs -n '__fish_seen_subcommand_from run' -xa '(__fish_complete_subcommand --fcs-skip=2)'\n")
	return b.String()
}

// fishQuote returns a text as fish reads it: between single quotes nothing is expanded.
func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
