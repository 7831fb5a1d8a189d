package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// scenario is a name for flags. The numbers are those of "Test Scenarios" in a published guide
// to vLLM v1's metrics in production.
type scenario struct {
	name                                string
	concurrency, requests               int
	promptTokens, outputTokens, purpose string
}

var scenarios = []scenario{
	{"low", 1, 50, "512", "256", "latency under low load"},
	{"saturation", 64, 500, "512", "256", "throughput at saturation"},
	{"long-prompts", 8, 50, "8192", "256", "how the time to first token grows with the prompt"},
	{"long-outputs", 16, 50, "256", "4096", "sustained decoding"},
	{"burst", 128, 200, "512", "256", "queueing under sudden load"},
}

func scenarioNames() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

func parseScenario(name string) (scenario, error) {
	for _, s := range scenarios {
		if s.name == name {
			return s, nil
		}
	}
	return scenario{}, fmt.Errorf("%q: use %s", name, strings.Join(scenarioNames(), ", "))
}

// applyScenario sets the flags of --scenario that are not given, and prints all of them.
func applyScenario(c *cli.Context, m *messages) error {
	if err := checkScale(c); err != nil || !c.IsSet("scenario") {
		return err
	}
	s, err := parseScenario(c.String("scenario"))
	if err != nil {
		return fmt.Errorf("--scenario %w", err)
	}
	s = s.scaled(c.Float64("scale"))
	text := "scenario " + s.name + ", " + s.purpose + ":"
	for _, f := range [][2]string{
		{"concurrency", strconv.Itoa(s.concurrency)}, {"requests", strconv.Itoa(s.requests)},
		{"prompt-tokens", s.promptTokens}, {"output-tokens", s.outputTokens},
	} {
		if f[0] == "concurrency" && c.IsSet("rate") || f[0] == "requests" && c.IsSet("duration") {
			continue
		}
		if !c.IsSet(f[0]) {
			if err := c.Set(f[0], f[1]); err != nil {
				return err
			}
		}
		text += " --" + f[0] + " " + fmt.Sprint(c.Value(f[0]))
	}
	if !c.Bool("quiet") && !observes(c) {
		m.line(text)
	}
	return nil
}

// scaled returns a scenario with so many times the requests and the concurrency.
func (s scenario) scaled(by float64) scenario {
	times := func(n int) int { return max(1, int(math.Round(float64(n)*by))) }
	s.concurrency, s.requests = times(s.concurrency), times(s.requests)
	return s
}
