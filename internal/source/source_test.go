package source

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/probe/scrape"
)

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 30, 15, 4, 5, 0, zone)
	for text, want := range map[string]string{
		"now":                       "2026-11-30T15:04:05+01:00",
		"-1h":                       "2026-11-30T14:04:05+01:00",
		"-90s":                      "2026-11-30T15:02:35+01:00",
		"14:05":                     "2026-11-30T14:05:00+01:00",
		"14:05:30":                  "2026-11-30T14:05:30+01:00",
		"2026-11-29T10:00:00Z":      "2026-11-29T10:00:00Z",
		"2026-11-29T10:00:00+02:00": "2026-11-29T10:00:00+02:00",
	} {
		got, err := ParseTime(text, now)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1h", "25:00", "yesterday", "-x", "16:00", "2026-12-01T00:00:00Z", "--1h"} {
		if got, err := ParseTime(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestQuery(t *testing.T) {
	const tail = `,__name__=~"` + names + `"}[60000ms]`
	for selector, want := range map[string]string{
		`{job="vllm"}`:              `{job="vllm"` + tail,
		` { job=~"a|b", pod!="x" }`: `{job=~"a|b", pod!="x"` + tail,
		`job="vllm",`:               `{job="vllm"` + tail,
		`{job="vllm",}`:             `{job="vllm"` + tail,
	} {
		if got, err := query(selector, time.Minute); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", selector, got, err, want)
		}
	}
	for _, selector := range []string{"", "{}", "vllm", `{job="vllm"`, `{__name__="up",job="a"}`, `up{job="a"}`} {
		if got, err := query(selector, time.Minute); err == nil {
			t.Errorf("%s: %s", selector, got)
		}
	}
}

// The run around a live reading does not do what the user's own runs do.
func TestEnvironment(t *testing.T) {
	t.Setenv("VOBS_WANDB", "online")
	t.Setenv("VOBS_SERIES", "x.jsonl")
	t.Setenv("VOBS_METRICS_HEADER", "Authorization: x")
	env := environment()
	if slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "VOBS_WANDB") || strings.HasPrefix(v, "VOBS_SERIES") }) {
		t.Error("a variable of vobs run is passed on")
	}
	if !slices.Contains(env, "VOBS_METRICS_HEADER=Authorization: x") {
		t.Error("the headers are not passed on")
	}
}

// Without an engine, nothing is started.
func TestLiveWithoutEngine(t *testing.T) {
	target, err := scrape.ParseTarget("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Live(context.Background(), LiveOptions{Program: "/nonexistent", Targets: []scrape.Target{target}, For: time.Second})
	if !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
}
