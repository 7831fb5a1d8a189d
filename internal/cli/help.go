package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/spelling"
)

// helpName is the word that prints help. It is not a subcommand of urfave/cli, which
// would add it to every subcommand: `vobs run -- help` runs a command called help.
const helpName = "help"

// showHelp prints what --help prints, of vobs itself if name is "".
func showHelp(c *cli.Context, name string) error {
	if name == "" || name == helpName {
		return cli.ShowAppHelp(c)
	}
	if c.App.Command(name) == nil {
		return unknownSubcommand(c.App, []string{name})
	}
	return cli.ShowCommandHelp(c, name)
}

// unknownSubcommand returns the error about args[0], with the nearest subcommand as a
// hint. If none is near, args may be a command to run.
func unknownSubcommand(app *cli.App, args []string) error {
	hint := "to run a command: vobs run -- " + strings.Join(args, " ")
	if name := nearest(app, args[0]); name != "" {
		hint = "did you mean vobs " + name + "?"
	}
	return fail(exitUsage, withHint(fmt.Errorf("unknown subcommand %q", args[0]), hint))
}

// nearest returns the subcommand that word begins or differs from in at most two
// letters, or "".
func nearest(app *cli.App, word string) string {
	best, least := "", 3
	for _, name := range append(strings.Fields(names(visible(app))), helpName) {
		d := spelling.Distance(word, name)
		if len(word) > 1 && strings.HasPrefix(name, word) {
			d = 0
		}
		if d < least && d < len(name)-1 {
			best, least = name, d
		}
	}
	return best
}
