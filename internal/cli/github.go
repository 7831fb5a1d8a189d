package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/github"
)

// githubFlag is the name of the flag that reports results to GitHub Actions.
const githubFlag = "github-summary"

// githubSummaryFlag returns the flag that reports results to GitHub Actions; env are its variables.
func githubSummaryFlag(env ...string) cli.Flag {
	return &cli.StringFlag{Name: githubFlag, Value: string(github.Auto), EnvVars: env, Usage: "`MODE` of reporting to GitHub Actions: auto, in its jobs, appends a table to GITHUB_STEP_SUMMARY and annotates failures; on; off"}
}

// githubStep is the step of GitHub Actions that an action reports to; nil if it reports nothing.
// What cannot be written is a warning.
type githubStep struct {
	*github.Step
	m *messages // on stderr, which takes the annotations too
}

// onGitHub returns an action that reports to the step of GitHub Actions that it runs in. An error
// is annotated, unless the action has annotated one itself.
func onGitHub(action func(*cli.Context, githubStep) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		mode, err := github.ParseMode(cmp.Or(c.String(githubFlag), string(github.Auto)))
		if err != nil {
			return fmt.Errorf("%s: %w", source(c, githubFlag), err)
		}
		stderr := &messageStream{f: os.Stderr}
		step := githubStep{github.Detect(mode, os.Getenv, stderr), &messages{w: stderr, quiet: c.Bool("quiet"), verbose: c.Bool("verbose")}}
		if err = refuseEmpty(c); err == nil {
			err = action(c, step)
		}
		var e *exitError
		if err != nil && !(errors.As(err, &e) && e.cause == nil) && !step.HasError() {
			step.Annotate(github.Annotation{Severity: github.Error, Title: "vobs " + c.Command.Name, Message: err.Error()})
		}
		return err
	}
}

// report appends a result to the summary of the step, and annotates what is wrong with it.
func (s githubStep) report(heading string, markdown func(io.Writer) error, annotations ...github.Annotation) {
	s.Annotate(annotations...)
	s.warn(s.Summarize(heading, markdown))
}

func (s githubStep) warn(err error) {
	if err != nil {
		s.m.warn(err.Error())
	}
}
