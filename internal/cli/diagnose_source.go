package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/bracket"
	"github.com/vobs/vobs/internal/events"
	sources "github.com/vobs/vobs/internal/source" // a function of this package is called source
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// How much is read of what vobs diagnose reads itself, unless --for says otherwise.
const (
	liveTime       = time.Minute
	prometheusTime = 10 * time.Minute
)

// eachEventToDiagnose calls add with each event that the flags and arguments stand for, and with
// what names it. It reports whether a signal ended the reading.
func eachEventToDiagnose(c *cli.Context, m *messages, add func(from string, e *schema.GenerationObservability)) (interrupted bool, err error) {
	live, past := len(c.StringSlice("metrics-url")) > 0, c.String("prometheus") != ""
	switch {
	case live && past, (live || past) && c.Args().Present():
		return false, errors.New("EVENT, --metrics-url and --prometheus exclude each other")
	case c.IsSet("for") && c.Duration("for") < time.Second:
		return false, fmt.Errorf("--for %v: use a time of 1s or more", c.Duration("for"))
	}
	for _, flag := range []struct {
		name   string
		usable bool
		with   string
	}{
		{"for", live || past, "--metrics-url or --prometheus"}, {"at", past, "--prometheus"}, {"selector", past, "--prometheus"},
		{"metrics-header", live || past, "--metrics-url or --prometheus"}, {"event", live || past, "--metrics-url or --prometheus"},
		{"prometheus-token-file", past, "--prometheus"}, {"prometheus-basic-auth-file", past, "--prometheus"},
	} {
		if c.IsSet(flag.name) && !flag.usable {
			return false, fmt.Errorf("--%s is for %s", flag.name, flag.with)
		}
	}
	var failed error
	keep := func(from string, e *schema.GenerationObservability) {
		add(from, e)
		failed = writeEvent(c.String("event"), e)
	}
	switch {
	case live:
		interrupted, err = diagnoseLive(c, m, keep)
	case past:
		interrupted, err = diagnosePast(c, m, keep)
	default:
		return false, eachEventOfFiles(c, add)
	}
	return interrupted, errors.Join(err, failed)
}

// writeEvent writes an event to a file, if one is named.
func writeEvent(name string, e *schema.GenerationObservability) error {
	if name == "" {
		return nil
	}
	text, err := e.Encode(schema.Full)
	if err == nil {
		err = os.WriteFile(name, text, 0o666)
	}
	if err != nil {
		return fmt.Errorf("--event: %w", err)
	}
	return nil
}

// eachEventOfFiles calls add with each event of the files in the arguments.
func eachEventOfFiles(c *cli.Context, add func(from string, e *schema.GenerationObservability)) error {
	files, err := filesOf(c)
	if err != nil {
		return err
	}
	for _, name := range files {
		err := eachEvent(name, func(e *events.Event, source string) error {
			add(source, e.GenerationObservability)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// whyNoEngine returns why an event has no figures of an engine.
func whyNoEngine(e *schema.GenerationObservability) string {
	for _, u := range e.Unavailable {
		if u.Field == "engine" {
			return u.Reason
		}
	}
	return "the event has no figures of an engine"
}

// diagnoseLive reads the engines of --metrics-url.
func diagnoseLive(c *cli.Context, m *messages, add func(from string, e *schema.GenerationObservability)) (interrupted bool, err error) {
	o := sources.LiveOptions{For: liveTime, Warn: m.warn}
	if c.IsSet("for") {
		o.For = c.Duration("for")
	}
	if o.Program, err = os.Executable(); err != nil {
		return false, fmt.Errorf("finding vobs itself: %w", err)
	}
	if o.Probe, err = metricsAccess(c); err != nil {
		return false, err
	}
	for _, address := range c.StringSlice("metrics-url") {
		t, err := scrape.ParseTarget(address)
		if err != nil {
			return false, err
		}
		o.Targets = append(o.Targets, t)
		o.Flags = append(o.Flags, "--metrics-url="+address)
	}
	for _, header := range c.StringSlice("metrics-header") {
		o.Flags = append(o.Flags, "--metrics-header="+header)
	}
	if file := c.String("metrics-ca"); file != "" {
		o.Flags = append(o.Flags, "--metrics-ca="+file)
	}
	ctx, stop := bracket.UntilSignal()
	defer stop()
	e, err := sources.Live(ctx, o)
	if err != nil {
		if ctx.Err() != nil { // before anything was read
			return true, nil
		}
		if errors.Is(err, sources.ErrNoEngine) {
			err = withHint(err, "vobs scrape "+o.Targets[0].Name()+" shows what answers there")
		}
		return false, err
	}
	var names []string
	for _, t := range o.Targets {
		names = append(names, t.Name())
	}
	add(strings.Join(names, ", "), e)
	return ctx.Err() != nil, nil
}

// diagnosePast reads what Prometheus has recorded.
func diagnosePast(c *cli.Context, m *messages, add func(from string, e *schema.GenerationObservability)) (interrupted bool, err error) {
	to, err := sources.ParseTime(c.String("at"), time.Now())
	if err != nil {
		return false, fmt.Errorf("--at: %w", err)
	}
	from := to.Add(-prometheusTime)
	if c.IsSet("for") {
		from = to.Add(-c.Duration("for"))
	}
	access, err := metricsAccess(c)
	if err != nil {
		return false, err
	}
	p, err := sources.NewPrometheus(c.String("prometheus"), sources.Access{
		Header: access.Headers, CA: access.CA,
		TokenFile: c.String("prometheus-token-file"), BasicAuthFile: c.String("prometheus-basic-auth-file"),
	})
	if err != nil {
		return false, fmt.Errorf("--prometheus: %w", err)
	}
	ctx, stop := bracket.UntilSignal()
	defer stop()
	e, warnings, err := p.Event(ctx, c.String("selector"), from, to, Version())
	for _, text := range warnings {
		m.warn(text)
	}
	if ctx.Err() != nil {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	add(p.Name()+" "+c.String("selector"), e)
	return false, nil
}
