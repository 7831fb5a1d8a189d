package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/internal/diagnose"
	"github.com/vobs/vobs/internal/github"
	"github.com/vobs/vobs/schema"
)

func diagnoseCommand() *cli.Command {
	return &cli.Command{
		Name:      "diagnose",
		Usage:     "find what limits an engine, and what to change",
		ArgsUsage: "EVENT... (- is stdin)",
		Description: `EVENT is a file with one event or several. Their figures are judged by the rules of this
version of vobs, whether an event has a diagnosis of its own or not.

Instead of events, --metrics-url reads live engines for a while, with the GPUs of this
host, and --prometheus what Prometheus has recorded of engines:

   vobs diagnose --metrics-url http://127.0.0.1:8000 --for 60s
   vobs diagnose --prometheus http://prometheus:9090 --selector '{job="vllm"}' --at 14:05

Exits with 0, with 1 if there is a critical finding, with 2 if something cannot be read,
with 130 after Ctrl-C. docs/diagnosis.md describes the rules.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "metrics-url", Usage: "read the live engine at `URL`, or a dcgm-exporter: http, https or unix:///PATH; without a path, /metrics (repeatable)"},
			&cli.StringFlag{Name: "prometheus", Usage: "read what the server at `URL` has recorded: Prometheus, or another one with its HTTP API"},
			&cli.StringFlag{Name: "selector", Usage: "`LABELS` of the engines in Prometheus, as {job=\"vllm\"}"},
			&cli.StringFlag{Name: "at", Value: "now", Usage: "`TIME` at which the window in Prometheus ends: RFC 3339, 14:05 for today, -1h for an hour ago, or now"},
			&cli.DurationFlag{Name: "for", DefaultText: "60s live, 10m from Prometheus", Usage: "how much `TIME` is read"},
			&cli.StringFlag{Name: "prometheus-token-file", Usage: "send the bearer token in `FILE` to Prometheus"},
			&cli.StringFlag{Name: "prometheus-basic-auth-file", Usage: "send the USER:PASSWORD in `FILE` to Prometheus"},
			&cli.StringSliceFlag{Name: "metrics-header", Usage: "send `NAME: VALUE` with every request to the engines, or to Prometheus, and to nothing else (repeatable) [$VOBS_METRICS_HEADER]"},
			&cli.StringFlag{Name: "metrics-ca", EnvVars: []string{"VOBS_METRICS_CA"}, Usage: "verify https servers with the certificates in `FILE` (PEM); by default with the system's, and engines on a loopback address not at all"},
			&cli.StringFlag{Name: "event", Usage: "write the event that was read by --metrics-url or --prometheus to `FILE`, too"},
			&cli.StringFlag{Name: "preset", Value: string(diagnose.Default), Usage: "`RULES` to apply: default, or document for those of the production document, to the letter"},
			&cli.Float64Flag{Name: "shared-prefix", Usage: "`SHARE` of the prompt tokens, from 0 to 1, that a perfect prefix cache would have found, if it is known"},
			&cli.Int64Flag{Name: "max-num-seqs", DefaultText: "the engine's", Usage: "the engines' max_num_seqs is `N`, where an event does not have it"},
			&cli.Int64Flag{Name: "max-num-batched-tokens", DefaultText: "the engine's", Usage: "the engines' max_num_batched_tokens is `N`, where an event does not have it"},
			&cli.StringFlag{Name: "format", Value: string(diagnose.Text), Usage: "`FORMAT` of the result: text, json or markdown"},
			outputFlag(),
			githubSummaryFlag(),
		},
		Action: onGitHub(diagnoseAction),
	}
}

func diagnoseAction(c *cli.Context, step githubStep) error {
	format, err := diagnose.ParseFormat(cmp.Or(c.String("format"), string(diagnose.Text)))
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	options, err := diagnoseOptions(c)
	if err != nil {
		return err
	}
	var reports diagnose.Reports
	var unread []error
	add := func(source string, e *schema.GenerationObservability) {
		if d := diagnose.Diagnose(e, options); d != nil {
			reports = append(reports, diagnose.NewReport(source, e, d, options.Preset))
		} else {
			unread = append(unread, fmt.Errorf("%s: nothing to diagnose: %s", source, whyNoEngine(e)))
		}
	}
	if err := checkResultTarget(c); err != nil {
		return err
	}
	interrupted, err := eachEventToDiagnose(c, step.m, add)
	if err != nil {
		return err
	}
	if len(reports) > 0 {
		if err := writeReports(c, reports, format); err != nil {
			return err
		}
		reportDiagnoses(step, reports)
	}
	switch {
	case interrupted:
		return fail(exitInterrupt, errors.Join(unread...))
	case len(unread) > 0:
		return fail(exitUsage, errors.Join(unread...))
	case reports.Critical():
		return fail(exitProblems, nil)
	}
	return nil
}

// diagnoseOptions returns the options of the rules.
func diagnoseOptions(c *cli.Context) (o diagnose.Options, err error) {
	if o.Preset, err = diagnose.ParsePreset(c.String("preset")); err != nil {
		return o, fmt.Errorf("--preset: %w", err)
	}
	if c.IsSet("shared-prefix") {
		share := c.Float64("shared-prefix")
		if math.IsNaN(share) || share < 0 || share > 1 {
			return o, fmt.Errorf("--shared-prefix %v: use a share from 0 to 1, as 0.5", share)
		}
		o.SharedPrefix = &share
	}
	for name, into := range map[string]*int64{"max-num-seqs": &o.MaxNumSeqs, "max-num-batched-tokens": &o.MaxNumBatchedTokens} {
		if *into = c.Int64(name); c.IsSet(name) && *into <= 0 {
			return o, fmt.Errorf("--%s %d: use a number above 0", name, *into)
		}
	}
	return o, nil
}

func writeReports(c *cli.Context, reports diagnose.Reports, format diagnose.Format) error {
	width := 0
	if c.String("output") == "" && c.App.Writer == io.Writer(os.Stdout) {
		width = terminalWidth(os.Stdout)
	}
	return writeResult(c, func(w io.Writer) error { return reports.Write(w, format, width) })
}

// reportDiagnoses reports to GitHub: critical findings are errors, and warnings are warnings.
func reportDiagnoses(step githubStep, reports diagnose.Reports) {
	var annotations []github.Annotation
	for i := range reports {
		for _, f := range reports[i].Findings {
			a := github.Annotation{Severity: github.Warning, Title: "vobs diagnose: " + string(f.Code), Message: reports[i].Source + ": " + f.Message}
			switch f.Severity {
			case schema.FindingCritical:
				a.Severity = github.Error
			case schema.FindingInfo:
				continue
			}
			annotations = append(annotations, a)
		}
	}
	heading := "vobs diagnose"
	if len(reports) == 1 {
		heading, _, _ = strings.Cut("vobs diagnose: "+diagnose.Headline(reports[0].Diagnosis), ";")
	}
	step.report(heading, reports.WriteMarkdown, annotations...)
}
