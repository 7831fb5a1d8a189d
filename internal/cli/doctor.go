package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/doctor"
	"github.com/vobs/vobs/internal/wandb"
)

// maxDoctorTimeout is the longest time that a check may be given.
const maxDoctorTimeout = 5 * time.Minute

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check what vobs run can observe here, and what to do about the rest",
		Description: `Checks the GPUs and their driver, the host, vLLM in this environment, servers on this
host, W&B's settings and the output, without starting or changing anything. What these
flags of run and their variables name is checked as run would use it.

Each check is ok, a note (some figures will be missing) or a problem. Exits with 1 if there
is a problem: an NVIDIA driver or GPU is there and GPU memory cannot be read; a server
given with --metrics-url cannot be read; nothing at all can be observed; or the event
could not be written. A machine with neither an NVIDIA driver nor a GPU is not a problem.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: string(doctor.Text), Usage: "`FORMAT` of the result: text or json"},
			&cli.BoolFlag{Name: "json", Usage: "the same as --format json"},
			&cli.DurationFlag{Name: "timeout", Value: doctor.DefaultTimeout, Usage: "`TIME` that each check may take; they run side by side"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "check that run could write its event to `FILE`; nothing is written there"},
			&cli.StringFlag{Name: "append", Usage: "check that run could append its event to `FILE`; nothing is written there"},
			&cli.StringSliceFlag{Name: "metrics-url", Usage: "check that the engine's metrics can be read at `URL` (repeatable) [$VOBS_METRICS_URL]"},
			&cli.StringSliceFlag{Name: "metrics-header", Usage: "send `NAME: VALUE` with every request to the addresses of --metrics-url, and to no other (repeatable) [$VOBS_METRICS_HEADER]"},
			&cli.StringFlag{Name: "metrics-ca", EnvVars: []string{"VOBS_METRICS_CA"}, Usage: "verify https engines with the certificates in `FILE` (PEM); by default with the system's, and not at all on a loopback address"},
			&cli.StringSliceFlag{Name: "device", Usage: "check `GPU` instead of those in CUDA_VISIBLE_DEVICES: index, UUID or a UUID prefix (repeatable) [$VOBS_DEVICE]"},
			&cli.StringFlag{Name: "wandb", Value: string(wandb.Disabled), EnvVars: []string{"VOBS_WANDB"}, Usage: "check the settings for Weights & Biases as run would use them in `MODE` online, offline, auto or disabled; nothing is sent"},
			&cli.StringFlag{Name: "wandb-project", EnvVars: []string{"VOBS_WANDB_PROJECT"}, Usage: "check the W&B `PROJECT`; by default WANDB_PROJECT, then uncategorized"},
		},
		Action: doctorAction,
	}
}

func doctorAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	format, err := doctor.ParseFormat(c.String("format"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		format = doctor.JSON
	}
	options, err := doctorOptions(c)
	if err != nil {
		return err
	}
	if checkStdout(c, "result") != nil {
		return errors.New("stdout is closed, and the result goes there") // --output names the run's event
	}
	report := doctor.Run(context.Background(), options)
	text := doctor.TextOptions{Width: terminalWidth(os.Stdout), Color: isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == ""}
	if err := writeBuffered(c.App.Writer, func(w io.Writer) error { return report.Write(w, format, text) }); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if !report.OK {
		return fail(exitProblems, nil)
	}
	return nil
}

func doctorOptions(c *cli.Context) (o doctor.Options, err error) {
	o = doctor.Options{
		Environ: os.Environ(), Devices: list(c, "device", " \t\n"),
		Output: c.String("output"), Append: c.String("append"), Timeout: c.Duration("timeout"),
	}
	if o.Timeout <= 0 || o.Timeout > maxDoctorTimeout {
		return o, fmt.Errorf("--timeout %v: use a time above 0, up to %v", o.Timeout, maxDoctorTimeout)
	}
	if o.WorkDir, err = os.Getwd(); err != nil {
		o.WorkDir, err = ".", nil // it was removed: the check of the output finds out
	}
	o.Home, _ = os.UserHomeDir() // without one, there are no settings files to read there
	if o.Probe, err = metricsAccess(c); err != nil {
		return o, err
	}
	if o.Targets, err = targets(c); err != nil {
		return o, err
	}
	mode, err := wandb.ParseMode(cmp.Or(c.String("wandb"), string(wandb.Disabled)))
	if err != nil {
		return o, fmt.Errorf("%s: %w", source(c, "wandb"), err)
	}
	o.WandB = wandb.Input{Mode: mode, Project: c.String("wandb-project")}
	return o, nil
}
