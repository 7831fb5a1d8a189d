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
	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/internal/github"
	"github.com/vobs/vobs/schema"
)

func diagnoseCommand() *cli.Command {
	return &cli.Command{
		Name:      "diagnose",
		Usage:     "find what limits an engine, and what to change",
		ArgsUsage: "[EVENT...] (- is stdin)",
		Description: `EVENT is a file with one event or several. Their figures are judged by the rules of this
version of vobs, whether an event has a diagnosis of its own or not.

Exits with 0, with 1 if there is a critical finding, with 2 if something cannot be read.
docs/diagnosis.md describes the rules.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "preset", Value: string(diagnose.Default), Usage: "`RULES` to apply: default, or document for those of the production document, to the letter"},
			&cli.Float64Flag{Name: "shared-prefix", Usage: "`SHARE` of the prompt tokens that requests have in common, from 0 to 1, if it is known"},
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
			reports = append(reports, diagnose.NewReport(source, e, d))
		} else {
			unread = append(unread, fmt.Errorf("%s: nothing to diagnose: %s", source, whyNoEngine(e)))
		}
	}
	if err := eachEventIn(c, add); err != nil {
		return err
	}
	if len(reports) > 0 {
		if err := writeReports(c, reports, format); err != nil {
			return err
		}
		reportDiagnoses(step, reports)
	}
	switch {
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
	return o, nil
}

// eachEventIn calls add with each event of the files in the arguments, and with what names it.
func eachEventIn(c *cli.Context, add func(source string, e *schema.GenerationObservability)) error {
	files, err := filesOf(c)
	if err != nil {
		return err
	}
	for _, file := range files {
		in, err := events.Open(file)
		if err != nil {
			return err
		}
		defer in.Close()
		for e, err := range events.Read(events.Limit(in, events.MaxFile)) {
			if err != nil {
				return fmt.Errorf("reading %s: %w", file, err)
			}
			add(file, e.GenerationObservability)
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
