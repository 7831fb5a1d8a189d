package cli

import (
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
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

// flagParsers parse the flags that take words.
var flagParsers = map[string]func(string) error{
	"schema":          func(s string) error { _, err := schema.ParseView(s); return err },
	"command":         func(s string) error { _, err := redact.ParseCommandMode(s); return err },
	"forward-signals": func(s string) error { _, err := child.ParseForwardMode(s); return err },
	"multiproc":       func(s string) error { _, err := observe.ParseMultiproc(s); return err },
	"wandb":           func(s string) error { _, err := wandb.ParseMode(s); return err },
	"check format":    func(s string) error { _, err := check.ParseFormat(s); return err },
	"compare format":  func(s string) error { _, err := render.ParseFormat(s); return err },
	"ab format":       func(s string) error { _, err := render.ParseFormat(s); return err },
	"version format":  func(s string) error { _, err := parseVersionFormat(s); return err },
	"doctor format":   func(s string) error { _, err := doctor.ParseFormat(s); return err },
	"diagnose format": func(s string) error { _, err := diagnose.ParseFormat(s); return err },
	"trace format":    func(s string) error { _, err := trace.ParseFormat(s); return err },
	"preset":          func(s string) error { _, err := diagnose.ParsePreset(s); return err },
	"endpoint":        func(s string) error { _, err := load.ParseEndpoint(s); return err },
	"arrivals":        func(s string) error { _, err := load.ParseArrivals(s); return err },
	"scenario":        func(s string) error { _, err := parseScenario(s); return err },
	"ab order":        func(s string) error { _, err := ab.ParseOrder(s); return err },
	"slo":             func(s string) error { _, err := slo.Parse(s); return err },
	githubFlag:        func(s string) error { _, err := github.ParseMode(s); return err },
	"of":              func(s string) error { _, err := schemaOf(s, false); return err },
	"interval":        func(s string) error { return parseInterval("interval", s) },
	"scrape-interval": func(s string) error { return parseInterval("scrape-interval", s) },
}

func parseInterval(name, value string) error {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.String(name, value, "")
	_, err := interval(cli.NewContext(nil, set, nil), name, time.Millisecond)
	return err
}

// TestFlagWords compares flagWords with the flags: every word is accepted, every word
// that the error for a wrong one names is there, and so is every flag that takes a MODE
// or a VIEW.
func TestFlagWords(t *testing.T) {
	named := regexp.MustCompile(`: use (.*)$`)
	for name, words := range flagWords {
		parse := flagParsers[name]
		if parse == nil {
			t.Errorf("no parser for --%s", name)
			continue
		}
		for _, word := range words {
			if err := parse(word); err != nil {
				t.Errorf("--%s %s: %v", name, word, err)
			}
		}
		err := parse("no-such-word")
		match := named.FindStringSubmatch(fmt.Sprint(err))
		if match == nil {
			t.Errorf("--%s: the error names no words: %v", name, err)
			continue
		}
		want := strings.FieldsFunc(strings.ReplaceAll(match[1], " or ", ","), func(r rune) bool { return r == ',' || r == ' ' })
		want = slices.DeleteFunc(want, func(word string) bool { return parse(word) != nil }) // "or a time like 250ms"
		want = slices.DeleteFunc(want, func(word string) bool { return strings.ContainsAny(word, "0123456789") })
		slices.Sort(want)
		if got := slices.Sorted(slices.Values(words)); !slices.Equal(got, want) {
			t.Errorf("--%s takes %q, completion offers %q", name, want, got)
		}
	}
	used := map[string]bool{}
	for _, c := range newApp(io.Discard, io.Discard).Commands {
		for _, f := range c.Flags {
			name := f.Names()[0]
			used[name], used[c.Name+" "+name] = true, true
			doc := f.(cli.DocGenerationFlag)
			if strings.Contains(doc.GetUsage(), "`MODE`") || strings.Contains(doc.GetUsage(), "`VIEW`") || strings.Contains(doc.GetUsage(), "`FORMAT`") {
				if wordsOf(c, f) == nil {
					t.Errorf("completion does not know the words of vobs %s --%s", c.Name, name)
				}
			}
		}
	}
	for name := range flagWords {
		if !used[name] {
			t.Errorf("no subcommand has --%s", name)
		}
	}
}
