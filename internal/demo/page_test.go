package demo

import (
	"bytes"
	"maps"
	"math"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// quick is a phase of about 50 ms.
func quick() Config {
	c := DefaultConfig()
	c.Duration = 50 * time.Millisecond
	return c
}

// drained returns an engine after one generation phase.
func drained(t *testing.T, cfg Config) *Engine {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.Generate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func get(t *testing.T, e *Engine, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	return w
}

func parse(t *testing.T, page []byte) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	fs, err := p.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// skeleton is one family of testdata/families.tsv, or of a page.
type skeleton struct{ name, kind, labels, help string }

func recorded(t *testing.T, speculative bool) []skeleton {
	t.Helper()
	b, err := os.ReadFile("testdata/families.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var out []skeleton
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 4)
		if !speculative && strings.Contains(f[0], "spec_decode") || runtime.GOOS != "linux" && strings.HasPrefix(f[0], "process_") {
			continue
		}
		out = append(out, skeleton{f[0], f[1], f[2], f[3]})
	}
	return out
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-zA-Z_]\w*)="(?:[^"\\]|\\.)*"`)
)

// skeletons reads a page line by line, and checks the order of the labels in each line.
func skeletons(t *testing.T, page string) []skeleton {
	t.Helper()
	var out []skeleton
	var labels map[string]bool
	end := func() {
		if len(out) > 0 {
			out[len(out)-1].labels = strings.Join(slices.Sorted(maps.Keys(labels)), ",")
		}
		labels = make(map[string]bool)
	}
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			end()
			name, help, _ := strings.Cut(rest, " ")
			out = append(out, skeleton{name: name, help: help})
		} else if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if name != out[len(out)-1].name {
				t.Errorf("TYPE of %s after HELP of %s", name, out[len(out)-1].name)
			}
			out[len(out)-1].kind = kind
		} else {
			m := sampleLine.FindStringSubmatch(line)
			if m == nil || !strings.HasPrefix(m[1], out[len(out)-1].name) {
				t.Fatalf("line %q under %s", line, out[len(out)-1].name)
			}
			var names []string
			for _, l := range labelPair.FindAllStringSubmatch(m[2], -1) {
				names = append(names, l[1])
				labels[l[1]] = true
			}
			if !slices.IsSorted(names) {
				t.Errorf("labels not sorted: %s", line)
			}
		}
	}
	end()
	return out
}

// The page has the families of a real page: names, order, types, label names and help
// texts.
func TestPageMatchesRecording(t *testing.T) {
	for _, spec := range []bool{false, true} {
		cfg := quick()
		cfg.Speculative = spec
		e := drained(t, cfg)
		get(t, e, "/v1/models") // the client of the recording requested it too
		w := get(t, e, "/metrics")
		if ct := w.Header().Get("Content-Type"); ct != "text/plain; version=1.0.0; charset=utf-8" {
			t.Errorf("Content-Type %q", ct)
		}
		got, want := skeletons(t, w.Body.String()), recorded(t, spec)
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("speculative %v: family %d differs:\ngot  %+v\nwant %+v", spec, i, got[min(i, len(got)-1)], want[min(i, len(want)-1)])
			}
		}
		fs := parse(t, w.Body.Bytes())
		if len(fs) != len(want) {
			t.Errorf("expfmt reads %d families of %d", len(fs), len(want))
		}
		for _, f := range want {
			if kind := strings.ToLower(fs[f.name].GetType().String()); kind != f.kind {
				t.Errorf("%s: expfmt reads a %s, want %s", f.name, kind, f.kind)
			}
		}
	}
}

// A model's name may contain anything, and a page may have many engines.
func TestPageOfSeveralEngines(t *testing.T) {
	cfg := quick()
	cfg.Engines, cfg.Requests, cfg.Model = 3, 50, "a\\b \"c\"\nd é"
	e := drained(t, cfg)
	fs := parse(t, get(t, e, "/metrics").Body.Bytes())
	sum := 0.0
	for i, m := range fs["vllm:generation_tokens_total"].Metric {
		ls := make(map[string]string)
		for _, l := range m.Label {
			ls[l.GetName()] = l.GetValue()
		}
		if ls["model_name"] != cfg.Model || ls["engine"] != string(rune('0'+i)) || m.Counter.GetValue() == 0 {
			t.Errorf("series %d: %v", i, m)
		}
		sum += m.Counter.GetValue()
	}
	if want := float64(e.Totals().GenerationTokens); sum != want {
		t.Errorf("%v tokens generated, want %v", sum, want)
	}
	for _, l := range fs["vllm:cache_config_info"].Metric[2].Label {
		if l.GetName() == "num_gpu_blocks" && l.GetValue() != "4611" {
			t.Errorf("num_gpu_blocks %s, want the sum over the engines", l.GetValue())
		}
	}
}

func TestNameFilter(t *testing.T) {
	e := drained(t, quick())
	full := get(t, e, "/metrics").Body.String()
	names := func(ns ...string) string { return "?" + url.Values{"name[]": ns}.Encode() }
	only := func(prefixes ...string) (b strings.Builder) {
		for line := range strings.Lines(full) {
			for _, p := range prefixes {
				if strings.HasPrefix(line, p+"{") || strings.HasPrefix(line, "# HELP "+p+" ") || strings.HasPrefix(line, "# TYPE "+p+" ") {
					b.WriteString(line)
				}
			}
		}
		return b
	}
	for _, c := range []struct {
		target string
		want   strings.Builder
	}{
		{"/metrics/" + names("vllm:kv_cache_usage_perc", "vllm:prompt_tokens_total"), only("vllm:kv_cache_usage_perc", "vllm:prompt_tokens_total")},
		{"/metrics/" + names("vllm:generation_tokens_total", "nonsense"), only("vllm:generation_tokens_total")},
		{"/metrics/?name[]=vllm:num_requests_running&name%5B%5D=", only("vllm:num_requests_running")},
		// A restricted registry knows samples, not families.
		{"/metrics/" + names("vllm:prompt_tokens", "vllm:e2e_request_latency_seconds"), only()},
		{"/metrics/" + names("nonsense"), only()},
	} {
		if got := get(t, e, c.target).Body.String(); got != c.want.String() {
			t.Errorf("%s:\ngot  %s\nwant %s", c.target, got, c.want.String())
		}
	}
	sum := get(t, e, "/metrics/"+names("vllm:e2e_request_latency_seconds_sum", "vllm:e2e_request_latency_seconds_count")).Body.String()
	if n := strings.Count(sum, "\n"); n != 4 || strings.Contains(sum, "_bucket") {
		t.Errorf("a histogram's sum and count are %d lines:\n%s", n, sum)
	}
	created := get(t, e, "/metrics/"+names("vllm:prompt_tokens_created")).Body.String()
	if n := strings.Count(created, "\n"); n != 5 { // as prometheus_client does: the counter's HELP and TYPE lines too
		t.Errorf("_created alone is %d lines:\n%s", n, created)
	}
	for _, target := range []string{"/metrics/", "/metrics/?name[]=", "/metrics?name[]=vllm:kv_cache_usage_perc"} {
		if n, want := strings.Count(get(t, e, target).Body.String(), "\n"), strings.Count(full, "\n"); n != want {
			t.Errorf("%s has %d lines, the full page %d", target, n, want)
		}
	}
}

func TestFormatFloat(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.0", 14518: "14518.0", 999999: "999999.0", 1e6: "1e+06", 1234567: "1.234567e+06", 4960751616: "4.960751616e+09",
		1.7953035276035144e9: "1.7953035276035144e+09", 12345678901: "1.2345678901e+010", 1e16: "1e+16", 0.25: "0.25",
		7.849600012832525e-05: "7.849600012832525e-05", 0.0001: "0.0001", 29.07: "29.07", -1234567: "-1234567.0",
		math.Inf(1): "+Inf", math.Inf(-1): "-Inf", 0.002197399743636752: "0.002197399743636752",
	} {
		if got := formatFloat(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	if got := formatFloat(math.NaN()); got != "NaN" {
		t.Errorf("NaN is %q", got)
	}
}

func TestOtherEndpoints(t *testing.T) {
	e := drained(t, quick())
	for target, want := range map[string]string{
		"/version":     `{"version":"0.32.0+simulated"}`,
		"/health":      "",
		"/server_info": `{"detail":"Not Found"}`,
	} {
		if got := get(t, e, target).Body.String(); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	if got := get(t, e, "/v1/models").Body.String(); !strings.Contains(got, `"id":"vobs-demo/simulated-8b"`) || !strings.Contains(got, `"max_model_len":4096`) {
		t.Errorf("/v1/models: %s", got)
	}
	if c := get(t, e, "/server_info").Code; c != 404 {
		t.Errorf("/server_info: %d", c)
	}
}

func BenchmarkPage(b *testing.B) {
	e := newEngine(DefaultConfig(), nil)
	for b.Loop() {
		e.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
	}
}
