package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/github"
)

// notPassedOn are flags of run that ab has in its own way.
var notPassedOn = []string{"output", "append", "label", "schema", "summary", "quiet", "verbose", "wandb-run-id", githubFlag}

// passedOn returns the flags of run that every run gets.
func passedOn() []cli.Flag {
	return slices.DeleteFunc(runCommand().Flags, func(f cli.Flag) bool { return slices.Contains(notPassedOn, f.Names()[0]) })
}

// flagsForRun returns the flags of run that were given.
func flagsForRun(c *cli.Context) []string {
	var out []string
	for _, f := range passedOn() {
		name := f.Names()[0]
		if !c.IsSet(name) {
			continue
		}
		switch f.(type) {
		case *cli.BoolFlag:
			out = append(out, fmt.Sprintf("--%s=%t", name, c.Bool(name)))
		case *cli.StringSliceFlag:
			for _, v := range c.StringSlice(name) {
				out = append(out, "--"+name+"="+v)
			}
		case *cli.DurationFlag:
			out = append(out, "--"+name+"="+c.Duration(name).String())
		default:
			out = append(out, "--"+name+"="+c.String(name))
		}
	}
	out = append(out, "--"+githubFlag+"="+string(github.Off)) // ab reports for all of them
	if !c.Bool("verbose") {
		out = append(out, "--quiet")
	}
	return append(out, "--schema=full") // whatever VOBS_SCHEMA is
}
