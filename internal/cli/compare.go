package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/compare"
	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/internal/github"
	"github.com/vobs/vobs/internal/render"
)

func compareCommand() *cli.Command {
	return &cli.Command{
		Name:      "compare",
		Usage:     "decide whether one set of runs is better than another",
		ArgsUsage: "BASE NEW",
		Description: `BASE and NEW are files of events (JSON or JSON lines), folders of them, or - for stdin.
With --by, all files together are parted by a label.

A noisy metric, such as tokens per second, is a regression if a rank test finds it
significant and the change exceeds its tolerance. That takes several runs on each
side that took turns: see vobs ab. The peak of GPU memory is decided by its tolerance
alone.

Exits with 0 if nothing gated got worse, with 1 if something did, with 2 if the events
cannot be read, with 3 if the runs do not decide it or cannot be compared.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "by", Usage: "part the events of all files by a label: `LABEL=BASE,NEW`"},
			&cli.StringFlag{Name: "history", Usage: "earlier runs in `FILE` (or a folder), to know how far sessions differ by chance and when a metric changed"},
		}, decisionFlags()...),
		Action: onGitHub(compareAction),
	}
}

// decisionFlags returns the flags of compare and ab for the decision and its output.
func decisionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "metric", Usage: "gate the metric `NAME` instead of generation_tokens_per_second, ttft.mean and peak_vram: a short name, a figure's path, or a share of requests as 'ttft<=500ms' (repeatable)"},
		&cli.StringSliceFlag{Name: "ignore", Usage: "compare even if the condition `KEY` differs, as gpus.driver_version or engine.config (repeatable)"},
		&cli.Float64Flag{Name: "alpha", Value: compare.DefaultAlpha, Usage: "how often equal sides may be called different: a `SHARE` above 0 and below 1"},
		&cli.BoolFlag{Name: "allow-inconclusive", Usage: "exit with 0 if the runs do not decide it"},
		&cli.StringFlag{Name: "format", Value: string(render.Text), Usage: "`FORMAT` of the result: text, json, markdown, or csv for the metrics alone"},
		outputFlag(),
		githubSummaryFlag(),
	}
}

// decisionOptions returns what decisionFlags ask for.
func decisionOptions(c *cli.Context) (compare.Options, render.Format, error) {
	opt := compare.Options{Alpha: c.Float64("alpha"), Ignore: c.StringSlice("ignore")}
	format, err := render.ParseFormat(cmp.Or(c.String("format"), string(render.Text)))
	if err != nil {
		return opt, "", fmt.Errorf("--format: %w", err)
	}
	if !(opt.Alpha > 0 && opt.Alpha < 1) {
		return opt, "", fmt.Errorf("--alpha %v: use a share above 0 and below 1, as 0.05", opt.Alpha)
	}
	if err := compare.CheckIgnore(opt.Ignore); err != nil {
		return opt, "", err
	}
	opt.Metrics, err = compare.Select(c.StringSlice("metric"))
	return opt, format, err
}

func compareAction(c *cli.Context, step githubStep) error {
	opt, format, err := decisionOptions(c)
	if err != nil {
		return err
	}
	collectEarly()
	reader := &compare.Reader{Metrics: opt.Metrics}
	base, new, err := readSides(c, reader)
	if err != nil {
		return err
	}
	if file := c.String("history"); file != "" {
		// It may hold the compared runs too.
		if opt.History, err = runsIn(&compare.Reader{Metrics: opt.Metrics}, file); err != nil {
			return fmt.Errorf("--history: %w", err)
		}
	}
	opt.Treatment = compare.FromAB(base) && compare.FromAB(new)
	result := compare.Compare(base, new, opt)
	err = writeResult(c, func(w io.Writer) error { return result.Write(w, format, render.TextOptions{}) })
	if err != nil {
		return err
	}
	verdict := verdictCode(result.Verdict, c.Bool("allow-inconclusive"))
	reportComparison(step, "vobs compare", result, verdict)
	return verdict
}

// reportComparison reports a comparison to GitHub. verdict is the error that it ends with.
func reportComparison(step githubStep, heading string, r *compare.Result, verdict error) {
	a := github.Annotation{Severity: github.Error, Title: heading + ": " + string(r.Verdict), Message: strings.Join(r.Reasons, "; ")}
	switch {
	case verdict == nil && r.Verdict == compare.Inconclusive:
		a.Severity = github.Warning
	case verdict == nil:
		a.Message = ""
	}
	step.report(heading+": "+string(r.Verdict), func(w io.Writer) error { return r.Write(w, render.Markdown, render.TextOptions{}) }, a)
}

// verdictCode returns the exit code of a verdict, as an error.
func verdictCode(v compare.Verdict, allowInconclusive bool) error {
	switch v {
	case compare.Regression, compare.Changed:
		return fail(exitProblems, nil)
	case compare.Inconclusive:
		if !allowInconclusive {
			return fail(exitUndecided, nil)
		}
	case compare.Incomparable:
		return fail(exitUndecided, nil)
	}
	return nil
}

// collectEarly makes the garbage collector run before garbage takes more than a quarter of the
// memory in use, unless GOGC sets another share: an event is garbage once it is reduced to what
// a command needs of it.
func collectEarly() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
}

// readSides reads the runs of both sides.
func readSides(c *cli.Context, reader *compare.Reader) (base, new []*compare.Run, err error) {
	by := c.String("by")
	if by == "" && c.NArg() != 2 {
		return nil, nil, withHint(fmt.Errorf("expected two files or folders, got %d", c.NArg()), "vobs compare BASE NEW, or --by LABEL=BASE,NEW FILE...")
	}
	files, err := filesOf(c)
	if err != nil {
		return nil, nil, err
	}
	if by == "" {
		if base, err = runsIn(reader, files[0]); err == nil {
			new, err = runsIn(reader, files[1])
		}
		return base, new, err
	}
	label, sides, ok := strings.Cut(by, "=")
	baseValue, newValue, two := strings.Cut(sides, ",")
	if !ok || !two || label == "" || baseValue == newValue {
		return nil, nil, withHint(fmt.Errorf("--by %q is not of the form LABEL=BASE,NEW", by), "--by commit=4f1c2d,9ab03e")
	}
	of := map[string][]*compare.Run{}
	for _, name := range files {
		err := eachEvent(name, func(e *events.Event, source string) error {
			value := e.Run.Labels[label]
			if !e.CoreOnly && value != baseValue && value != newValue {
				return nil
			}
			run, err := readRun(reader, e, source)
			of[value] = append(of[value], run)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
	}
	for _, value := range []string{baseValue, newValue} {
		if len(of[value]) == 0 {
			return nil, nil, fmt.Errorf("no event has the label %s=%s", label, value)
		}
	}
	return of[baseValue], of[newValue], nil
}

// runsIn reads the runs of a file, of a folder's files, or of stdin.
func runsIn(reader *compare.Reader, name string) (runs []*compare.Run, err error) {
	err = eachEvent(name, func(e *events.Event, source string) error {
		run, err := readRun(reader, e, source)
		runs = append(runs, run)
		return err
	})
	return runs, err
}

// readRun reads the run of an event.
func readRun(reader *compare.Reader, e *events.Event, source string) (*compare.Run, error) {
	if e.CoreOnly {
		return nil, fmt.Errorf("reading %s: an event has the eight keys of the core alone, which do not show what was compared", source)
	}
	return reader.Read(e.GenerationObservability, source)
}

// eachEvent calls add with each event of a file, of a folder's files, or of stdin, and with the
// file's name.
func eachEvent(name string, add func(e *events.Event, source string) error) error {
	files, err := events.Files(name)
	if err != nil {
		return err
	}
	for _, file := range files {
		in, err := events.Open(file)
		if err != nil {
			return err
		}
		defer in.Close()
		for e, err := range events.Read(in) {
			if err != nil {
				return fmt.Errorf("reading %s: %w", file, err)
			}
			if err := add(e, file); err != nil {
				return err
			}
		}
	}
	return nil
}
