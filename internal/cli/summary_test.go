package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/creack/pty"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// TestSummary compares the summaries of recorded events with testdata/summary.
// go test -update rewrites the files.
func TestSummary(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "events", "*.json*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded events: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".jsonl"), ".json") + ".txt"
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for dec := json.NewDecoder(bytes.NewReader(text)); dec.More(); {
				var e schema.GenerationObservability
				if err := dec.Decode(&e); err != nil {
					t.Fatal(err)
				}
				got.WriteString(summarize(&e, 0))
			}
			testkit.Golden(t, filepath.Join("testdata", "summary", name), []byte(got.String()))
		})
	}
}

// A difference may be negative, or too small to show; those that are null are left out.
func TestDifferenceText(t *testing.T) {
	c := &schema.Client{EngineDifferenceSeconds: &schema.ClientDifference{TimeToFirstToken: schema.F(0.0123), InterTokenLatency: schema.F(-1e-7), E2ERequestLatency: schema.F(-0.00204)}}
	if got := differenceText(c); got != "client less engine, on average: TTFT +12.300 ms, ITL +0.000 ms, E2E -2.040 ms" {
		t.Error(got)
	}
	for _, c := range []*schema.Client{nil, {}, {EngineDifferenceSeconds: &schema.ClientDifference{}}} {
		if got := differenceText(c); got != "" {
			t.Error(got)
		}
	}
}

// Quantiles with wide bounds are described by what is proven.
func TestQuantileText(t *testing.T) {
	between := func(low, high float64) *schema.Bounds { return &schema.Bounds{schema.F(low), schema.F(high)} }
	for _, c := range []struct {
		estimate *schema.Float
		bounds   *schema.Bounds
		want     string
	}{
		{schema.F(0.00166), between(0, 0.00166), "at most 2 ms"},
		{schema.F(0.15), between(0.1, 0.25), "at most 250 ms"},
		{schema.F(9.5), between(9, 10), "about 9.50 s"},
		{schema.F(0), between(0, 0), "about 0.0 ms"},
		{schema.F(9.5), nil, "about 9.50 s"},
		{nil, &schema.Bounds{schema.F(7680), nil}, "at least 7680.00 s"},
		{nil, between(7680, 9000), "at most 9000 s"},
		{nil, nil, ""},
	} {
		if got := quantileText(c.estimate, c.bounds); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// On a terminal, the summary is printed without --summary.
func TestSummaryOnATerminal(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"summary": {[]string{"run", "-o", "e.json", "--", "sh", "-c", "exit 3"}, `^command\r\nvobs: exit code 3 after [0-9.]+ s\r\n(  \S+ +.*\r\n)+$`},
		"quiet":   {[]string{"run", "-q", "-o", "e.json", "--", "sh", "-c", "exit 3"}, `^command\r\n$`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.args[len(c.args)-1] = "echo command; exit 3"
			cmd := exec.CommandContext(t.Context(), "vobs", c.args...)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+brokenNVML(t))
			tty, err := pty.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer tty.Close()
			// Linux returns EIO once nobody holds the terminal any more.
			shown, _ := io.ReadAll(tty)
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
				t.Errorf("%v", err)
			}
			if !regexp.MustCompile(c.want).Match(shown) {
				t.Errorf("%q", shown)
			}
			if lines := bytes.Count(shown, []byte("\n")); lines > 14 {
				t.Errorf("%d lines", lines)
			}
			if _, err := os.Stat(filepath.Join(cmd.Dir, "e.json")); err != nil {
				t.Error(err)
			}
		})
	}
}

// Curves fit the width, and there is none without room.
func TestSparklinesFitTheWidth(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "events", "example.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e schema.GenerationObservability
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	for i := range e.Series.Curves {
		c := &e.Series.Curves[i]
		for len(c.Max) < 120 {
			c.Max = append(c.Max, c.Max[len(c.Max)%7])
		}
	}
	for _, c := range []struct{ width, lines int }{{200, 3}, {80, 3}, {40, 3}, {30, 2}, {20, 0}} {
		drawn := 0
		for line := range strings.Lines(summarize(&e, c.width)) {
			if line = strings.TrimSuffix(line, "\n"); strings.ContainsAny(line, "▁█") {
				drawn++
				if n := utf8.RuneCountInString(line); n > c.width {
					t.Errorf("%d characters in a terminal of %d: %s", n, c.width, line)
				}
			}
		}
		if drawn != c.lines {
			t.Errorf("in a width of %d there are %d curves, want %d", c.width, drawn, c.lines)
		}
	}
	if e.Series = nil; strings.ContainsAny(summarize(&e, 0), "▁█") {
		t.Error("a curve without series")
	}
}

// A peak of 0 beside finished requests is never shown.
func TestRequestsText(t *testing.T) {
	gauge := func(mean, peak *schema.Float) *schema.RequestGauge {
		return &schema.RequestGauge{Gauge: schema.Gauge{Mean: mean, Peak: peak}}
	}
	for _, c := range []struct {
		running, waiting *schema.RequestGauge
		want             string
	}{
		{gauge(schema.F(7.5), schema.F(16)), gauge(schema.F(0.2), schema.F(3)), ", peak 16 running, 3 waiting"},
		{gauge(schema.F(7.5), schema.F(16)), gauge(nil, nil), ", peak 16 running"},
		{gauge(schema.F(2.37), nil), gauge(schema.F(0.2), nil), ", on average 2.4 running"},
		{gauge(schema.F(0), schema.F(0)), gauge(schema.F(0), schema.F(0)), ""},
		{gauge(nil, nil), nil, ""},
		{nil, nil, ""},
	} {
		if got := requestsText(&schema.Requests{Running: c.running, Waiting: c.waiting}); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
