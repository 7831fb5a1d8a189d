// Package cli is vobs's command line: flags, subcommands, messages, exit codes.
//
// What a user sees follows three rules. stdout carries results alone. Everything
// else goes to stderr behind `vobs:`, in lower case and without a full stop, with
// a hint where one helps. An error carries the exit code that it means: see
// [ExitCode].
package cli

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// Exit codes. Those of `vobs run` are the command's own, but for these: 125 and
// up as coreutils' env and timeout have them.
const (
	exitOK       = 0
	exitProblems = 1   // validate: some event is not valid
	exitUsage    = 2   // a subcommand other than run was used wrongly, or could not read
	exitOwn      = 125 // run: vobs failed before the command started
)

// exitError is an error with the exit code that it means. A nil cause has been
// told already.
type exitError struct {
	code  int
	cause error
}

func (e *exitError) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.cause.Error()
}

func (e *exitError) Unwrap() error { return e.cause }

// fail gives err the exit code that it means.
func fail(code int, err error) error { return &exitError{code, err} }

// Main runs vobs and returns its exit code; where the command of `vobs run` was
// killed by a signal it does not return, but dies of the same. args[0] is the
// program's name.
func Main(args []string) int {
	m := messages{w: os.Stderr}
	log.SetOutput(io.Discard) // net/http writes there when a server speaks out of turn
	err := newApp(os.Stdout, os.Stderr).Run(args)
	if err == nil {
		return exitOK
	}
	code := exitUsage
	if isRun(args) {
		code = exitOwn
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

// isRun says whether a line of arguments is for `vobs run`, whose own failures
// have a code that no command uses.
func isRun(args []string) bool { return len(args) > 1 && args[1] == "run" }

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:  "vobs",
		Usage: "bracket a vLLM generation run and leave one honest JSON event",
		UsageText: `vobs run [flags] [--] COMMAND [ARGUMENT...]
vobs validate FILE...
vobs wandb FILE...
vobs scrape URL|FILE`,
		Description: `vobs run starts COMMAND as if it were not there, samples the GPUs, the host
and the vLLM engine meanwhile, and writes one JSON event when COMMAND has ended:

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
		CommandNotFound:           nil,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fail(exitUsage, withHint(fmt.Errorf("unknown subcommand %q", c.Args().First()),
					"to run a command: vobs run -- "+strings.Join(c.Args().Slice(), " ")))
			}
			return cli.ShowAppHelp(c)
		},
	}
	app.Commands = []*cli.Command{
		runCommand(),
		schemaCommand(),
		validateCommand(),
		scrapeCommand(),
		wandbCommand(),
		completionCommand(app),
		versionCommand(),
		demoEngineCommand(),
	}
	for _, c := range app.Commands {
		c.HideHelpCommand = true // else `run -- help` would print help
		c.OnUsageError = usageError
	}
	return app
}

// usageError makes an error of a flag that urfave/cli did not understand, without
// its help text of a page.
func usageError(c *cli.Context, err error, _ bool) error {
	name := "vobs"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != "vobs" {
		name = "vobs " + c.Command.Name
	}
	message := err.Error()
	if flag, ok := strings.CutPrefix(message, "flag provided but not defined: -"); ok {
		if len(flag) > 1 { // package flag knows one dash only
			flag = "-" + flag
		}
		message = "unknown flag -" + flag
	}
	return withHint(errors.New(message), "see "+name+" --help")
}

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

func withHint(err error, hint string) error { return &hinted{err, hint} }
