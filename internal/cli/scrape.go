package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/prometheus/prom2json"
	"github.com/urfave/cli/v2"

	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
)

func scrapeCommand() *cli.Command {
	return &cli.Command{
		Name:      "scrape",
		Usage:     "print a metrics page as JSON, in prom2json's form",
		ArgsUsage: "URL|FILE (- is stdin)",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "metrics-header", Usage: "send `NAME: VALUE` with the request (repeatable) [$VOBS_METRICS_HEADER]"},
			&cli.StringFlag{Name: "metrics-ca", EnvVars: []string{"VOBS_METRICS_CA"}, Usage: "verify an https server with the certificates in `FILE` (PEM); by default with the system's, and not at all on a loopback address"},
		},
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return fail(exitUsage, withHint(errors.New("no URL or file given"), "vobs scrape http://127.0.0.1:8000/metrics"))
			}
			if c.NArg() != 1 {
				return fail(exitUsage, withHint(fmt.Errorf("expected one URL or file, got %d", c.NArg()), "vobs scrape http://127.0.0.1:8000/metrics"))
			}
			page, err := readPage(c, c.Args().First())
			if err != nil {
				return fail(exitUsage, err)
			}
			families, err := exposition.Families(page)
			if err != nil {
				return fail(exitProblems, fmt.Errorf("reading the page of %s: %w", c.Args().First(), err))
			}
			out := make([]*prom2json.Family, len(families))
			for i, f := range families {
				out[i] = prom2json.NewFamily(f)
			}
			enc := json.NewEncoder(c.App.Writer)
			enc.SetEscapeHTML(false)
			return enc.Encode(out)
		},
	}
}

// readPage reads a page from stdin, a file or a server. An argument without :// is a
// server only if no such file exists and it has a colon.
func readPage(c *cli.Context, from string) ([]byte, error) {
	switch {
	case from == "-":
		page, err := io.ReadAll(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("reading stdin: %w", err)
		}
		return page, nil
	case !strings.Contains(from, "://"):
		if page, err := os.ReadFile(from); err == nil || !os.IsNotExist(err) || !strings.Contains(from, ":") {
			return page, err
		}
	}
	t, err := scrape.ParseTarget(from)
	if err != nil {
		return nil, err
	}
	cfg, err := metricsAccess(c)
	if err != nil {
		return nil, err
	}
	return probe.Fetch(context.Background(), cfg, t)
}

// targets returns the servers of --metrics-url, or of its variable.
func targets(c *cli.Context) (out []scrape.Target, err error) {
	for _, address := range list(c, "metrics-url", " \t\n") {
		t, err := scrape.ParseTarget(address)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// metricsAccess returns the headers and the certificates for metrics addresses.
func metricsAccess(c *cli.Context) (cfg probe.Config, err error) {
	if cfg.Headers, err = headers(list(c, "metrics-header", "\n")); err != nil {
		return cfg, err
	}
	if file := c.String("metrics-ca"); file != "" {
		cfg.CA, err = readCA("metrics CA", file)
	}
	return cfg, err
}
