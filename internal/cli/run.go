package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/deliver"
	"github.com/vobs/vobs/internal/intent"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/internal/seriesfile"
	"github.com/vobs/vobs/internal/threads"
	"github.com/vobs/vobs/internal/wandb"
	"github.com/vobs/vobs/observe"
	"github.com/vobs/vobs/schema"
)

func runCommand() *cli.Command {
	command := &cli.Command{
		Name:      "run",
		Usage:     "run a command and write one event about it",
		ArgsUsage: "[--] COMMAND [ARGUMENT...]",
		Description: `COMMAND begins at the first word that is not a flag. It is run as it is, without a
shell. vobs exits as COMMAND does; if a signal killed COMMAND, vobs dies of the same
signal. 127 means that COMMAND was not found, 126 that it cannot be executed, 125
that vobs failed before it started COMMAND.

By default only the event goes to stdout, and COMMAND's stdout goes to stderr. With
--output or --append COMMAND keeps stdout.

The variable of a flag that can be repeated holds several values, separated by
whitespace; labels and headers are separated by newlines.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the event to `FILE`, complete or not at all; pipes and devices are written directly (%h host, %p pid, %i run id, %r rank by SLURM_PROCID or RANK)"},
			&cli.StringFlag{Name: "append", Usage: "append the event to `FILE` as one line, in one write under a lock (%h, %p, %i, %r as for --output)"},
			&cli.StringFlag{Name: "series", EnvVars: []string{"VOBS_SERIES"}, Usage: "write every reading to `FILE` as it is taken, one line of JSON each: seconds since the start, name, value (%h, %p, %i, %r as for --output)"},
			&cli.StringFlag{Name: "ingest", EnvVars: []string{"VOBS_INGEST"}, Usage: "put the result that COMMAND writes to `FILE` into the event's group client: of vllm bench serve, GuideLLM, AIPerf, inference-perf or vobs load (%h, %p, %i, %r as for --output)"},
			&cli.StringFlag{Name: "schema", Value: "full", EnvVars: []string{"VOBS_SCHEMA"}, Usage: "`VIEW` to write: full, core (the eight keys of NeMo Safe Synthesizer's GenerationObservability) or log (its log record)"},
			&cli.StringFlag{Name: "command", Value: string(redact.CommandFull), EnvVars: []string{"VOBS_COMMAND"}, Usage: "`MODE` in which the event shows command lines: full, without secrets; names, the program and the names of its flags; none, a digest"},
			&cli.StringSliceFlag{Name: "label", Usage: "label the event with `NAME=VALUE` (repeatable) [$VOBS_LABEL]"},
			&cli.StringSliceFlag{Name: "intend", Usage: "expect the engine to run with `NAME=VALUE`, named as vLLM's flag; flag_mismatches lists what did not engage (repeatable) [$VOBS_INTEND]"},
			&cli.StringFlag{Name: "intend-file", EnvVars: []string{"VOBS_INTEND_FILE"}, Usage: "read --intend settings from `FILE` (JSON or YAML): a file for vllm serve --config, or NeMo Safe Synthesizer's engine parameters"},
			&cli.StringSliceFlag{Name: "metrics-url", Usage: "read the engine's metrics at `URL`, or a dcgm-exporter's: http, https or unix:///PATH; without a path, /metrics (repeatable) [$VOBS_METRICS_URL]"},
			&cli.StringSliceFlag{Name: "metrics-header", Usage: "send `NAME: VALUE` with every request to the addresses of --metrics-url, and to no other (repeatable) [$VOBS_METRICS_HEADER]"},
			&cli.StringFlag{Name: "metrics-ca", EnvVars: []string{"VOBS_METRICS_CA"}, Usage: "verify https engines with the certificates in `FILE` (PEM); by default with the system's, and not at all on a loopback address"},
			&cli.StringFlag{Name: "scrape-interval", Value: "auto", EnvVars: []string{"VOBS_SCRAPE_INTERVAL"}, Usage: "`TIME` between polls of the engine; auto is 100ms at first and 500ms after half a minute, longer if requests would take over 1 % of the server, but at most 1s while the engine works"},
			&cli.StringSliceFlag{Name: "device", Usage: "sample `GPU` instead of those in CUDA_VISIBLE_DEVICES: index, UUID or a UUID prefix (repeatable) [$VOBS_DEVICE]"},
			&cli.StringFlag{Name: "interval", Value: "auto", EnvVars: []string{"VOBS_INTERVAL"}, Usage: "`TIME` between readings of GPU memory; auto is 5ms or as much longer as keeps them within 0.8 % of one core"},
			&cli.StringFlag{Name: "forward-signals", Value: "auto", EnvVars: []string{"VOBS_FORWARD_SIGNALS"}, Usage: "`MODE`: auto forwards signals sent to vobs; never is for senders that signal the whole process group (timeout, some schedulers), so that COMMAND does not get them twice"},
			&cli.StringFlag{Name: "multiproc", Value: "auto", EnvVars: []string{"VOBS_MULTIPROC"}, Usage: "`MODE`: on: give COMMAND a fresh directory for its engine's metrics (PROMETHEUS_MULTIPROC_DIR); auto: only for vllm bench throughput and latency; off: never, and existing files are not read"},
			&cli.BoolFlag{Name: "keep", EnvVars: []string{"VOBS_KEEP"}, Usage: "keep the directory that --multiproc created"},
			&cli.BoolFlag{Name: "dev-mode", EnvVars: []string{"VOBS_DEV_MODE"}, Usage: "set VLLM_SERVER_DEV_MODE=1 for COMMAND: a vLLM server it starts serves its configuration at /server_info, and opens its other development endpoints too"},
			&cli.BoolFlag{Name: "instrument", EnvVars: []string{"VOBS_INSTRUMENT"}, Usage: "load a plugin into COMMAND's vLLM that reports the engine core's own configuration and torch's memory peaks; with --multiproc on, a script's LLM() records its statistics"},
			&cli.BoolFlag{Name: "kill-leftovers", EnvVars: []string{"VOBS_KILL_LEFTOVERS"}, Usage: "end processes that outlive COMMAND: TERM, then KILL after 5 s; by default they are listed, warned about and left alone"},
			&cli.BoolFlag{Name: "strict", EnvVars: []string{"VOBS_STRICT"}, Usage: "do not start COMMAND (exit 125) unless NVML and every --metrics-url answer within 10 s"},
			&cli.BoolFlag{Name: "summary", EnvVars: []string{"VOBS_SUMMARY"}, Usage: "print the summary on stderr even if that is not a terminal"},
			githubSummaryFlag("VOBS_GITHUB_SUMMARY"),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"VOBS_QUIET"}, Usage: "no warnings and no summary"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, EnvVars: []string{"VOBS_VERBOSE"}, Usage: "print debug messages on stderr"},
		}, wandbFlags(wandb.Disabled)...),
		Action: onGitHub(runAction),
	}
	command.Before = func(*cli.Context) error {
		// The values are in the context by now. For each flag that is not set, urfave/cli
		// would look for an action to run under the name of each flag: 0.7 ms in all.
		command.Flags = nil
		return nil
	}
	return command
}

func runAction(c *cli.Context, step githubStep) error {
	exit, err := runCommandLine(c, step)
	if err != nil {
		return err
	}
	exit.Mirror()
	return nil
}

// runCommandLine runs the command that the arguments and flags describe, and returns how it ended.
func runCommandLine(c *cli.Context, step githubStep) (exit child.Exit, err error) {
	m := step.m
	upload, err := newUploader(c, m)
	if err != nil {
		return exit, err
	}
	cfg, err := runConfig(c)
	if err != nil {
		return exit, err
	}
	if upload != nil {
		upload.printWarnings()
		cfg.Upload = upload.upload
	}
	cfg.Warn, cfg.Debug, cfg.StartFailed = m.warn, m.debug, m.error
	if len(cfg.Probe.Headers) > 0 && len(cfg.Targets) == 0 {
		cfg.Warn("--metrics-header is not sent: it goes only to the addresses of --metrics-url, and there is none")
	}
	summary := !m.quiet && (c.Bool("summary") || isTerminal(os.Stderr))
	cfg.Finished = func(e *schema.GenerationObservability) {
		if summary {
			_, _ = m.w.Write([]byte(summarize(e, terminalWidth(os.Stderr)))) // if stderr is gone, there is nowhere left to report it
		}
		step.warn(step.ReportRun(e, !m.quiet))
	}
	threads.Reserve()
	if exit, err = observe.Run(cfg); err != nil {
		return exit, fail(exitNotStarted, err)
	}
	return exit, nil
}

// runConfig turns the flags into a configuration. Nothing has been started yet.
func runConfig(c *cli.Context) (observe.Config, error) {
	cfg := observe.Config{
		Args:    c.Args().Slice(),
		Devices: list(c, "device", " \t\n"),
		Strict:  c.Bool("strict"),

		DevMode:       c.Bool("dev-mode"),
		Instrument:    c.Bool("instrument"),
		Keep:          c.Bool("keep"),
		KillLeftovers: c.Bool("kill-leftovers"),

		Version: Version(),
	}
	if len(cfg.Args) == 0 {
		return cfg, withHint(errors.New("no command to run"), "vobs run [flags] -- COMMAND [ARGUMENT...]")
	}
	var err error
	if cfg.Labels, err = labels(list(c, "label", "\n")); err != nil {
		return cfg, err
	}
	// A variable that is set to the empty string counts as unset.
	if cfg.View, err = schema.ParseView(cmp.Or(c.String("schema"), "full")); err != nil {
		return cfg, fmt.Errorf("%s: %w", source(c, "schema"), err)
	}
	if cfg.Forward, err = child.ParseForwardMode(cmp.Or(c.String("forward-signals"), "auto")); err != nil {
		return cfg, fmt.Errorf("%s: %w", source(c, "forward-signals"), err)
	}
	if cfg.Multiproc, err = observe.ParseMultiproc(cmp.Or(c.String("multiproc"), "auto")); err != nil {
		return cfg, fmt.Errorf("%s: %w", source(c, "multiproc"), err)
	}
	if cfg.Command, err = redact.ParseCommandMode(cmp.Or(c.String("command"), string(redact.CommandFull))); err != nil {
		return cfg, fmt.Errorf("%s: %w", source(c, "command"), err)
	}
	if cfg.Interval, err = interval(c, "interval", time.Millisecond); err != nil {
		return cfg, err
	}
	if cfg.Probe, err = metricsAccess(c); err != nil {
		return cfg, err
	}
	if cfg.Probe.Interval, err = interval(c, "scrape-interval", 10*time.Millisecond); err != nil {
		return cfg, err
	}
	if cfg.Targets, err = targets(c); err != nil {
		return cfg, err
	}
	if cfg.Intents, err = intents(c); err != nil {
		return cfg, err
	}
	for _, name := range []string{"output", "append"} {
		if c.String(name) == "-" {
			return cfg, withHint(fmt.Errorf("--%s -: not the name of a file", name), "the event goes to stdout if neither --output nor --append is given")
		}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return cfg, fmt.Errorf("making a run id: %w", err)
	}
	cfg.RunID = id.String()
	if c.String("output") == "" && c.String("append") == "" && child.StreamClosed(1) {
		return cfg, withHint(errors.New("stdout is closed, and the event goes there"), "name a file with --output")
	}
	if cfg.Output, err = deliver.Open(deliver.Spec{File: c.String("output"), Append: c.String("append"), RunID: cfg.RunID}); err != nil {
		return cfg, err
	}
	if cfg.Ingest, err = ingestFile(c, cfg.RunID); err != nil {
		return cfg, err
	}
	cfg.Series, err = openSeries(c, cfg.RunID)
	return cfg, err
}

// ingestFile returns the file of --ingest; "" without it.
func ingestFile(c *cli.Context, runID string) (string, error) {
	name := c.String("ingest")
	if name == "" {
		return "", nil
	}
	file, err := deliver.ExpandName(name, runID)
	if err != nil {
		return "", fmt.Errorf("ingest %s: %w", name, err)
	}
	for _, flag := range []string{"output", "append", "series"} {
		if other, err := deliver.ExpandName(c.String(flag), runID); err == nil && sameFile(other, file) {
			return "", fmt.Errorf("--ingest and --%s name the same file, %s", flag, file)
		}
	}
	return file, nil
}

// openSeries opens the file of --series; nil without it.
func openSeries(c *cli.Context, runID string) (*seriesfile.File, error) {
	name := c.String("series")
	if name == "" {
		return nil, nil
	}
	file, err := deliver.ExpandName(name, runID)
	if err != nil {
		return nil, fmt.Errorf("series %s: %w", name, err)
	}
	for _, flag := range []string{"output", "append"} {
		if other, err := deliver.ExpandName(c.String(flag), runID); err == nil && sameFile(other, file) {
			return nil, fmt.Errorf("--series and --%s name the same file, %s", flag, file)
		}
	}
	return seriesfile.Open(file)
}

// sameFile reports whether two names are those of one file, which may not exist yet.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// intents returns the settings that the user means the engine to have: --intend takes
// precedence over --intend-file.
func intents(c *cli.Context) (in intent.Intents, err error) {
	if file := c.String("intend-file"); file != "" {
		if in, err = intent.ReadFile(file); err != nil {
			if _, unreadable := errors.AsType[syscall.Errno](err); unreadable {
				return in, err
			}
			return in, withHint(err, "expected lines such as max-num-seqs: 256")
		}
	}
	given, err := intent.ParsePairs(list(c, "intend", " \t\n"))
	if err != nil {
		return in, withHint(err, "--intend max_num_seqs=256")
	}
	return given.Over(in), nil
}

// terminalWidth returns the width of a terminal; 0 if f is none, or if the width is unknown.
func terminalWidth(f *os.File) int {
	width, _ := render.TerminalWidth(f.Fd())
	return width
}

// isTerminal reports whether f is a terminal.
func isTerminal(f *os.File) bool {
	_, ok := render.TerminalWidth(f.Fd())
	return ok
}
