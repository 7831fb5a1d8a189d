package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/check"
	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/internal/github"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "compare the figures of events with limits and SLOs",
		ArgsUsage: "EVENT... (- is stdin)",
		Description: `EVENT is a file with one event or several. NAME is a figure's path in the event, as
gpus.*.peak_bytes, or a short name (see --list). The name of a distribution may end in
.p50, .p90, .p95 (the default) or .p99; the limit is compared with the proven bounds of
that percentile. VALUE has a unit: 70GiB, 500ms, 90%.

Exits with 0 if every limit passed, with 1 if one failed, is undecided or has no figure,
with 2 if something cannot be read. docs/check.md has examples.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "max", Usage: "fail if a figure is above `NAME=VALUE` (repeatable)"},
			&cli.StringSliceFlag{Name: "min", Usage: "fail if a figure is below `NAME=VALUE` (repeatable)"},
			&cli.StringFlag{Name: "slo", Usage: "fail if a latency misses the `SLO`: chat, code, batch, rag or agentic, or targets like ttft=500ms,itl=50ms,e2e=10s; at p95, or with @p50, @p90 or @p99 at the end of either"},
			&cli.StringFlag{Name: "limits", Usage: "read limits from `FILE` (JSON; vobs schema --of limits prints its schema); those of flags take precedence"},
			&cli.BoolFlag{Name: "allow-undecided", Usage: "pass limits that the bounds of a percentile do not decide"},
			&cli.BoolFlag{Name: "allow-missing", Usage: "pass limits whose figure the event does not have"},
			&cli.BoolFlag{Name: "strict-validity", Usage: "fail if the event has a validity note of severity warning or error, if it cannot have any (the core alone), or if its command failed"},
			&cli.StringFlag{Name: "format", Value: string(check.Text), Usage: "`FORMAT` of the result: text, json, markdown or junit"},
			outputFlag(),
			githubSummaryFlag(),
			&cli.BoolFlag{Name: "list", Usage: "list the short names of figures, and exit"},
		},
		Action: onGitHub(checkAction),
	}
}

func checkAction(c *cli.Context, step githubStep) error {
	format, err := check.ParseFormat(cmp.Or(c.String("format"), string(check.Text)))
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	if c.Bool("list") {
		if err := noArguments(c); err != nil {
			return err
		}
		return writeResult(c, func(w io.Writer) error { return check.WriteShortNames(w, format) })
	}
	files, err := filesOf(c)
	if err != nil {
		return err
	}
	options, err := checkOptions(c)
	if err != nil {
		return err
	}
	collectEarly()
	result, err := check.Run(options, files, events.Open)
	if err != nil {
		return err
	}
	if err := writeResult(c, func(w io.Writer) error { return result.Write(w, format) }); err != nil {
		return err
	}
	if step.Step != nil {
		var failures []github.Annotation
		for _, f := range result.Failures() {
			failures = append(failures, github.Annotation{Severity: github.Error, Title: "vobs check: " + f.Title, Message: f.Message})
		}
		step.report("vobs check: "+string(result.Verdict), result.WriteMarkdown, failures...)
	}
	if result.Verdict == check.Passed {
		return nil
	}
	if name := c.String("output"); name != "" {
		return fail(exitProblems, fmt.Errorf("%s: see %s", result.Headline(), name))
	}
	return fail(exitProblems, nil)
}

// checkOptions turns the flags and the limits file into options.
func checkOptions(c *cli.Context) (check.Options, error) {
	spec := check.Spec{SLO: c.String("slo"), Max: c.StringSlice("max"), Min: c.StringSlice("min")}
	if name := c.String("limits"); name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return check.Options{}, fmt.Errorf("limits file: %w", err)
		}
		if spec.File, err = check.ParseFile(text); err != nil {
			return check.Options{}, withHint(fmt.Errorf("limits file %s: %w", name, err), "vobs schema --of limits prints the file's JSON Schema")
		}
	}
	limits, err := spec.Limits()
	if err != nil {
		return check.Options{}, err
	}
	o := check.Options{
		Limits:         limits,
		AllowUndecided: c.Bool("allow-undecided") || spec.File.AllowUndecided,
		AllowMissing:   c.Bool("allow-missing") || spec.File.AllowMissing,
		StrictValidity: c.Bool("strict-validity") || spec.File.StrictValidity,
	}
	if len(limits) == 0 && !o.StrictValidity {
		return o, withHint(errors.New("nothing to check: no limit is given"), "vobs check --max peak_vram=70GiB --slo chat event.json")
	}
	return o, nil
}
