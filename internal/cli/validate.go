package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/schema"
)

func validateCommand() *cli.Command {
	return &cli.Command{
		Name:      "validate",
		Usage:     "check events: full, core or log records, one document or JSON lines",
		ArgsUsage: "FILE... (- is stdin)",
		Description: `Prints the line, the path and the reason of each problem. Exits with 0 if every event
is valid, with 1 if one is not, with 2 if a file cannot be read.`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "strict", Usage: "unknown keys are errors instead of warnings, and every null needs a reason"}},
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return fail(exitUsage, withHint(fmt.Errorf("no file to check"), "vobs validate FILE..., or - for stdin"))
			}
			code := exitOK
			for _, name := range c.Args().Slice() {
				code = max(code, validate(c, name))
			}
			if code != exitOK {
				return fail(code, nil)
			}
			return nil
		},
	}
}

// validate checks one file, prints its problems and returns the exit code.
func validate(c *cli.Context, name string) int {
	m := messages{w: c.App.ErrWriter}
	in, err := events.Open(name)
	if err != nil {
		m.error(err)
		return exitUsage
	}
	defer in.Close()
	code := exitOK
	n, err := events.Validate(in, schema.Options{Strict: c.Bool("strict")}, func(p schema.Problem) {
		fmt.Fprintf(c.App.Writer, "%s:%s\n", name, p)
		if !p.Warning {
			code = exitProblems
		}
	})
	if err != nil {
		m.error(fmt.Errorf("reading %s: %w", name, err))
		return exitUsage
	}
	if code == exitOK {
		fmt.Fprintf(c.App.Writer, "%s: %d valid\n", name, n)
	}
	return code
}
