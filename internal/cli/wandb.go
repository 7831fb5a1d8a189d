package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/internal/wandb"
	wandbrun "github.com/vobs/vobs/internal/wandb/run"
	"github.com/vobs/vobs/schema"
)

// wandbFlags returns the flags that `run` and `wandb` share. mode is the default of
// --wandb.
func wandbFlags(mode wandb.Mode) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "wandb", Value: string(mode), EnvVars: []string{"VOBS_WANDB"}, Usage: "send the event to Weights & Biases: `MODE` is online, offline (a run on disk for wandb sync), auto (follow WANDB_MODE) or disabled"},
		&cli.StringFlag{Name: "wandb-project", EnvVars: []string{"VOBS_WANDB_PROJECT"}, Usage: "put the run into the W&B `PROJECT`; by default WANDB_PROJECT, then uncategorized"},
		&cli.StringFlag{Name: "wandb-entity", EnvVars: []string{"VOBS_WANDB_ENTITY"}, Usage: "put the run under the W&B `ENTITY`, a user or team; by default WANDB_ENTITY, then the key's own"},
		&cli.StringFlag{Name: "wandb-run-id", Usage: "add the event to the job's own run `ID` once the job has ended; by default WANDB_RUN_ID, then a new run for the event"},
		&cli.StringFlag{Name: "wandb-prefix", Value: wandbrun.DefaultPrefix, EnvVars: []string{"VOBS_WANDB_PREFIX"}, Usage: "`PREFIX` of the keys in W&B, before a slash"},
		&cli.DurationFlag{Name: "wandb-timeout", Value: wandb.DefaultTimeout, EnvVars: []string{"VOBS_WANDB_TIMEOUT"}, Usage: "`TIME` allowed for sending one event; after that it is saved as an offline run"},
	}
}

// uploader sends events to W&B and reports what came of it.
type uploader struct {
	settings *wandb.Settings
	options  wandbrun.Options
	timeout  time.Duration
	m        *messages
	warned   int // how many of the settings' warnings were printed
}

// newUploader reads the flags and W&B's own settings. It returns nil if W&B is
// disabled.
func newUploader(c *cli.Context, m *messages) (*uploader, error) {
	mode, err := wandb.ParseMode(c.String("wandb"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source(c, "wandb"), err)
	}
	timeout := c.Duration("wandb-timeout")
	if timeout <= 0 || timeout > time.Hour {
		return nil, fmt.Errorf("--wandb-timeout %v: use a time up to 1h", timeout)
	}
	if mode == wandb.Disabled {
		return nil, nil
	}
	workDir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("W&B's settings: %w", err)
	}
	home, _ := os.UserHomeDir() // without one, there are no settings files to read there
	s, err := wandb.Load(wandb.Input{
		Mode: mode, Project: c.String("wandb-project"), Entity: c.String("wandb-entity"), RunID: c.String("wandb-run-id"),
		Environ: os.Environ(), Home: home, WorkDir: workDir,
	})
	if err != nil {
		return nil, fmt.Errorf("W&B's settings: %w", err)
	}
	if s.Mode == wandb.Disabled {
		m.debug("W&B is disabled by WANDB_MODE, WANDB_DISABLED or one of its settings files")
		return nil, nil
	}
	return &uploader{
		settings: s, timeout: timeout, m: m,
		options: wandbrun.Options{Prefix: cmp.Or(c.String("wandb-prefix"), wandbrun.DefaultPrefix), Writer: "vobs " + Version(), Now: time.Now()},
	}, nil
}

// upload sends the event of `vobs run` and writes one line about it to stderr, a
// warning if it failed.
func (u *uploader) upload(ctx context.Context, e *schema.GenerationObservability) {
	run, err := wandbrun.FromEvent(e, nil, u.options)
	if err != nil {
		u.warn(fmt.Sprintf("the event was not sent to W&B: %v", err))
		return
	}
	u.report(u.settings.Send(ctx, run, u.timeout))
}

// report prints where an event went, and reports whether it was delivered.
func (u *uploader) report(out wandb.Outcome, err error) bool {
	u.printWarnings()
	notes := strings.Join(out.Notes, "; ")
	if notes != "" {
		notes = " (" + notes + ")"
	}
	switch {
	case err != nil:
		u.warn(fmt.Sprintf("the event was neither sent to W&B nor saved as an offline run: %s%s", oneLine(err), notes))
	case out.Failed != nil:
		u.warn(fmt.Sprintf("the event was not sent to W&B: %s; saved in %s; upload it with: %s%s", oneLine(out.Failed), out.Path, out.Sync, notes))
	case out.URL != "":
		verb := "the event is at "
		if out.Resumed {
			verb = "the event was added to "
		}
		u.note(verb + out.URL + notes)
		return true
	default:
		u.note("the event is saved in " + out.Path + "; upload it with: " + out.Sync + notes)
		return true
	}
	return false
}

// printWarnings prints the settings' warnings that were not printed yet.
func (u *uploader) printWarnings() {
	for _, w := range u.settings.Warnings[u.warned:] {
		u.warn(w)
	}
	u.warned = len(u.settings.Warnings)
}

// warn writes a warning, unless WANDB_SILENT or -q suppresses it.
func (u *uploader) warn(message string) {
	if !u.settings.Silent {
		u.m.warn(message)
	}
}

// note writes a message about success, unless WANDB_SILENT, WANDB_QUIET or -q
// suppresses it.
func (u *uploader) note(message string) {
	if !u.settings.Silent && !u.settings.Quiet && !u.m.quiet {
		u.m.line("wandb: " + message)
	}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func wandbCommand() *cli.Command {
	return &cli.Command{
		Name:      "wandb",
		Usage:     "upload existing events to Weights & Biases",
		ArgsUsage: "FILE... (- is stdin)",
		Description: `Each FILE holds events as vobs run wrote them: one JSON document or JSON lines, full,
core or log records. Sending an event twice gives the same run. Exits with 0 if every
event was delivered, with 1 if one was not, with 2 if a file cannot
be read or is not valid; then nothing is sent.`,
		Flags: append(wandbFlags(wandb.Auto),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"VOBS_QUIET"}, Usage: "no warnings"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, EnvVars: []string{"VOBS_VERBOSE"}, Usage: "print debug messages on stderr"},
		),
		Action: wandbAction,
	}
}

func wandbAction(c *cli.Context) error {
	if !c.Args().Present() {
		return fail(exitUsage, withHint(errors.New("no file to send"), "vobs wandb FILE..., or - for stdin"))
	}
	m := &messages{w: os.Stderr, quiet: c.Bool("quiet"), verbose: c.Bool("verbose")}
	u, err := newUploader(c, m)
	if err != nil {
		return err
	}
	var runs []*wandbrun.Run
	for _, name := range c.Args().Slice() {
		more, err := readRuns(name, u)
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		runs = append(runs, more...)
	}
	if u == nil {
		m.warn("nothing is sent: W&B is disabled; see --wandb, WANDB_MODE and WANDB_DISABLED")
		return nil
	}
	u.printWarnings()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	complete := true
	for _, run := range runs {
		complete = u.report(u.settings.Send(ctx, run, u.timeout)) && complete
	}
	if !complete {
		return fail(exitProblems, nil)
	}
	return nil
}

// readRuns reads a file of events. If u is nil it only checks them.
func readRuns(name string, u *uploader) ([]*wandbrun.Run, error) {
	in, err := events.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var out []*wandbrun.Run
	for e, err := range events.Read(events.Limit(in, events.MaxFile)) {
		if _, invalid := errors.AsType[*events.InvalidError](err); invalid {
			return nil, withHint(err, "vobs validate lists everything that is wrong")
		}
		if err != nil {
			return nil, err
		}
		if u == nil {
			continue
		}
		run, err := wandbrun.FromFile(e, u.options)
		if err != nil {
			return nil, err
		}
		out = append(out, run)
	}
	return out, nil
}
