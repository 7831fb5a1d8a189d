package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/load"
	"github.com/vobs/vobs/internal/load/findmax"
)

const (
	// findMaxStart is the rate of the first step without --rate, in requests per second.
	findMaxStart = 1
	// findMaxDuration limits a step if neither a time nor a number of requests is given.
	findMaxDuration = 2 * time.Minute
)

func findMaxFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "find-max", Usage: "search for the highest rate that meets --slo; --rate is the first one (default: 1), and --requests and --duration (default: 2m) limit a step"},
		&cli.Float64Flag{Name: "max-rate", DefaultText: "no limit", Usage: "with --find-max: try no more than `N` requests per second"},
		&cli.StringFlag{Name: "resolution", Value: "5%", Usage: "with --find-max: the `STEP` between two rates, relative to the lower one"},
	}
}

// prepareFindMax sets the flags that --find-max implies. It returns an error if others do not
// go with it.
func prepareFindMax(c *cli.Context) error {
	if !c.Bool("find-max") {
		for _, name := range []string{"max-rate", "resolution"} {
			if c.IsSet(name) {
				return fmt.Errorf("--%s needs --find-max", name)
			}
		}
		return nil
	}
	for _, name := range []string{"concurrency", "ramp", "cancel", "scale", "save-requests", "dataset", "turns"} {
		if c.IsSet(name) {
			return fmt.Errorf("--find-max and --%s exclude each other", name)
		}
	}
	if observes(c) {
		return withHint(errors.New("--find-max and --observe exclude each other: an event is about one load"),
			"search first, then observe the rate that was found: vobs load --rate RATE --observe URL")
	}
	if !c.IsSet("slo") {
		return withHint(errors.New("--find-max needs --slo"), "--slo chat, or targets like --slo ttft=500ms@p99,itl=50ms")
	}
	if !c.IsSet("rate") {
		if err := c.Set("rate", strconv.Itoa(findMaxStart)); err != nil {
			return err
		}
	}
	if !c.IsSet("requests") && !c.IsSet("duration") {
		return c.Set("duration", findMaxDuration.String())
	}
	return nil
}

// findMaxOptions returns what to search.
func findMaxOptions(c *cli.Context, o *load.Options) (*findmax.Options, error) {
	f := &findmax.Options{Start: o.Rate, Highest: 1e6, Requests: o.Requests, Duration: o.Duration}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(c.String("resolution")), "%"), 64)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(c.String("resolution")), "%") || !(percent >= 0.5 && percent <= 100) {
		return nil, fmt.Errorf("--resolution %q: use a share from 0.5%% to 100%%, as 5%%", c.String("resolution"))
	}
	f.Resolution = percent / 100
	if c.IsSet("max-rate") {
		if f.Highest = c.Float64("max-rate"); !(f.Highest >= f.Start && f.Highest <= 1e6) {
			return nil, fmt.Errorf("--max-rate %v: use a number from --rate, %v, to a million", f.Highest, f.Start)
		}
	}
	for _, target := range o.SLO {
		f.Targets = append(f.Targets, findmax.Target{Name: target.String(), Seconds: target.Seconds, Share: float64(target.Percentile) / 100})
	}
	return f, nil
}

// runLoad sends the load, or with --find-max searches for the highest rate.
func runLoad(ctx context.Context, c *cli.Context, m *messages, server *load.Server, o *load.Options) (*load.Result, error) {
	if !c.Bool("find-max") {
		return load.Run(ctx, server, o)
	}
	f, err := findMaxOptions(c, o)
	if err != nil {
		return nil, err
	}
	o.Settings["find-max"], o.Settings["resolution"], o.Settings["start-rate"] = true, c.String("resolution"), f.Start
	if c.IsSet("max-rate") {
		o.Settings["max-rate"] = f.Highest
	}
	if !c.Bool("quiet") {
		m.line(findMaxPlan(f))
		if o.Report == nil { // no progress line either: a step may take minutes
			f.Report = func(p findmax.Progress) {
				if p.Done != nil {
					m.line(p.Done.Line(f))
				}
			}
		}
	}
	result, found, err := load.FindMax(ctx, server, o, f)
	if result == nil {
		return nil, err
	}
	if !c.Bool("quiet") {
		if err := writeBuffered(m.w, func(w io.Writer) error { return found.WriteText(w, f) }); err != nil {
			return result, err
		}
	}
	if err != nil {
		err = fail(exitUsage, err) // though no request may have been completed, too
	}
	return result, err
}

// findMaxPlan says how long the search takes.
func findMaxPlan(f *findmax.Options) string {
	limits := []string{}
	if f.Requests > 0 {
		limits = append(limits, fmt.Sprintf("%d requests", f.Requests))
	}
	if f.Duration > 0 {
		limits = append(limits, f.Duration.String())
	}
	text := fmt.Sprintf("searching from %v requests/s: steps of at most %s", f.Start, strings.Join(limits, " or "))
	const doublings = 5
	if f.Duration > 0 {
		n := f.MostSteps(doublings)
		text += fmt.Sprintf("; %d steps, %v at most, if the answer is below %v", n, time.Duration(n)*f.Duration, f.Start*float64(int(1)<<doublings))
	}
	return text
}

// findMaxCode returns the error of a search that found no rate.
func findMaxCode(result *load.Result) error {
	if f := result.Client.FindMax; f != nil && f.Rate == nil {
		return fail(exitProblems, errors.New("no rate is known to meet the SLO"))
	}
	return nil
}
