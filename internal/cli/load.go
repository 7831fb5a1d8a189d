package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/bracket"
	"github.com/vobs/vobs/internal/load"
	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/schema"
)

// progressEvery is how often the progress line is written.
const progressEvery = time.Second

// defaultDuration is how long a load lasts if neither a time nor a number of requests is given.
const defaultDuration = time.Minute

func loadCommand() *cli.Command {
	return &cli.Command{
		Name:      "load",
		Usage:     "send a load to an OpenAI-compatible server, and measure what its clients see",
		ArgsUsage: "URL",
		Description: `URL is the server's: http://HOST:PORT, https://HOST:PORT or unix:///PATH/TO.sock.

A closed loop (--concurrency) sends a request when another one has ended; an open loop
(--rate) sends requests at their times, whatever the server does. Latencies count from
the time at which a request was meant to be sent.

   vobs load --rate 5 --duration 2m --slo chat http://127.0.0.1:8000
   vobs load --scenario saturation -o client.json http://127.0.0.1:8000
   vobs load --find-max --rate 2 --slo ttft=500ms,itl=50ms http://127.0.0.1:8000

The result is one line of JSON with the event's group client; a table goes to stderr.
With --observe it is a whole event: the load runs inside vobs run, whose variables hold.

Exits with 0, with 1 if no request was completed or --find-max found no rate, with 2 if
the flags are wrong or the server cannot be read, with 130 after Ctrl-C or
SIGTERM, when it has written what was measured.
docs/load.md describes the figures.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "scenario", Usage: "use the flags that the `SCENARIO` stands for, unless they are given: low, saturation, long-prompts, long-outputs or burst"},
			&cli.IntFlag{Name: "concurrency", Aliases: []string{"c"}, DefaultText: "none", Usage: "closed loop: keep `N` requests under way"},
			&cli.Float64Flag{Name: "rate", DefaultText: "none", Usage: "open loop: send `N` requests per second"},
			&cli.StringFlag{Name: "arrivals", Value: load.Poisson.String(), Usage: "`PROCESS` of the arrivals of an open loop: poisson, constant, or gamma:SHAPE (a shape below 1 makes bursts)"},
			&cli.DurationFlag{Name: "ramp", Usage: "raise the rate, or the concurrency, from 0 over this `TIME`"},
			&cli.IntFlag{Name: "requests", Aliases: []string{"n"}, DefaultText: "no limit", Usage: "stop after `N` requests"},
			&cli.DurationFlag{Name: "duration", DefaultText: "60s without --requests", Usage: "stop after this `TIME`, and await what is under way"},
			&cli.StringFlag{Name: "warmup", Usage: "do not count the first requests: `N` of them, or those of a time such as 10s"},
			&cli.StringFlag{Name: "prompt-tokens", Value: "512", Usage: "`LENGTH` of prompts: a number, a range like 100..500, or lognormal:MEDIAN,SIGMA"},
			&cli.StringFlag{Name: "output-tokens", Value: "256", Usage: "`LENGTH` of outputs, as for prompts"},
			&cli.BoolFlag{Name: "ignore-eos", Value: true, Usage: "make vLLM generate exactly the planned number of tokens (ignore_eos and min_tokens); =false for servers that refuse this"},
			&cli.Float64Flag{Name: "shared-prefix", Usage: "`SHARE` of each prompt, from 0 to 1, that all prompts begin with"},
			&cli.Float64Flag{Name: "cancel", Usage: "`SHARE` of the requests, from 0 to 1, that the client cancels at a random token"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "`SEED` of lengths, prompts and arrivals: equal seeds make equal loads, which the server's prefix cache may know"},
			&cli.StringFlag{Name: "endpoint", Value: string(load.Completions), Usage: "`ENDPOINT` of the API: completions (prompts of exact length, as token ids) or chat (text)"},
			&cli.StringFlag{Name: "model", DefaultText: "the first one that the server serves", Usage: "`NAME` of the model"},
			&cli.IntFlag{Name: "vocab", DefaultText: "common words by the server's /tokenize", Usage: "make prompts of the ids of a vocabulary of `N` tokens"},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Minute, Usage: "give a request up after this `TIME`"},
			&cli.StringFlag{Name: "slo", Usage: "count the requests that meet the `SLO` as goodput: chat, code, batch, rag or agentic, or targets like ttft=500ms,itl=50ms,e2e=10s"},
			&cli.StringFlag{Name: "api-key-env", Usage: "send the key in the environment variable `NAME` as a bearer token"},
			&cli.StringFlag{Name: "api-key-file", Usage: "send the key in `FILE` as a bearer token"},
			&cli.StringFlag{Name: "ca", Usage: "verify an https server with the certificates in `FILE` (PEM); by default with the system's, and a server on a loopback address not at all"},
			outputFlag(),
			&cli.StringFlag{Name: "save-requests", Usage: "write every request to `FILE` as it ends, one line of JSON each"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print neither the table nor the progress"},
		}, slices.Concat(datasetFlags(), observeFlags(), findMaxFlags())...),
		Action: loadAction,
	}
}

func loadAction(c *cli.Context) (err error) {
	m := &messages{w: os.Stderr}
	if err := errors.Join(refuseEmpty(c), redirectObserved(c), checkLoadFiles(c)); err != nil {
		return err
	}
	if err := errors.Join(prepareFindMax(c), applyScenario(c, m)); err != nil {
		return err
	}
	server, err := loadServer(c)
	if err != nil {
		return err
	}
	options, err := loadOptions(c)
	if err != nil {
		return err
	}
	if options.Dataset != nil {
		defer options.Dataset.Close()
	}
	options.Settings = loadSettings(c)
	addDatasetSettings(c, options)
	options.Settings["url"] = server.Name()
	if err := checkResultTarget(c); err != nil {
		return err
	}
	closeRequests, err := saveRequests(c, options)
	if err != nil {
		return err
	}
	if observes(c) {
		return errors.Join(closeRequests(), observeLoad(c))
	}
	describeDataset(c, m, options)
	clear := func() {}
	if isTerminal(os.Stderr) && !c.Bool("quiet") {
		clear = reportProgress(options, os.Stderr)
	}
	ctx, stop := bracket.UntilSignal()
	defer stop()
	result, err := runLoad(ctx, c, m, server, options)
	clear()
	err = errors.Join(err, closeRequests())
	if result == nil {
		if ctx.Err() != nil {
			return fail(exitInterrupt, err)
		}
		return withSetupHint(c, err)
	}
	warnExhausted(c, m, options, result)
	writeErr := writeLoad(c, m, result)
	if err == nil {
		return writeErr
	}
	if errors.As(writeErr, new(*exitError)) { // its message would hide err
		writeErr = nil
	}
	return errors.Join(withTurnsHint(err), writeErr)
}

// withSetupHint adds a hint to the error of a server that a load cannot begin with.
func withSetupHint(c *cli.Context, err error) error {
	if errors.As(err, new(*load.NoTokenizerError)) {
		return withHint(err, "--vocab N makes prompts of the ids of a vocabulary of N tokens; --endpoint chat sends text")
	}
	status := (*load.StatusError)(nil)
	switch {
	case !errors.As(err, &status):
	case status.Status == http.StatusUnauthorized && !c.IsSet("api-key-env") && !c.IsSet("api-key-file"):
		return withHint(err, "--api-key-env NAME or --api-key-file FILE sends a key")
	case status.Status == http.StatusNotFound && !c.IsSet("model"):
		return withHint(err, "is it an OpenAI-compatible server? Without /v1/models, use --model NAME")
	}
	return err
}

// writeLoad writes the result, and returns the error that makes the exit code.
func writeLoad(c *cli.Context, m *messages, result *load.Result) error {
	var textErr error // which must not lose the result
	if !c.Bool("quiet") {
		textErr = writeBuffered(m.w, result.WriteText)
		for _, note := range result.Notes.Validity {
			if note.Severity == schema.Info {
				m.line("note: " + note.Message)
			} else {
				m.warn(note.Message)
			}
		}
	}
	err := writeResult(c, result.Write)
	if err != nil && c.IsSet("output") && os.Getenv(loadResultVariable) == "" && checkStdout(c, "result") == nil {
		if writeBuffered(c.App.Writer, result.Write) == nil {
			err = fmt.Errorf("%w: the result went to stdout instead", err)
		}
	}
	if err := errors.Join(err, textErr); err != nil {
		return err
	}
	switch {
	case result.Interrupted:
		return fail(exitInterrupt, nil)
	case *result.Client.Requests.Completed == 0:
		return fail(exitProblems, errors.New("no request was completed"))
	}
	return findMaxCode(result)
}

// checkLoadFiles returns an error if a file that the load writes is stdout, or another one of its
// files. Devices may be both.
func checkLoadFiles(c *cli.Context) error {
	if c.String("save-requests") == "-" {
		return errors.New("--save-requests takes the name of a file: the result goes to stdout")
	}
	names := []string{"output", "save-requests", "dataset", "api-key-file", "ca"}
	for i, written := range names[:2] {
		for _, other := range names[i+1:] {
			name := c.String(written)
			if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
				continue
			}
			if sameFile(name, c.String(other)) {
				return fmt.Errorf("--%s and --%s name the same file, %s", written, other, name)
			}
		}
	}
	return nil
}

// saveRequests makes the run write its requests to the file of --save-requests. It returns a
// function that closes the file.
func saveRequests(c *cli.Context, o *load.Options) (closeFile func() error, err error) {
	name := c.String("save-requests")
	if name == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("--save-requests: %w", err)
	}
	w := bufio.NewWriter(f)
	o.Done = func(r *load.Request) { err = cmp.Or(err, r.Write(w)) }
	return func() error {
		if err := errors.Join(cmp.Or(err, w.Flush()), f.Close()); err != nil { // Flush repeats err
			return fmt.Errorf("--save-requests: %w", err)
		}
		return nil
	}, nil
}

// reportProgress makes the run write a progress line to a terminal. It returns a function that
// removes the line.
func reportProgress(o *load.Options, terminal *os.File) (clear func()) {
	const removeLine = "\r\x1b[K"
	w := &messageStream{f: terminal}
	o.ReportEvery = progressEvery
	o.Report = func(s load.Status) {
		line := render.Printable(s.String())
		if width := terminalWidth(terminal); width > 0 && len(line) >= width {
			line = line[:width-1]
		}
		_, _ = io.WriteString(w, removeLine+line)
	}
	return func() { _, _ = io.WriteString(w, removeLine) }
}
