package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// zshCompletion returns a script that can be sourced, and that can be a file _vobs in $fpath.
func zshCompletion(app *cli.App) string {
	var b strings.Builder
	b.WriteString(`#compdef vobs
# zsh completion for vobs

# The arguments of a command; of two commands, the second one begins behind ---.
_vobs_command() {
	local i=${words[(I)---]}
	if [[ $subcommand == ab ]] && (( i && i < CURRENT )); then
		(( CURRENT -= i ))
		shift $i words
	elif [[ $words[1] == -- ]]; then
		(( CURRENT -= 1 ))
		shift words
	fi
	if (( CURRENT == 1 )); then
		_command_names -e
	else
		_normal
	fi
}

_vobs() {
	local curcontext=$curcontext state line
	typeset -A opt_args
	_arguments -C '(- *)--help[show help]' '(- *)--version[print the version]' '1: :->subcommand' '*:: :->arguments'
	case $state in
	subcommand)
		local -a subcommands=(
`)
	for _, c := range visible(app) {
		fmt.Fprintf(&b, "\t\t\t%s\n", shellQuote(c.Name+":"+c.Usage))
	}
	fmt.Fprintf(&b, "\t\t\t%s\n\t\t)\n\t\t_describe -t commands 'subcommand' subcommands\n\t\t;;\n", shellQuote(helpName+":show help"))
	b.WriteString("\targuments)\n\t\tlocal subcommand=$words[1]\n\t\tcase $subcommand in\n")
	fmt.Fprintf(&b, "\t\t%s) _arguments '1:subcommand:(%s)' ;;\n", helpName, names(visible(app)))
	for _, c := range visible(app) {
		fmt.Fprintf(&b, "\t\t%s)\n\t\t\t_arguments %s", c.Name, zshOptions(c))
		for _, f := range ownFlags(c) {
			b.WriteString(" \\\n\t\t\t\t" + zshFlag(c, f))
		}
		b.WriteString(" \\\n\t\t\t\t'(- *)--help[show help]'")
		for _, spec := range zshArguments(c) {
			b.WriteString(" \\\n\t\t\t\t" + spec)
		}
		b.WriteString("\n\t\t\t;;\n")
	}
	b.WriteString(`		esac
		;;
	esac
}

# A file in $fpath is run as the function itself.
if [[ $funcstack[1] == _vobs ]]; then
	_vobs "$@"
else
	(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
	compdef _vobs vobs
fi
`)
	return b.String()
}

// zshOptions returns the options of _arguments for a subcommand: -S, -- ends the flags; -A, the
// first word that is no flag does.
func zshOptions(c *cli.Command) string {
	if argumentsOf(c) == commandArguments {
		return `-S -A '-*'`
	}
	return "-S"
}

// zshFlag returns the specification of a flag for _arguments.
func zshFlag(c *cli.Command, f cli.Flag) string {
	help := "[" + strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(usageOf(f)) + "]"
	value := ""
	if takesValue(f) {
		value = ":" + strings.ReplaceAll(documented(f).Value, ":", `\:`) + ":"
		switch words := wordsOf(c, f); {
		case words != nil:
			value += "(" + strings.Join(words, " ") + ")"
		case valueIsFile(f):
			value += "_files"
		case documented(f).Value == "URL":
			value += "_urls"
		default:
			value += " " // no completion, but a message
		}
	}
	repeat, exclude := "", ""
	if _, isSlice := f.(*cli.StringSliceFlag); isSlice {
		repeat = "*"
	} else if names := spellings(f); len(names) > 1 {
		exclude = "(" + strings.Join(names, " ") + ")"
	}
	var specs []string
	for _, name := range spellings(f) {
		if takesValue(f) && strings.HasPrefix(name, "--") {
			name += "="
		}
		specs = append(specs, shellQuote(exclude+repeat+name+help+value))
	}
	return strings.Join(specs, " ")
}

// zshArguments returns the specifications of a subcommand's arguments for _arguments.
func zshArguments(c *cli.Command) []string {
	switch argumentsOf(c) {
	case commandArguments:
		return []string{`'(-)1:command: _command_names -e'`, `'*::arguments:_vobs_command'`}
	case shellArgument:
		return []string{"'1:shell:(" + shells + ")'"}
	case fileArguments:
		return []string{"'*:file:_files'"}
	}
	return nil
}

// shellQuote quotes a text for a shell: between single quotes nothing is expanded.
func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
