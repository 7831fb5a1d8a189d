package cli

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/vobs/vobs/internal/ab"
	"github.com/vobs/vobs/internal/check"
	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/diagnose"
	"github.com/vobs/vobs/internal/doctor"
	"github.com/vobs/vobs/internal/github"
	"github.com/vobs/vobs/internal/load"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/internal/slo"
	"github.com/vobs/vobs/internal/trace"
	"github.com/vobs/vobs/internal/wandb"
	"github.com/vobs/vobs/observe"
	"github.com/vobs/vobs/schema"
)

// flagWords are the words that flags take, by the flag's name, after the subcommand's if only
// its flag takes them; completion offers them. TestFlagWords compares them with what the flags
// accept.
var flagWords = map[string][]string{
	"schema":          {string(schema.Full), string(schema.CoreOnly), string(schema.Log)},
	"command":         {string(redact.CommandFull), string(redact.CommandNames), string(redact.CommandNone)},
	"forward-signals": {child.ForwardAuto.String(), child.ForwardNever.String()},
	"multiproc":       {string(observe.MultiprocAuto), string(observe.MultiprocOn), string(observe.MultiprocOff)},
	"check format":    {string(check.Text), string(check.JSON), string(check.Markdown), string(check.JUnit)},
	"compare format":  formatWords,
	"ab format":       formatWords,
	"doctor format":   {string(doctor.Text), string(doctor.JSON)},
	"version format":  {string(render.Text), string(render.JSON)},
	"diagnose format": {string(diagnose.Text), string(diagnose.JSON), string(diagnose.Markdown)},
	"trace format":    {string(trace.Text), string(trace.JSON), string(trace.Markdown)},
	"preset":          {string(diagnose.Default), string(diagnose.Document)},
	"endpoint":        {string(load.Completions), string(load.Chat)},
	"arrivals":        {"poisson", "constant"},
	"scenario":        scenarioNames(),
	"ab order":        {string(ab.ABBA), string(ab.Random)},
	"slo":             slo.Names(),
	githubFlag:        {string(github.Auto), string(github.On), string(github.Off)},
	"of":              {schemaOfEvent, schemaOfLimits},
	"interval":        {autoInterval},
	"scrape-interval": {autoInterval},
	"wandb":           {string(wandb.Auto), string(wandb.Online), string(wandb.Offline), string(wandb.Disabled)},
}

var formatWords = []string{string(render.Text), string(render.Markdown), string(render.CSV), string(render.JSON)}

// wordsOf returns the words that a subcommand's flag takes, or nil.
func wordsOf(c *cli.Command, f cli.Flag) []string {
	name := f.Names()[0]
	if words := flagWords[c.Name+" "+name]; words != nil {
		return words
	}
	return flagWords[name]
}

// autoInterval leaves an interval to vobs.
const autoInterval = "auto"

// refuseEmpty refuses an empty value of a flag that names a file, a server, limits or sides. It most likely
// comes from a variable that is not set in CI, and ignoring it would drop what is to be decided.
// vobs run keeps its empty values: there they stand for the default.
func refuseEmpty(c *cli.Context) error {
	if c.Command.Name == "run" {
		return nil
	}
	for _, name := range []string{"api-key-env", "api-key-file", "append", "at", "by", "ca", "classes", "dataset", "history", "limits", "output", "prometheus", "prometheus-basic-auth-file", "prometheus-token-file", "save-requests", "scenario", "selector", "slo", "think-time", "turn-tokens"} {
		if c.IsSet(name) && c.String(name) == "" {
			return withHint(fmt.Errorf("--%s is empty", name), "leave the flag out, or set the variable that its value comes from")
		}
	}
	return nil
}

// variable returns the environment variable of a flag.
func variable(name string) string {
	return "VOBS_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// source returns where a flag's value comes from, for messages: the flag, or its
// variable.
func source(c *cli.Context, name string) string {
	if v := os.Getenv(variable(name)); v != "" && v == c.String(name) {
		return variable(name)
	}
	return "--" + name
}

// list returns the values of a flag that can be given several times. Without the flag
// they come from its environment variable, split at the separators.
func list(c *cli.Context, name, separators string) []string {
	if values := c.StringSlice(name); len(values) > 0 {
		return values
	}
	var out []string
	for _, v := range strings.FieldsFunc(os.Getenv(variable(name)), func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// labels parses NAME=VALUE pairs.
func labels(pairs []string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, withHint(fmt.Errorf("label %q is not of the form NAME=VALUE", p), "--label case=chat-2k")
		}
		if _, exists := out[name]; exists {
			return nil, fmt.Errorf("label %s is given twice", name)
		}
		out[name] = value
	}
	return out, nil
}

// headers parses NAME: VALUE lines. Errors do not quote them: a value may be a
// secret.
func headers(lines []string) (http.Header, error) {
	out := http.Header{}
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !isHeaderName(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, withHint(fmt.Errorf("metrics header %d is not of the form NAME: VALUE", i+1), `--metrics-header "Authorization: Bearer $TOKEN"`)
		}
		out.Add(name, value)
	}
	return out, nil
}

// isHeaderName reports whether s is a token as RFC 9110, 5.6.2, defines it.
func isHeaderName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c)) {
			return false
		}
	}
	return s != ""
}

// interval parses a flag that is `auto`, for which it returns 0, or a time from
// shortest to 1h.
func interval(c *cli.Context, name string, shortest time.Duration) (time.Duration, error) {
	text := c.String(name)
	if text == autoInterval || text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s %q: use auto or a time like 250ms or 2s", source(c, name), text)
	}
	if d < shortest || d > time.Hour {
		return 0, fmt.Errorf("%s %v: use auto or a time from %v to 1h", source(c, name), d, shortest)
	}
	return d, nil
}

// readCA reads certificates in PEM format. what names the file in errors.
func readCA(what, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %s has no certificate in PEM format", what, file)
	}
	return pool, nil
}
