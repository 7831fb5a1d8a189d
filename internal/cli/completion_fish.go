package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// fishHead has the functions that the script needs.
const fishHead = `# fish completion for vobs

# Whether the line is that of a subcommand of vobs, and not yet in the command of run or ab.
function __vobs_in
	set -l tokens (commandline -opc)
	test (count $tokens) -ge 2; and contains -- $tokens[2] $argv; and test (count (__vobs_command)) -eq 0
end
function __vobs_no_subcommand
	test (count (commandline -opc)) -eq 1
end
# The words of the command of vobs run and ab so far, after an empty line; nothing if it has not
# begun.
function __vobs_command
	set -l tokens (commandline -opc)
	contains -- "$tokens[2]" run ab; or return
	set -l begun no
	set -l value no
	set -l words
	set -e tokens[1]
	set -l subcommand $tokens[1]
	set -e tokens[1]
	for token in $tokens
		if test $begun = yes
			set -a words $token
			test $subcommand = ab; and test $token = ---; and set words
		else if test $value = yes
			set value no
		else
			switch $token
				case --
					set begun yes
				case '-*'
					contains -- $token $__vobs_with_value; and set value yes
				case '*'
					set begun yes
					set words $token
			end
		end
	end
	test $begun = yes; or return
	echo
	string join -- \n $words
end
# Whether the next word is the command, or one of its arguments.
function __vobs_in_command
	set -l tokens (commandline -opc)
	test (count $tokens) -ge 2; and contains -- $tokens[2] run ab
	and begin
		test (count (__vobs_command)) -gt 0; or not string match -q -- '-*' (commandline -ct)
	end
end
# The command's own completion.
function __vobs_complete_command
	set -l words (__vobs_command)
	set -e words[1]
	complete -C (string join -- ' ' (string escape -- $words) (commandline -ct))
end

complete -c vobs -f
complete -c vobs -n __vobs_no_subcommand -l help -d 'show help'
complete -c vobs -n __vobs_no_subcommand -l version -d 'print the version'
`

func fishCompletion(app *cli.App) string {
	var b strings.Builder
	b.WriteString(fishHead)
	var withValue []string
	for _, c := range visible(app) {
		fmt.Fprintf(&b, "complete -c vobs -n __vobs_no_subcommand -a %s -d %s\n", c.Name, fishQuote(c.Usage))
		in := "complete -c vobs -n " + fishQuote("__vobs_in "+c.Name)
		for _, f := range ownFlags(c) {
			b.WriteString(in)
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
			case valueIsFile(f):
				b.WriteString(" -r -F")
			case takesValue(f):
				b.WriteString(" -x")
			}
			fmt.Fprintf(&b, " -d %s\n", fishQuote(usageOf(f)))
		}
		fmt.Fprintf(&b, "%s -l help -d 'show help'\n", in)
		switch argumentsOf(c) {
		case commandArguments:
			_, flags := options(c)
			withValue = append(withValue, flags...)
		case fileArguments:
			fmt.Fprintf(&b, "%s -F\n", in)
		case shellArgument:
			fmt.Fprintf(&b, "%s -a %s\n", in, fishQuote(shells))
		}
	}
	fmt.Fprintf(&b, "complete -c vobs -n __vobs_no_subcommand -a %s -d 'show help'\n", helpName)
	fmt.Fprintf(&b, "complete -c vobs -n %s -a %s\n", fishQuote("__vobs_in "+helpName), fishQuote(names(visible(app))))
	fmt.Fprintf(&b, "set -g __vobs_with_value %s\n", strings.Join(slices.Compact(slices.Sorted(slices.Values(withValue))), " "))
	b.WriteString("complete -c vobs -n __vobs_in_command -a '(__vobs_complete_command)'\n")
	return b.String()
}

// fishQuote returns a text as fish reads it: between single quotes nothing is expanded.
func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
