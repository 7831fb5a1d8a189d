package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
)

// loadResultVariable names the file that a load inside a bracket writes its result to. It is not
// a flag, so that equal loads have equal command lines in their events.
const loadResultVariable = "VOBS_LOAD_RESULT"

// observeTimeout is how long an engine may take to answer before the load begins.
const observeTimeout = 5 * time.Second

// observeFlags returns the flags of load for the engine's view.
func observeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "observe", Usage: "read the engine's metrics at `URL` as well, as vobs run --metrics-url does, and write a whole event; the server's own address will do (repeatable)"},
	}
}

// observes reports whether this process is to run the load inside a bracket.
func observes(c *cli.Context) bool { return len(c.StringSlice("observe")) > 0 }

// redirectObserved makes a load that runs inside a bracket write its result for the bracket.
func redirectObserved(c *cli.Context) error {
	file := os.Getenv(loadResultVariable)
	if file == "" || observes(c) {
		return nil
	}
	return c.Set("output", file)
}

// observeLoad runs this load again, as the command of a vobs run in this process, which writes the
// event. It ends the process as the load ended, unless it returns an error: then no load was
// started.
func observeLoad(c *cli.Context) error {
	flags, err := observingFlags(c)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding vobs itself: %w", err)
	}
	folder, err := os.MkdirTemp("", "vobs-load-")
	if err != nil {
		return fmt.Errorf("making a folder for the result of the load: %w", err)
	}
	result := filepath.Join(folder, "client.json")
	if err := os.Setenv(loadResultVariable, result); err != nil {
		return err
	}
	args := slices.Concat([]string{"vobs", "run", "--ingest=" + literal(result)}, flags, []string{"--", program}, bareLoad(c))
	var exit child.Exit
	app := newApp(os.Stdout, os.Stderr)
	for _, command := range app.Commands {
		if command.Name == "run" {
			command.Action = onGitHub(func(c *cli.Context, step githubStep) (err error) {
				exit, err = runCommandLine(c, step)
				return err
			})
		}
	}
	err = app.Run(args)
	_ = os.RemoveAll(folder)
	if err != nil {
		if e := (*exitError)(nil); errors.As(err, &e) && e.cause != nil { // its code is that of vobs run
			err = e.cause
		}
		return err
	}
	exit.Mirror()
	return nil
}

// literal returns a name in which vobs run finds no placeholder.
func literal(name string) string { return strings.ReplaceAll(name, "%", "%%") }

// observingFlags returns the flags of vobs run that observe the load. It returns an error unless
// every engine answers.
func observingFlags(c *cli.Context) ([]string, error) {
	if name := c.String("dataset"); name != "" {
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			return nil, fmt.Errorf("--observe reads --dataset twice, and %s is not a regular file: save the dataset in one", name)
		}
	}
	access := probe.Config{}
	var err error
	if access.Headers, err = headers(list(c, "metrics-header", "\n")); err != nil {
		return nil, fmt.Errorf("%s: %w", variable("metrics-header"), err)
	}
	out := []string{"--schema=full"} // whatever VOBS_SCHEMA is
	if file := cmp.Or(os.Getenv(variable("metrics-ca")), c.String("ca")); file != "" {
		if access.CA, err = readCA("metrics CA", file); err != nil {
			return nil, err
		}
		out = append(out, "--metrics-ca="+file)
	}
	for _, address := range c.StringSlice("observe") {
		address = metricsAddress(address, c.Args().First())
		target, err := scrape.ParseTarget(address)
		if err != nil {
			return nil, fmt.Errorf("--observe: %w", err)
		}
		if err := awaitEngine(access, target); err != nil {
			return nil, withHint(fmt.Errorf("--observe: %w", err), "vobs scrape "+target.Name()+" shows what answers there")
		}
		out = append(out, "--metrics-url="+address)
	}
	if file := c.String("output"); file != "" {
		out = append(out, "--output="+literal(file))
	}
	if c.Bool("quiet") {
		return append(out, "--quiet"), nil
	}
	return append(out, "--summary"), nil
}

// metricsAddress returns the address of an engine's metrics. The address of the API may end in
// /v1, where no metrics are, and that of the server may have another path in front.
func metricsAddress(address, server string) string {
	root := func(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "/"), "/v1") }
	address = root(address)
	if u, err := url.Parse(address); err == nil && u.Scheme != "unix" && u.Path != "" && address == root(server) {
		return address + "/metrics"
	}
	return address
}

// awaitEngine returns an error unless an engine's metrics can be read.
func awaitEngine(access probe.Config, target scrape.Target) error {
	ctx, cancel := context.WithTimeout(context.Background(), observeTimeout)
	defer cancel()
	return probe.Check(ctx, access, target)
}

// bareLoad returns the arguments of this vobs without the flags that the bracket has in the
// load's place, which would make the command lines of equal loads differ.
func bareLoad(c *cli.Context) []string {
	args := c.Lineage()[1].Args().Slice() // with the subcommand
	_, withValue := options(c.Command)
	out := args[:1:1]
	for i := 1; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		name, _, hasValue := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		if !isFlag || name == "" {
			return append(out, args[i:]...) // the server's address, behind -- if need be
		}
		words := args[i : i+1]
		if !hasValue && slices.Contains(withValue, dashed(name)) && i+1 < len(args) {
			words = args[i : i+2]
			i++
		}
		if name != "observe" && name != "output" && name != "o" {
			out = append(out, words...)
		}
	}
	return out
}
