package cli

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/load"
	"github.com/vobs/vobs/internal/load/dataset"
	"github.com/vobs/vobs/internal/render"
)

// datasetFlags are those of `vobs load` for datasets and conversations.
func datasetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "dataset", Usage: "send what is in `FILE`: prompts, messages, ShareGPT's conversations, or a trace of Mooncake or BurstGPT at its times"},
		&cli.Float64Flag{Name: "scale", Value: 1, Usage: "send a trace `N` times as fast, or multiply the requests and the concurrency of a --scenario by N"},
		&cli.StringFlag{Name: "turns", DefaultText: "single requests", Usage: "send conversations of `N` turns, or of a number in a range: each turn has the turns before in its prompt, with their answers"},
		&cli.StringFlag{Name: "turn-tokens", DefaultText: "as --prompt-tokens", Usage: "`LENGTH` of what the user adds in every turn but the first"},
		&cli.StringFlag{Name: "think-time", DefaultText: "0s", Usage: "`TIME` between an answer and the next turn: a time like 2s, a range like 1s..5s, or lognormal:MEDIAN,SIGMA"},
	}
}

// datasetSettings are the flags that describe the load.
var datasetSettings = []string{"dataset", "scale", "turns", "turn-tokens", "think-time"}

// checkScale refuses a --scale that nothing would follow, or that is out of bounds.
func checkScale(c *cli.Context) error {
	scale := c.Float64("scale")
	switch {
	case !c.IsSet("scale"):
	case !(scale >= 0.001 && scale <= 1000):
		return fmt.Errorf("--scale %v: use a number from 0.001 to 1000", scale)
	case !c.IsSet("scenario") && !c.IsSet("dataset"):
		return errors.New("--scale needs a --scenario, or a trace as --dataset")
	}
	return nil
}

// conversationOptions sets the options of conversations.
func conversationOptions(c *cli.Context, o *load.Options) (err error) {
	if !c.IsSet("turns") {
		for _, name := range []string{"turn-tokens", "think-time"} {
			if c.IsSet(name) {
				return fmt.Errorf("--%s needs --turns", name)
			}
		}
		return nil
	}
	if o.Turns, err = load.ParseLengths(c.String("turns")); err != nil {
		return fmt.Errorf("--turns %q: use a number like 5, or a range like 2..8", c.String("turns"))
	}
	o.TurnTokens = o.PromptTokens
	if text := c.String("turn-tokens"); text != "" {
		if o.TurnTokens, err = load.ParseLengths(text); err != nil {
			return fmt.Errorf("--turn-tokens %w", err)
		}
	}
	if text := c.String("think-time"); text != "" {
		if o.ThinkTime, err = load.ParseTimes(text); err != nil {
			return fmt.Errorf("--think-time %w", err)
		}
	}
	return nil
}

// datasetOptions sets the options of conversations and of the dataset, which it opens and
// checks.
func datasetOptions(c *cli.Context, o *load.Options) error {
	if err := conversationOptions(c, o); err != nil {
		return err
	}
	name := c.String("dataset")
	if name == "" {
		return nil
	}
	for _, other := range []string{"scenario", "prompt-tokens", "turn-tokens", "shared-prefix"} {
		if c.IsSet(other) {
			return fmt.Errorf("--dataset and --%s exclude each other: the prompts are those of the dataset", other)
		}
	}
	paced := c.IsSet("rate") || c.IsSet("concurrency")
	o.FixedOutput, o.Scale = c.IsSet("output-tokens"), c.Float64("scale")
	options := dataset.Options{Turns: c.IsSet("turns"), AnyOrder: paced}
	if o.Requests > 0 && o.WarmupTime == 0 {
		options.Records = o.Requests + o.Warmup
	}
	if o.Duration > 0 && !paced && o.Warmup == 0 && o.WarmupTime == 0 {
		options.Until = time.Duration(min(float64(o.Duration)*o.Scale, math.MaxInt64/2))
	}
	d, err := dataset.Open(name, options)
	if err != nil {
		return fmt.Errorf("--dataset: %w", err)
	}
	if err := checkDataset(c, o, d, paced); err != nil {
		d.Close()
		return err
	}
	o.Dataset = d
	return nil
}

// checkDataset refuses flags that the format of a dataset contradicts.
func checkDataset(c *cli.Context, o *load.Options, d *dataset.Dataset, paced bool) error {
	timed := d.Format.Timed()
	switch {
	case !timed && !paced:
		return withHint(fmt.Errorf("the records of --dataset have no times (%s)", d.Format), "--concurrency N for a closed loop, --rate N for an open one")
	case c.IsSet("scale") && !timed:
		return fmt.Errorf("--scale needs the times of a trace, which the format %s does not have", d.Format)
	case c.IsSet("scale") && c.IsSet("rate"):
		return errors.New("--scale needs the times of a trace, which --rate replaces")
	case c.IsSet("scale") && c.IsSet("concurrency"):
		return errors.New("--scale needs the times of a trace, which --concurrency replaces")
	case c.IsSet("ramp") && !paced:
		return errors.New("--ramp needs --rate or --concurrency: a trace is sent at its times")
	case c.IsSet("turns") && !d.Format.Chat():
		return fmt.Errorf("--turns needs conversations: the format %s has single requests", d.Format)
	case c.IsSet("vocab") && !timed:
		return fmt.Errorf("--vocab makes prompts, and the format %s has its own", d.Format)
	case d.Format.Chat() && c.IsSet("endpoint") && o.Endpoint != load.Chat:
		return fmt.Errorf("--endpoint %s: the dataset has messages, which go to chat", o.Endpoint)
	case d.Format.Chat():
		o.Endpoint = load.Chat
		return c.Set("endpoint", string(load.Chat))
	case d.Format == dataset.Prompts && o.Endpoint == load.Chat && d.TokenIDs:
		return errors.New("--endpoint chat: the dataset has token ids, which go to completions")
	}
	return nil
}

// describeDataset prints what will be sent.
func describeDataset(c *cli.Context, m *messages, o *load.Options) {
	d := o.Dataset
	if d == nil || c.Bool("quiet") {
		return
	}
	text := fmt.Sprintf("dataset %s, format %s", c.String("dataset"), d.Format)
	if d.Count > 0 {
		text += ": " + render.Count(d.Count, "record")
		if d.Skipped > 0 {
			text += fmt.Sprintf(", and %d that cannot be sent", d.Skipped)
		}
		if d.Format.Timed() && o.Rate == 0 && o.Concurrency == 0 {
			text += fmt.Sprintf(", over %s", time.Duration(float64(d.Span)/o.Scale).Round(time.Millisecond))
		}
	}
	m.line(text)
}

// warnExhausted warns if the dataset ended a run that was meant to go on.
func warnExhausted(c *cli.Context, m *messages, o *load.Options, r *load.Result) {
	if r.Exhausted && (o.Requests > 0 || o.Duration > 0) && !c.Bool("quiet") {
		m.warn("the dataset ended before the run was to end")
	}
}

// withTurnsHint adds a hint to the error of a server that conversations cannot be led with.
func withTurnsHint(err error) error {
	if errors.As(err, new(*load.NoTokenIDsError)) {
		return withHint(err, "vLLM 0.10.2 and later return token ids; --endpoint chat needs none")
	}
	return err
}

// addDatasetSettings corrects the settings of a load whose prompts are those of a dataset.
func addDatasetSettings(c *cli.Context, o *load.Options) {
	if !c.IsSet("scale") {
		delete(o.Settings, "scale")
	}
	if o.Dataset == nil {
		return
	}
	o.Settings["dataset-format"] = string(o.Dataset.Format)
	delete(o.Settings, "prompt-tokens")
	if o.Dataset.Format.Timed() && !o.FixedOutput {
		delete(o.Settings, "output-tokens")
	}
}
