package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/ab"
	"github.com/vobs/vobs/internal/bracket"
	"github.com/vobs/vobs/internal/compare"
	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/schema"
)

func abCommand() *cli.Command {
	return &cli.Command{
		Name:      "ab",
		Usage:     "run two commands in turn and decide which is better",
		ArgsUsage: "[--] COMMAND_A... --- COMMAND_B...",
		Description: `Each command is run by a vobs run of its own, --pairs times, in the order ABBA, so
that whatever drifts on the machine affects both alike. The events are compared as by
vobs compare, in pairs. What the two command lines differ in is what is compared.

The commands read nothing from stdin, and their output goes to stderr.

With --same, one command is run on both sides: how much each metric varies on this
machine, and which change as many pairs would find.

Exits as vobs compare does, and with 4 if a command fails.`,
		Flags: slices.Concat([]cli.Flag{
			&cli.IntFlag{Name: "pairs", Aliases: []string{"n"}, Value: 10, Usage: "run each command `N` times"},
			&cli.StringFlag{Name: "append", Usage: "append every event to `FILE`, labelled with ab.side, ab.pair and ab.position"},
			&cli.StringSliceFlag{Name: "label", Usage: "label every event with `NAME=VALUE` (repeatable) [$VOBS_LABEL]"},
			&cli.StringFlag{Name: "order", Value: string(ab.ABBA), Usage: "`ORDER` within pairs: abba (A first in odd pairs, B first in even ones) or random"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "`SEED` of the random order"},
			&cli.IntFlag{Name: "warmup", Usage: "run each command `N` times first, without counting it"},
			&cli.StringFlag{Name: "settle", Usage: "wait between two runs: a `TIME` as 5s, idle for idle GPUs, or a temperature that they must not exceed either, as 60C"},
			&cli.StringSliceFlag{Name: "reset-prefix-cache", Usage: "empty the prefix cache of the vLLM server at `URL` before each run; it needs VLLM_SERVER_DEV_MODE=1 (repeatable)"},
			&cli.BoolFlag{Name: "keep-going", Usage: "go on after a command that fails, and leave its pair out"},
			&cli.BoolFlag{Name: "same", Usage: "run one command on both sides: the noise of this machine"},
			&cli.StringFlag{Name: "separator", Value: "---", Usage: "`WORD` between the two commands"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show the warnings and the summary of every run"},
		}, decisionFlags(), passedOn()),
		Action: onGitHub(abAction),
	}
}

func abAction(c *cli.Context, step githubStep) error {
	m := &messages{w: os.Stderr}
	opt, format, err := decisionOptions(c)
	if err != nil {
		return err
	}
	opt.Treatment = true
	run, err := abOptions(c, m, opt)
	if err != nil {
		return err
	}
	ctx, stop := bracket.UntilSignal()
	defer stop()
	pairs := ab.NewPairs(opt.Metrics)
	left := map[ab.Side]bool{}
	run.Done = func(step ab.Step, e *schema.GenerationObservability) {
		if len(e.Run.Leftovers) > 0 && !left[step.Side] {
			left[step.Side] = true
			m.warn(fmt.Sprintf("the command of side %s leaves %s behind, such as %q: they run beside the next runs, unless --kill-leftovers ends them",
				step.Side, render.Count(len(e.Run.Leftovers), "process"), e.Run.Leftovers[0].Command))
		}
		pairs.Add(step, e)
	}
	failures := 0
	run.Failed = func(err *ab.FailedError) {
		failures++
		m.warn(err.Error() + ": its pair does not count")
	}
	run.Waiting = func(why string) { m.line("waiting: " + why) }
	runErr := ab.Run(ctx, *run)
	base, new := pairs.Complete()
	code, failed := exitOK, (*ab.FailedError)(nil)
	switch {
	case errors.Is(runErr, ab.ErrStopped):
		code, runErr = exitInterrupt, nil
		m.warn(fmt.Sprintf("stopped after %d of %d pairs", len(base), c.Int("pairs")))
	case errors.As(runErr, &failed):
		code = exitFailed
		runErr = withHint(runErr, "--keep-going goes on after a command that fails")
	case runErr != nil:
		return runErr
	}
	if code == exitOK && failures > 0 && len(base) == 0 {
		code = exitFailed
	}
	if len(base) == 0 {
		return fail(max(code, exitUndecided), errors.Join(runErr, errors.New("no pair is complete, so that there is nothing to compare")))
	}
	var verdict error
	write := func(w io.Writer) error {
		return compare.WriteNoise(w, compare.NoiseOf(base, new, opt), format, render.TextOptions{})
	}
	report := func() {
		step.report("vobs ab: the noise of this machine", func(w io.Writer) error {
			return compare.WriteNoise(w, compare.NoiseOf(base, new, opt), render.Markdown, render.TextOptions{})
		})
	}
	if !c.Bool("same") {
		result := compare.Compare(base, new, opt)
		verdict = verdictCode(result.Verdict, c.Bool("allow-inconclusive"))
		write = func(w io.Writer) error { return result.Write(w, format, render.TextOptions{}) }
		report = func() { reportComparison(step, "vobs ab", result, verdict) }
	}
	if err := writeResult(c, write); err != nil {
		if c.String("output") != "" { // hours of runs must not be for nothing
			err = errors.Join(err, write(c.App.Writer))
		}
		return err
	}
	report()
	if code != exitOK {
		return fail(code, runErr)
	}
	return verdict
}

// abOptions turns the flags into what is to be run, and prints what that can find.
func abOptions(c *cli.Context, m *messages, decide compare.Options) (*ab.Options, error) {
	a, b, err := commands(c)
	if err != nil {
		return nil, err
	}
	order, err := ab.ParseOrder(c.String("order"))
	if err != nil {
		return nil, fmt.Errorf("--order: %w", err)
	}
	pairs, warmup := c.Int("pairs"), c.Int("warmup")
	need := compare.MinPairs(decide.Metrics, decide.Alpha)
	switch {
	case pairs < 1 || pairs > 10_000:
		return nil, fmt.Errorf("--pairs %d: use a number from 1 to 10000", pairs)
	case warmup < 0 || warmup > 1000:
		return nil, fmt.Errorf("--warmup %d: use a number from 0 to 1000", warmup)
	case pairs < need && !c.Bool("same"):
		return nil, withHint(fmt.Errorf("%s cannot decide anything: with %s that vary from run to run it takes at least %d", render.Count(pairs, "pair"), render.Count(compare.GatedNoisy(decide.Metrics), "gated metric"), need),
			fmt.Sprintf("use -n %d or more, or gate fewer metrics with --metric", need))
	}
	settle, err := ab.ParseSettle(c.String("settle"))
	if err == nil {
		err = settle.Open(gpuConfig(c))
	}
	if err != nil {
		return nil, fmt.Errorf("--settle %s: %w", c.String("settle"), err)
	}
	if c.String("output") == "" {
		if err := checkStdout(c, "result"); err != nil {
			return nil, err
		}
	}
	if name := c.String("series"); name != "" && !strings.Contains(name, "%i") {
		return nil, withHint(fmt.Errorf("--series %s: every run would overwrite the file", name), "--series '%i.jsonl' has the id of the run in its name")
	}
	if !c.Bool("same") && compare.GatedNoisy(decide.Metrics) > 0 {
		found := func(variation float64) float64 {
			return 100 * compare.DetectableChange(pairs, variation, decide.Alpha, decide.Metrics)
		}
		m.line(fmt.Sprintf("%s find a change of %.1f %% in about 4 of 5 cases if equal runs vary by 1 %%, %.1f %% if by 3 %%, %.0f %% if by 10 %%", render.Count(pairs, "pair"), found(0.01), found(0.03), found(0.1)))
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding vobs itself: %w", err)
	}
	given, err := labels(list(c, "label", "\n"))
	if err != nil {
		return nil, err
	}
	opt := &ab.Options{
		Commands: map[ab.Side][]string{ab.A: a, ab.B: b}, Steps: ab.Plan(order, pairs, warmup, c.Uint64("seed")), Program: program,
		Flags: flagsForRun(c), Labels: given, Append: c.String("append"), Settle: settle,
		ResetURLs: c.StringSlice("reset-prefix-cache"), KeepGoing: c.Bool("keep-going"), Output: os.Stderr,
		Before: func(ab.Step, time.Duration) {},
	}
	if isTerminal(os.Stderr) || c.Bool("verbose") {
		opt.Before = func(step ab.Step, left time.Duration) {
			text := fmt.Sprintf("%s of %d: %s", step, pairs, step.Side)
			if left > 0 {
				text += fmt.Sprintf(", about %s left", time.Duration(math.Ceil(left.Seconds()))*time.Second)
			}
			m.line(text)
		}
	}
	return opt, nil
}

// gpuConfig returns which GPUs the commands see.
func gpuConfig(c *cli.Context) gpu.Config {
	cfg := gpu.Config{Devices: list(c, "device", " \t\n")}
	if visible, ok := os.LookupEnv("CUDA_VISIBLE_DEVICES"); ok {
		cfg.Visible = &visible
	}
	return cfg
}

// commands returns the two commands.
func commands(c *cli.Context) (a, b []string, err error) {
	args, separator := c.Args().Slice(), c.String("separator")
	i := slices.Index(args, separator)
	switch {
	case len(args) == 0:
		return nil, nil, withHint(errors.New("no command to run"), "vobs ab [flags] -- COMMAND_A... --- COMMAND_B...")
	case c.Bool("same") && i >= 0:
		return nil, nil, fmt.Errorf("--same takes one command, without %s", separator)
	case c.Bool("same"):
		return args, args, nil
	case i <= 0 || i == len(args)-1:
		return nil, nil, withHint(fmt.Errorf("expected two commands with %s between them", separator), "vobs ab [flags] -- COMMAND_A... --- COMMAND_B..., or --same for one command on both sides")
	}
	return args[:i], args[i+1:], nil
}
