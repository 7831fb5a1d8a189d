// Package cli is vobs's command line: flags, subcommands, messages, exit codes.
//
// Each subcommand has a file: it turns flags into options, calls the package that
// does the work, and turns the result into output and an exit code.
//
// What a user sees follows three rules. Only results go to stdout. Everything else
// goes to stderr, prefixed with `vobs:`, in lower case and without a full stop, with
// a hint where one helps. An error carries its exit code: see [exitError].
package cli

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/child"
)

// Main runs vobs and returns its exit code. If a signal killed the command of `vobs
// run`, Main does not return: vobs dies of the same signal. args[0] is the program's
// name.
func Main(args []string) int {
	child.UseDefaultActions()
	m := messages{w: os.Stderr}
	log.SetOutput(io.Discard) // net/http logs there, for example unsolicited responses
	err := newApp(os.Stdout, os.Stderr).Run(args)
	if err == nil {
		return exitOK
	}
	code := exitUsage
	if isRun(args) {
		code = exitNotStarted
	}
	var e *exitError
	if errors.As(err, &e) {
		code = e.code
		if err = e.cause; err == nil {
			return code
		}
	}
	m.error(err)
	return code
}

// isRun reports whether the arguments are for `vobs run`, whose own failures have an
// exit code of their own.
func isRun(args []string) bool { return len(args) > 1 && args[1] == "run" }

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:  "vobs",
		Usage: "bracket a vLLM generation run and write one JSON event",
		UsageText: `vobs run [flags] [--] COMMAND [ARGUMENT...]
vobs ab [flags] [--] COMMAND_A... --- COMMAND_B...
vobs load [flags] URL
vobs compare [flags] BASE NEW
vobs check [flags] EVENT...
vobs diagnose [flags] EVENT... | --metrics-url URL | --prometheus URL
vobs trace [flags] FILE...
vobs schema [flags]
vobs validate FILE...
vobs scrape URL|FILE
vobs wandb FILE...
vobs doctor [flags]`,
		Description: `vobs run starts COMMAND without getting in its way, samples the GPUs, the host and
the vLLM engine while it runs, and writes one JSON event when it has ended:

   vobs run -- vllm bench throughput --model facebook/opt-125m
   vobs run -o event.json --metrics-url http://127.0.0.1:8000 -- python client.py
   vobs run --append events.jsonl --label case=chat -- ./bench.sh`,
		Version:                   Version(),
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		ExitErrHandler:            func(*cli.Context, error) {}, // Main ends the process
		OnUsageError:              usageError,
		Action: func(c *cli.Context) error {
			switch name := c.Args().First(); {
			case name == "":
				return cli.ShowAppHelp(c)
			case name == helpName && c.NArg() <= 2:
				return showHelp(c, c.Args().Get(1))
			case name == helpName:
				return fail(exitUsage, withHint(fmt.Errorf("expected one subcommand, got %d", c.NArg()-1), "vobs help COMMAND"))
			}
			return unknownSubcommand(c.App, c.Args().Slice())
		},
	}
	app.Commands = []*cli.Command{
		runCommand(),
		abCommand(),
		loadCommand(),
		compareCommand(),
		checkCommand(),
		diagnoseCommand(),
		traceCommand(),
		schemaCommand(),
		validateCommand(),
		scrapeCommand(),
		wandbCommand(),
		doctorCommand(),
		completionCommand(app),
		manCommand(app),
		versionCommand(),
		demoEngineCommand(),
	}
	for _, c := range app.Commands {
		c.HideHelpCommand = true // otherwise `run -- help` would print help
		c.OnUsageError = usageError
	}
	return app
}

// noArguments refuses arguments that a subcommand would ignore.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return fail(exitUsage, withHint(fmt.Errorf("unexpected argument %q", c.Args().First()), "see vobs "+c.Command.Name+" --help"))
	}
	return nil
}
