package aggregate

import (
	"math"
	"strings"
	"testing"

	"github.com/vobs/vobs/probe/window"
)

// The CPU time of an API server is that of the process behind the page, across restarts.
func TestCPUSeconds(t *testing.T) {
	const (
		engine = "vllm:generation_tokens_total{engine=\"0\"} 5\n"
		cpu    = "process_cpu_seconds_total "
		start  = "process_start_time_seconds "
	)
	for _, c := range []struct {
		name  string
		pages []string
		want  float64
		why   string
	}{
		{"one process", []string{engine + cpu + "20.25\n", engine + cpu + "22.5\n", engine + cpu + "23.75\n"}, 3.5, ""},
		{"a restart", []string{engine + start + "100\n" + cpu + "20\n", engine + start + "100\n" + cpu + "22\n", engine + start + "200\n" + cpu + "9.5\n"}, 11.5, ""},
		{"a restart to more CPU time", []string{engine + start + "100\n" + cpu + "2\n", engine + start + "200\n" + cpu + "9.5\n"}, 9.5, ""},
		{"multiprocess mode", []string{engine, engine}, 0, "multiprocess mode"},
		{"two processes on one page", []string{engine + cpu + "20\n" + cpu + "1\n", engine + cpu + "22\n" + cpu + "1\n"}, 0, "no usable value on the first page"},
		{"two processes with labels", []string{engine + cpu + "20\nprocess_cpu_seconds_total{app=\"agent\"} 1\n", engine + cpu + "22\nprocess_cpu_seconds_total{app=\"agent\"} 1\n"}, 0, "of 2 processes"},
		{"a collector", []string{"vllm:generation_tokens_total{engine=\"0\",instance=\"a:8000\"} 5\n" + cpu + "20\n", "vllm:generation_tokens_total{engine=\"0\",instance=\"a:8000\"} 5\n" + cpu + "22\n"}, 0, "a metrics collector's"},
		{"Ray", []string{"ray_vllm_generation_tokens_total{WorkerId=\"a\"} 5\n" + cpu + "20\n", "ray_vllm_generation_tokens_total{WorkerId=\"a\"} 5\n" + cpu + "22\n"}, 0, "a metrics collector's"},
		{"it vanishes", []string{engine + cpu + "20\n", engine}, 0, "vanished"},
	} {
		t.Run(c.name, func(t *testing.T) {
			counters := countersAfter(t, false, fullPages(c.pages...)...)
			got, why := viewOf(counters, window.NewGauges()).endpoints[0].cpuSeconds()
			if math.Abs(got-c.want) > 1e-9 || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("%v %q, want %v %q", got, why, c.want, c.why)
			}
			if counters.Conflicts != 0 || counters.Invalid != 0 {
				t.Errorf("%d conflicts and %d invalid values: the metrics of a process are not the engine's", counters.Conflicts, counters.Invalid)
			}
		})
	}
	v := viewOf(countersAfter(t, false, fullPages(engine, engine)...), window.NewGauges())
	v.endpoints[0].Files = true
	if _, why := v.endpoints[0].cpuSeconds(); !strings.Contains(why, "metric files") {
		t.Errorf("files: %q", why)
	}
}

// The CPU time of a process is no evidence of what the engine did: neither of a restart, nor of
// work, nor that two pages are those of different processes.
func TestCPUSecondsIsNoEvidence(t *testing.T) {
	page := func(cpu string) string {
		return "vllm:generation_tokens_total{engine=\"0\"} 5\nprocess_cpu_seconds_total " + cpu + "\n"
	}
	c := countersAfter(t, false, fullPages(page("20"), page("21"), page("22"))...)
	if c.PageSum != 5 || c.HasRestarted() || c.Tokens != 0 {
		t.Errorf("sum %v, restarted %v, tokens %v", c.PageSum, c.HasRestarted(), c.Tokens)
	}
	if c := countersAfter(t, false, fullPages(page("20"), page("3"))...); c.HasRestarted() || c.Resets != 1 {
		t.Errorf("restarted %v, resets %d: want a counter that decreased, and no restart, because the engine's own did not", c.HasRestarted(), c.Resets)
	}
}
