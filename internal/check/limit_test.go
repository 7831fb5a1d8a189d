package check

import (
	"strings"
	"testing"
)

func TestParseLimit(t *testing.T) {
	for _, c := range []struct {
		text, path string
		percentile int
		value      float64
	}{
		{"peak_vram=70GiB", "peak_vram_gb", 0, 70},
		{"peak_vram_gb=70GiB", "peak_vram_gb", 0, 70},
		{"gpus.0.peak_bytes=70GiB", "gpus.0.peak_bytes", 0, 70 << 30},
		{"gpus.*.peak_bytes = 70 GiB", "gpus.*.peak_bytes", 0, 70 << 30},
		{"gpu_memory=70GB", "gpus.*.peak_bytes", 0, 70e9},
		{"engine.latency_seconds.time_to_first_token.p95=500ms", "engine.latency_seconds.time_to_first_token", 95, 0.5},
		{"engine.latency_seconds.time_to_first_token.p95_est=500ms", "engine.latency_seconds.time_to_first_token.p95_est", 0, 0.5},
		{"engine.latency_seconds.time_to_first_token=500ms", "engine.latency_seconds.time_to_first_token", 95, 0.5},
		{"ttft=500ms", "engine.latency_seconds.time_to_first_token", 95, 0.5},
		{"ttft.p99=500ms", "engine.latency_seconds.time_to_first_token", 99, 0.5},
		{"ttft.p50=500ms", "engine.latency_seconds.time_to_first_token", 50, 0.5},
		{"ttft.mean=500ms", "engine.latency_seconds.time_to_first_token.mean", 0, 0.5},
		{"ttft.count=500", "engine.latency_seconds.time_to_first_token.count", 0, 500},
		{"engine.kv_connectors.*.transfers.p90=1s", "engine.kv_connectors.*.transfers", 90, 1},
		{"engine.requests.finished.abort=0", "engine.requests.finished.abort", 0, 0},
		{"engine.http.5xx=0", "engine.http.5xx", 0, 0},
		{"run.exit_code=0", "run.exit_code", 0, 0},
		{"loadavg_post.0=8", "loadavg_post.0", 0, 8},
		{"kv_cache_peak=95%", "engine.kv_cache.usage.peak", 0, 0.95},
		{"generation_tokens_per_second=3000", "engine.throughput.generation_tokens_per_second", 0, 3000},
		{"engine.tokens.per_iteration.p90=400", "engine.tokens.per_iteration", 90, 400},
	} {
		l, err := ParseLimit(Max, c.text)
		if err != nil || l.path != c.path || l.percentile != c.percentile || l.Value != c.value {
			t.Errorf("%s: %s p%d %v, %v", c.text, l.path, l.percentile, l.Value, err)
		}
	}
}

func TestParseLimitErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"peak_vram", `limit "peak_vram" is not of the form NAME=VALUE, as peak_vram=70GiB`},
		{"=70GiB", `limit "=70GiB" is not of the form NAME=VALUE, as peak_vram=70GiB`},
		{"peak_vrma=70GiB", `limit "peak_vrma=70GiB": unknown figure peak_vrma: did you mean peak_vram?`},
		{"peak_bytes=70GiB", `unknown figure peak_bytes: did you mean gpus.*.peak_bytes, or gpus.*.foreign_processes.*.peak_bytes?`},
		{"tfft.p95=1s", `unknown figure tfft.p95: did you mean ttft.p95?`},
		{"tfft.p99=1s", `unknown figure tfft.p99: did you mean ttft.p99?`},
		{"gpus.peak_bytes=70GiB", `unknown figure gpus.peak_bytes: did you mean gpus.*.peak_bytes`},
		{"gpus.first.peak_bytes=70GiB", `unknown figure gpus.first.peak_bytes: did you mean gpus.*.peak_bytes`},
		{"engine.throughput=3", `engine.throughput is a group of figures: use one of them: engine.throughput.requests_per_second, engine.throughput.prompt_tokens_per_second, engine.throughput.generation_tokens_per_second`},
		{"engine=3", `engine is a group of figures: use one of them: engine.`},
		{"ttft.p42=1s", `ttft has no p42: use .p50, .p90, .p95, .p99, .mean, .count or .sum`},
		{"wholly_unlike_anything=3", `unknown figure wholly_unlike_anything: vobs check --list shows short names, docs/event.md every path`},
		{"run.hostname=3", `unknown figure run.hostname: `},
		{"ttft.p95=70GiB", `"70GiB" is a size: use a time like 250ms or 2s`},
		{"ttft.p95=500", `"500" needs a unit: use a time like 250ms or 2s`},
		{"peak_vram=500ms", `"500ms" is a time: use a size like 70GiB or 500MB`},
		{"kv_cache_peak=95", `"95" is not a fraction: use a number from 0 to 1, or a percentage like 90%`},
		{"kv_cache_peak=101%", `limit "kv_cache_peak=101%": "101%" is impossible for the figure: a fraction is from 0 to 1`},
		{"kv_cache_peak=-1%", `"-1%" is impossible for the figure: a fraction is from 0 to 1`},
		{"ttft=-1s", `"-1s" is impossible for the figure: it cannot be negative`},
		{"peak_vram=-1GiB", `"-1GiB" is impossible for the figure: it cannot be negative`},
		{"preemptions=-1", `"-1" is impossible for the figure: it cannot be negative`},
		{"ttft.p95=50J", `"50J" is an energy: use a time like 250ms or 2s`},
		{"preemptions=", `"" is not a number: use a number, of preemptions`},
	} {
		_, err := ParseLimit(Max, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.text, err, c.want)
		}
	}
}

// A negative zero is written as 0, and an instant may be negative.
func TestLimitText(t *testing.T) {
	for text, want := range map[string]string{
		"preemptions=-0":                "at most 0 preemptions",
		"kv_cache_peak=-0%":             "at most 0 %",
		"gpus.0.peak_at_seconds=-250ms": "at most -250 ms",
	} {
		l, err := ParseLimit(Max, text)
		if err != nil || l.text() != want {
			t.Errorf("%s: %s, %v, want %s", text, l.text(), err, want)
		}
	}
}

// texts returns limits as people read them.
func texts(all []Limit) string {
	var out []string
	for _, l := range all {
		out = append(out, l.name+" "+l.text())
	}
	return strings.Join(out, ", ")
}

// Limits of flags take precedence over those of the file, and both over an SLO.
func TestPrecedence(t *testing.T) {
	file, err := ParseFile([]byte(`{"slo": "chat", "max": {"ttft.p95": "400ms", "peak_vram": "70GiB"}, "min": {"generation_tokens": 10}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{File: file}, "ttft.p95 at most 400 ms, itl.p95 at most 50 ms, e2e.p95 at most 10 s, peak_vram at most 70 GiB, generation_tokens at least 10 tokens"},
		{Spec{File: file, SLO: "e2e=1s"}, "e2e.p95 at most 1 s, ttft.p95 at most 400 ms, peak_vram at most 70 GiB, generation_tokens at least 10 tokens"},
		{Spec{File: file, SLO: "e2e=1s", Max: []string{"engine.latency_seconds.time_to_first_token.p95=300ms", "generation_tokens=20"}, Min: []string{"peak_vram_gb=1GiB"}},
			"e2e.p95 at most 1 s, engine.latency_seconds.time_to_first_token.p95 at most 300 ms, peak_vram at most 70 GiB, generation_tokens at least 10 tokens, generation_tokens at most 20 tokens, peak_vram_gb at least 1 GiB"},
		{Spec{}, ""},
	} {
		l, err := c.spec.Limits()
		if err != nil || texts(l) != c.want {
			t.Errorf("%+v: %s, %v\nwant %s", c.spec, texts(l), err, c.want)
		}
	}
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{Max: []string{"ttft=1s", "ttft.p95=2s"}}, `limit "ttft.p95=2s": ttft.p95 already has a limit on this side`},
		{Spec{SLO: "chta"}, `SLO "chta" (did you mean chat?)`},
		{Spec{Min: []string{"x=1"}}, `limit "x=1": unknown figure x`},
	} {
		if _, err := c.spec.Limits(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.spec, err, c.want)
		}
	}
}
