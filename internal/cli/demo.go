package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/demo"
	"github.com/vobs/vobs/internal/vllm"
)

// demoEngineCommand runs the simulated engine that `make demo` brackets.
func demoEngineCommand() *cli.Command {
	return &cli.Command{
		Name:   "demo-engine",
		Usage:  "run a simulated vLLM engine: no model, no GPU, real metrics",
		Hidden: true,
		Description: "The scenarios of --scenario, whose load lasts for a minute or two, or for --duration:\n\n" +
			scenarioList(),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:0", Usage: "`ADDRESS` of the metrics; port 0 takes a free one, unix:PATH a socket"},
			&cli.DurationFlag{Name: "duration", Value: 4 * time.Second, Usage: "`TIME` of the generation phase"},
			&cli.StringFlag{Name: "scenario", Usage: "run the scenario `NAME` instead of the generation phase"},
			&cli.StringFlag{Name: "memory-file", Usage: "`FILE` that the simulated GPU's used bytes are written to"},
			&cli.StringFlag{Name: "done", Usage: "`FILE`, mostly a FIFO, that gets a line a second after the generation phase, and a second before the engine ends"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			cfg := demo.DefaultConfig()
			cfg.Addr, cfg.Duration, cfg.MemoryFile = c.String("listen"), c.Duration("duration"), c.String("memory-file")
			if name := c.String("scenario"); name != "" {
				scenario, err := demo.FindScenario(name)
				if err != nil {
					return fail(exitUsage, err)
				}
				cfg.Scenario = scenario
				if !c.IsSet("duration") {
					cfg.Duration = 0 // the scenario's own
				}
			}
			if name := c.String("done"); name != "" {
				cfg.Linger = time.Second
				cfg.Done = func() error { return writeDone(name) }
			}
			cfg.Log, cfg.DevMode = os.Stderr, os.Getenv(vllm.DevModeVariable) == "1"
			err := demo.Run(ctx, cfg)
			if errors.Is(err, context.Canceled) {
				return nil // as in vLLM, TERM is an orderly end
			}
			if err != nil {
				return fail(exitProblems, fmt.Errorf("demo engine: %w", err))
			}
			return nil
		},
	}
}

// scenarioList has a line for each scenario.
func scenarioList() string {
	var b strings.Builder
	for _, s := range demo.Scenarios() {
		fmt.Fprintf(&b, "   %-22s%s\n", s.Name, s.Doc)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// writeDone writes a line to a file. Opened for reading, too, a FIFO never blocks.
func writeDone(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString("done\n")
	return errors.Join(err, f.Close())
}
