package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// bashHead has the functions that the script needs. It also runs in bash 3.2, macOS's.
const bashHead = `# bash completion for vobs
_vobs_words() {
	COMPREPLY=($(compgen -W "$1" -- "$cur"))
}
_vobs_commands() {
	COMPREPLY=($(compgen -c -- "$cur"))
}
_vobs_files() { # names may hold spaces; bash 3 has no compopt
	local name
	compopt -o filenames 2>/dev/null
	COMPREPLY=()
	while IFS= read -r name; do
		COMPREPLY+=("$name")
	done < <(compgen -f -- "$cur")
}
# readline breaks words at = and : as well. This joins what was typed without a blank between,
# into words, and notes the index in COMP_WORDS at which each begins.
_vobs_split() {
	local line=$COMP_LINE word rest i
	words=() begins=()
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		rest=${line#"${line%%[![:space:]]*}"}
		if ((i > 0)) && [ "$rest" = "$line" ] && [ -n "$line" ] && [ "${line#"$word"}" != "$line" ]; then
			words[${#words[@]}-1]+=$word
		else
			words+=("$word") begins+=("$i")
		fi
		line=${rest#"$word"}
	done
}
# The index in words at which the command of vobs run begins: $1 are the flags with a value.
_vobs_command_index() {
	local i
	for ((i = 2; i < ${#words[@]}; i++)); do
		case " $1 " in *" ${words[i]} "*) ((i++)); continue ;; esac
		case ${words[i]} in
		--) ((i++)); break ;;
		-*) ;;
		*) break ;;
		esac
	done
	command_index=$i
}
# The command's own completion, from the index $1 in words on.
_vobs_of_command() {
	if (($1 >= ${#words[@]} - 1)); then
		_vobs_commands
	elif declare -F _command_offset >/dev/null; then
		_command_offset "${begins[$1]}"
	else
		_vobs_files
	fi
}
_vobs() {
	local cur prev words begins command_index i flag last
	_vobs_split
	last=$((${#words[@]} - 1))
	cur=${words[last]} prev=${words[last - 1]}
	COMPREPLY=()
	if ((last == 1)); then
`

func bashCompletion(app *cli.App) string {
	var b strings.Builder
	b.WriteString(bashHead)
	all := names(visible(app))
	fmt.Fprintf(&b, "\t\t_vobs_words %q\n\t\treturn\n\tfi\n", all+" "+helpName+" --help --version")
	fmt.Fprintf(&b, "\tcase ${words[1]} in\n\t%s) ((last == 2)) && _vobs_words %q ;;\n", helpName, all)
	for _, c := range visible(app) {
		b.WriteString(bashCommand(c))
	}
	b.WriteString(`	esac
	# readline replaces only what follows the last = or :.
	if [[ ${words[last]} == *[=:]* && $cur == *[=:]* ]]; then
		for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do
			COMPREPLY[i]=${COMPREPLY[i]#"${cur%"${cur##*[=:]}"}"}
		done
	fi
}
complete -o default -F _vobs vobs
`)
	return b.String()
}

// bashCommand returns the case of a subcommand.
func bashCommand(c *cli.Command) string {
	var b strings.Builder
	all, withValue := options(c)
	fmt.Fprintf(&b, "\t%s)\n", c.Name)
	if argumentsOf(c) == commandArguments {
		fmt.Fprintf(&b, "\t\t_vobs_command_index %q\n", strings.Join(withValue, " "))
		if c.Name == "ab" {
			b.WriteString(`		for ((i = command_index; i < last; i++)); do # the second command
			[ "${words[i]}" = --- ] && command_index=$((i + 1))
		done
`)
		}
		b.WriteString("\t\tif ((command_index <= last)) && { ((command_index < last)) || [[ $prev == -- || $prev == --- ]]; }; then\n\t\t\t_vobs_of_command \"$command_index\"\n\t\t\treturn\n\t\tfi\n")
	}
	if len(withValue) > 0 {
		// --flag=value is one word here.
		b.WriteString("\t\tflag=$prev\n\t\tcase $cur in --*=*) flag=${cur%%=*} cur=${cur#*=} ;; esac\n\t\tcase $flag in\n")
		for _, f := range ownFlags(c) {
			words := wordsOf(c, f)
			switch {
			case !takesValue(f):
				continue
			case words != nil:
				fmt.Fprintf(&b, "\t\t%s) _vobs_words %q ;;\n", strings.Join(spellings(f), "|"), strings.Join(words, " "))
			case valueIsFile(f):
				fmt.Fprintf(&b, "\t\t%s) _vobs_files ;;\n", strings.Join(spellings(f), "|"))
			default:
				fmt.Fprintf(&b, "\t\t%s) ;;\n", strings.Join(spellings(f), "|"))
			}
		}
		fmt.Fprintf(&b, "\t\t*) case $cur in -*) _vobs_words %q ;; *) %s ;; esac ;;\n\t\tesac\n\t\t;;\n", strings.Join(all, " "), bashArguments(c))
		return b.String()
	}
	fmt.Fprintf(&b, "\t\tcase $cur in -*) _vobs_words %q ;; *) %s ;; esac\n\t\t;;\n", strings.Join(all, " "), bashArguments(c))
	return b.String()
}

// bashArguments returns the bash code that completes an argument of a subcommand.
func bashArguments(c *cli.Command) string {
	switch argumentsOf(c) {
	case commandArguments:
		return "_vobs_commands"
	case shellArgument:
		return fmt.Sprintf("((last == 2)) && _vobs_words %q", shells)
	case fileArguments:
		return "_vobs_files"
	}
	return ":"
}
