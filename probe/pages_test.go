package probe

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
)

// Lines of the recorded pages serve_default_*; of samples without their values.
const (
	processStartLine = "process_start_time_seconds 1.79530343511e+09\n"
	generated        = `vllm:generation_tokens_total{engine="0",model_name="tiny"} `
	usage            = `vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} `
)

// underLoad returns a page from the middle of the recorded run: half way from pre to post
// in what the tests look at. Many requests are running, because tests replay the run in a
// fraction of the time that its requests took. (The recorded serve_default_during is of a
// later load.)
func underLoad(t testing.TB) string {
	t.Helper()
	return testkit.SetValues(t, testkit.Recorded(t, "serve_default_pre"),
		`vllm:num_requests_running{engine="0",model_name="tiny"} 3000.0`,
		usage+"0.0005493499359091603",
		generated+"2800.0")
}

// filteredPage returns what prometheus_client serves of a page for metrics.PollNames.
func filteredPage(page string) string {
	var out strings.Builder
	for line := range strings.Lines(page) {
		for _, name := range metrics.PollNames {
			if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
				out.WriteString(line)
			}
		}
	}
	return out.String()
}

// manyEngines turns a page of one engine into one of n, in the order in which
// prometheus_client writes them: family by family, then engine by engine.
func manyEngines(page string, n int) string {
	var out, block strings.Builder
	flush := func() {
		for e := range n {
			out.WriteString(strings.ReplaceAll(block.String(), `engine="0"`, fmt.Sprintf(`engine="%d"`, e)))
		}
		block.Reset()
	}
	for line := range strings.Lines(page) {
		if strings.Contains(line, `engine="0"`) {
			block.WriteString(line)
			continue
		}
		flush()
		out.WriteString(line)
	}
	flush()
	return out.String()
}

// openMetrics returns a recorded page in OpenMetrics.
func openMetrics(t testing.TB, name string) string {
	t.Helper()
	return string(testkit.Testdata(t, "expositions/openmetrics/"+name+".om"))
}

// recordedAnswer returns a recorded response of another path.
func recordedAnswer(t testing.TB, name string) string {
	t.Helper()
	return string(testkit.Testdata(t, "answers/"+name+".json"))
}
