package slo

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want []Objective
	}{
		{"chat", []Objective{{TTFT, 95, 0.5}, {ITL, 95, 0.05}, {E2E, 95, 10}}},
		{"code", []Objective{{TTFT, 95, 0.2}, {ITL, 95, 0.03}, {E2E, 95, 3}}},
		{"batch", []Objective{{TTFT, 95, 5}, {ITL, 95, 0.1}, {E2E, 95, 60}}},
		{"rag", []Objective{{TTFT, 95, 1}, {ITL, 95, 0.08}, {E2E, 95, 15}}},
		{"agentic", []Objective{{TTFT, 95, 2}, {ITL, 95, 0.1}, {E2E, 95, 30}}},
		{"chat@p99", []Objective{{TTFT, 99, 0.5}, {ITL, 99, 0.05}, {E2E, 99, 10}}},
		{"ttft=500ms", []Objective{{TTFT, 95, 0.5}}},
		{"ttft=500ms,itl=50ms,e2e=10s", []Objective{{TTFT, 95, 0.5}, {ITL, 95, 0.05}, {E2E, 95, 10}}},
		{" ttft = 500ms , e2e = 1m30s @p50 ", []Objective{{TTFT, 95, 0.5}, {E2E, 50, 90}}},
		{"ttft=500ms,ttft=2s@p99", []Objective{{TTFT, 95, 0.5}, {TTFT, 99, 2}}},
	} {
		got, err := Parse(c.text)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Parse(%q) = %v, %v, want %v", c.text, got, err, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", `SLO "": use chat, code, batch, rag, agentic, or targets like ttft=500ms,itl=50ms,e2e=10s`},
		{"chta", `SLO "chta" (did you mean chat?): use chat, code, batch, rag, agentic, or targets like ttft=500ms,itl=50ms,e2e=10s`},
		{"chat@p42", `SLO "chat@p42": percentile "@p42": use @p50, @p90, @p95 or @p99`},
		{"chat@99", `SLO "chat@99": percentile "@99": use @p50, @p90, @p95 or @p99`},
		{"tbt=50ms", `SLO target "tbt=50ms": unknown metric "tbt": use ttft, itl or e2e`},
		{"ttft=500", `SLO target "ttft=500": "500" needs a unit: use a time like 250ms or 2s`},
		{"ttft=5GiB", `SLO target "ttft=5GiB": "5GiB" is a size: use a time like 250ms or 2s`},
		{"ttft=0s", `SLO target "ttft=0s": "0s" must be above 0`},
		{"ttft=", `SLO target "ttft=": "" is not a number: use a time like 250ms or 2s`},
		{"ttft=5s,", `SLO target "" is not of the form METRIC=TIME, as ttft=500ms`},
		{"ttft=5s,chat", `SLO target "chat" is not of the form METRIC=TIME, as ttft=500ms`},
		{"ttft=5s,ttft=6s", `SLO "ttft=5s,ttft=6s": ttft has two targets at p95`},
		{"ttft=5s@p77", `SLO target "ttft=5s@p77": percentile "@p77": use @p50, @p90, @p95 or @p99`},
	} {
		if _, err := Parse(c.text); err == nil || err.Error() != c.want {
			t.Errorf("Parse(%q): %v\nwant %s", c.text, err, c.want)
		}
	}
}

// What String returns, Parse reads.
func TestString(t *testing.T) {
	for _, o := range []Objective{{TTFT, 95, 0.5}, {ITL, 99, 0.00025}, {E2E, 50, 90}} {
		got, err := Parse(o.String())
		if err != nil || len(got) != 1 || got[0] != o {
			t.Errorf("Parse(%q) = %v, %v", o.String(), got, err)
		}
	}
}
