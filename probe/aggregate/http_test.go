package aggregate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// httpPage returns a page of an idle engine with these lines of http_requests_total.
func httpPage(lines ...string) string {
	return "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{engine=\"0\"} 5\n# TYPE http_requests_total counter\n" + strings.Join(lines, "\n") + "\n"
}

// The pages are those of a real vLLM 0.32.0, cut down: 45 requests ended with 200, 10 were
// refused with 400 and 5 with 404, and a client asked for the list of models.
func TestHTTP(t *testing.T) {
	pre := httpPage(`http_requests_total{handler="/v1/models",method="GET",status="2xx"} 6.0`, `http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 1174.0`)
	post := httpPage(`http_requests_total{handler="/v1/models",method="GET",status="2xx"} 7.0`, `http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 1219.0`,
		`http_requests_total{handler="/v1/completions",method="POST",status="4xx"} 15.0`)
	for _, c := range []struct {
		name      string
		pre, post string
		want      map[string]int64
	}{
		{"refused requests", pre, post, map[string]int64{"2xx": 45, "4xx": 15, "5xx": 0}},
		{"no responses", httpPage(), httpPage(), map[string]int64{"2xx": 0, "4xx": 0, "5xx": 0}},
		{"handlers", httpPage(), httpPage(
			`http_requests_total{handler="/v1/chat/completions",method="POST",status="5xx"} 1`, `http_requests_total{handler="/inference/v1/generate",method="POST",status="2xx"} 2`,
			`http_requests_total{handler="none",method="POST",status="4xx"} 4`, `http_requests_total{handler="/v1/models/{model}",method="GET",status="4xx"} 8`,
			`http_requests_total{handler="/tokenize",method="POST",status="2xx"} 16`, `http_requests_total{handler="/sleep",method="POST",status="2xx"} 32`), map[string]int64{"2xx": 2, "4xx": 4, "5xx": 1}},
		{"classes", httpPage(), httpPage(`http_requests_total{handler="/v1/completions",method="POST",status="404"} 2`, `http_requests_total{handler="/v1/completions",method="POST",status="3xx"} 1`),
			map[string]int64{"2xx": 0, "3xx": 1, "4xx": 2, "5xx": 0}},
		{"restart", httpPage(`http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 20`), strings.Replace(httpPage(`http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 3`), "} 5\n", "} 2\n", 1),
			map[string]int64{"2xx": 3, "4xx": 0, "5xx": 0}},
		{"stages", strings.ReplaceAll(httpPage(), `engine="0"`, `engine="0",stage="1"`), strings.ReplaceAll(httpPage(`http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 3`), `engine="0"`, `engine="0",stage="1"`),
			map[string]int64{"2xx": 3, "4xx": 0, "5xx": 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := viewAfter(t, c.pre, c.post)
			v.stage = v.chooseStage()
			if diff := cmp.Diff(c.want, v.http()); diff != "" || reasonAt(v, "engine.http") != "" {
				t.Errorf("%s%s", diff, reasonAt(v, "engine.http"))
			}
		})
	}
}

// A page without the family, one that lost it and one of a collector yield no figure.
func TestHTTPUnknown(t *testing.T) {
	without := "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{engine=\"0\"} 5\n"
	with := httpPage(`http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 20`)
	for _, c := range []struct{ name, pre, post, why string }{
		{"no family", without, without, "http_requests_total is not exported"},
		{"vanished", with, without, "vanished"},
		{"collector", strings.ReplaceAll(with, "vllm:", "ray_vllm_"), strings.ReplaceAll(with, "vllm:", "ray_vllm_"), "http_requests_total is not exported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := viewAfter(t, c.pre, c.post)
			if got := v.http(); got != nil || !strings.Contains(reasonAt(v, "engine.http"), c.why) {
				t.Errorf("%v, %q", got, reasonAt(v, "engine.http"))
			}
		})
	}
}
