package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

const vllmJob = `{job="vllm"}`

func client(t *testing.T, url string, access Access) *Prometheus {
	t.Helper()
	p, err := NewPrometheus(url, access)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// event returns the event about the first minute, which must be complete.
func (f *fakePrometheus) event(selector string) (*schema.GenerationObservability, []string) {
	f.t.Helper()
	e, warnings, err := client(f.t, f.url, Access{}).Event(context.Background(), selector, began, at(60), "v1")
	if err != nil {
		f.t.Fatal(err)
	}
	testkit.AssertNullsExplained(f.t, e, "")
	line, err := e.Encode(schema.Full)
	if err != nil {
		f.t.Fatal(err)
	}
	if problems := schema.Validate(line, schema.Options{Strict: true}); len(problems) > 0 {
		f.t.Errorf("the event is not valid: %v", problems)
	}
	return e, warnings
}

func instance(labels ...string) map[string]string {
	out := map[string]string{"job": "vllm", "instance": "10.0.0.1:8000"}
	for i := 0; i < len(labels); i += 2 {
		out[labels[i]] = labels[i+1]
	}
	return out
}

// pages are the pages of a recorded run, by their time.
func pages(t *testing.T, name string) map[float64]string {
	t.Helper()
	pre, post := testkit.Recorded(t, name+"_pre"), testkit.Recorded(t, name+"_post")
	out := map[float64]string{-40: pre, -3: pre, 57: post, 72: post}
	for s := 12.0; s < 57; s += 15 {
		out[s] = testkit.SetValues(t, pre, `vllm:num_requests_running{engine="0",model_name="tiny"} 16.0`, `vllm:generation_tokens_total{engine="0",model_name="tiny"} 2800.0`)
	}
	return out
}

// scrapeAll stores pages in the order of time.
func (f *fakePrometheus) scrapeAll(target map[string]string, pages map[float64]string) {
	f.t.Helper()
	for s := -60.0; s <= 120; s++ {
		if page := pages[s]; page != "" {
			f.scrape(s, target, page)
		}
	}
}

// direct replays pages without Prometheus between.
func direct(t *testing.T, url string, pages map[float64]string) *schema.Engine {
	t.Helper()
	target, err := scrape.ParseTarget(url)
	if err != nil {
		t.Fatal(err)
	}
	r := probe.Recording{Target: target}
	parser := exposition.NewParser(isWanted)
	for s := -60.0; s <= 120; s++ {
		if pages[s] == "" {
			continue
		}
		page := &exposition.Page{}
		if err := parser.Parse([]byte(pages[s]), page); err != nil {
			t.Fatal(err)
		}
		r.Pages = append(r.Pages, probe.RecordedPage{At: at(s), Latency: 8e6, Fill: func(into *exposition.Page) { into.Samples = append(into.Samples, page.Samples...) }})
	}
	return probe.Replay([]probe.Recording{r}, began, at(60), notQueried).Engine
}

// What Prometheus recorded yields what its pages yield: the labels of the target are gone, and the
// engine's own have their names again.
func TestEvent(t *testing.T) {
	for _, name := range []string{"serve_default", "serve_dp2", "serve_ngram"} {
		t.Run(name, func(t *testing.T) {
			f := newFakePrometheus(t)
			// engine is a label of vLLM's, too.
			f.scrapeAll(instance("pod", "vllm-0", "engine", "blue"), pages(t, name))
			f.scrapeAll(map[string]string{"job": "other", "instance": "10.0.0.9:8000"}, pages(t, "serve_ngram"))
			e, warnings := f.event(vllmJob)
			if len(warnings) > 0 {
				t.Errorf("warnings %q", warnings)
			}
			if diff := cmp.Diff(direct(t, "http://10.0.0.1:8000", pages(t, name)), e.Engine); diff != "" {
				t.Errorf("(-page +Prometheus)\n%s", diff)
			}
			if e.Run.StartedAt != "2026-11-22T14:00:00.000Z" || *e.Run.EndedAt != "2026-11-22T14:01:00.000Z" || e.Run.DurationSeconds != 60 || len(e.Run.Command) != 0 {
				t.Errorf("run %s", testkit.JSON(e.Run))
			}
			if e.Series == nil || e.GPUs != nil || e.Host != nil {
				t.Errorf("series %v, GPUs %v, host %v", e.Series, e.GPUs, e.Host)
			}
		})
	}
}

// generated is how many tokens the recorded run serve_default generated: the difference between
// vllm:generation_tokens_total on its two pages.
const generated = 5737

// The counters are exactly those between the last scrape before the window and the last inside.
func TestCountersExact(t *testing.T) {
	f := newFakePrometheus(t)
	f.scrapeAll(instance(), pages(t, "serve_default"))
	e, _ := f.event(vllmJob)
	if got := *e.Engine.Tokens.Generation; got != generated {
		t.Errorf("%d generated tokens", got)
	}
	if w := e.Engine.Window; w.Base != "scraped" || w.DurationSeconds != 60 || w.Resets != 0 {
		t.Errorf("window %s", testkit.JSON(w))
	}
	if s := e.Engine.Scrapes; s.Count != 5 || float64(*s.MedianSeconds) != 0.008 || float64(*s.PeriodSeconds) != 15 {
		t.Errorf("scrapes %s", testkit.JSON(s))
	}
}

// Targets are told apart by their labels, even if they have the same instance; without the series
// up, the labels of the process and then the usual ones are the target's.
func TestTargets(t *testing.T) {
	young := func(pages map[float64]string) map[float64]string {
		for s, page := range pages {
			pages[s] = testkit.ReplaceLines(t, page, "process_start_time_seconds ", "process_start_time_seconds 1.79e+09\n")
		}
		return pages
	}
	drop := func(f *fakePrometheus, names ...string) {
		for key, s := range f.series {
			for _, name := range names {
				if s.labels["__name__"] == name {
					delete(f.series, key)
				}
			}
		}
	}
	f := newFakePrometheus(t)
	f.scrapeAll(instance("pod", "a"), pages(t, "serve_default"))
	f.scrapeAll(instance("pod", "b"), young(pages(t, "serve_default")))
	urls := func(e *schema.GenerationObservability) (out []string) {
		for _, x := range e.Engine.Endpoints {
			out = append(out, x.URL)
		}
		return out
	}
	check := func(what string) {
		t.Helper()
		e, _ := f.event(vllmJob)
		want := []string{"http://10.0.0.1:8000/metrics#job=vllm,pod=a", "http://10.0.0.1:8000/metrics#job=vllm,pod=b"}
		if diff := cmp.Diff(want, urls(e)); diff != "" || *e.Engine.Tokens.Generation != 2*generated {
			t.Errorf("%s: %d tokens, endpoints\n%s", what, *e.Engine.Tokens.Generation, diff)
		}
		if strings.Contains(testkit.Codes(schema.Notes{Validity: e.Validity}), "delayed_metrics") {
			t.Errorf("%s: the pages are not the engines' own: %v", what, e.Validity)
		}
	}
	check("with up")
	drop(f, "up", "scrape_duration_seconds")
	check("without up")
	drop(f, "process_start_time_seconds")
	e, _ := f.event(vllmJob)
	if n := len(urls(e)); n != 2 {
		t.Errorf("without the process: %q", urls(e))
	}
	if e.Engine.Scrapes.MedianSeconds != nil {
		t.Error("the latency of a scrape is known")
	}
}

// A scrape that failed is an error of the engine's readings; a restart is found.
func TestFailedScrapesAndRestarts(t *testing.T) {
	f := newFakePrometheus(t)
	f.scrapeAll(instance(), pages(t, "serve_default"))
	f.own(30, instance(), "up", 0)
	for _, s := range f.series {
		if s.labels["__name__"] == "up" { // in the order of time
			last := s.points[len(s.points)-1]
			copy(s.points[4:], s.points[3:len(s.points)-1])
			s.points[4] = last
		}
	}
	e, _ := f.event(vllmJob)
	if e.Engine.Scrapes.Errors != 1 || !strings.Contains(testkit.JSON(e.Validity), "up is 0") {
		t.Errorf("scrapes %s, %s", testkit.JSON(e.Engine.Scrapes), testkit.JSON(e.Validity))
	}
	f = newFakePrometheus(t)
	restarted := pages(t, "serve_default")
	restarted[57] = testkit.ReplaceLines(t, restarted[-3], "process_start_time_seconds ", "process_start_time_seconds 2e+09\n")
	f.scrapeAll(instance(), restarted)
	if e, _ = f.event(vllmJob); e.Engine.Window.Resets != 1 {
		t.Errorf("window %s", testkit.JSON(e.Engine.Window))
	}
}

// Prometheus has less than the window: what it has is said. Warnings of the API are passed on, and
// native histograms are named.
func TestWarnings(t *testing.T) {
	f := newFakePrometheus(t)
	all := pages(t, "serve_default")
	for _, s := range []float64{-40, -3, 12, 72} {
		delete(all, s)
	}
	f.scrapeAll(instance(), all)
	f.warnings = `["some blocks could not be read"]`
	e, warnings := f.event(vllmJob)
	text := strings.Join(warnings, "\n")
	if len(warnings) != 1 || text != "some blocks could not be read" {
		t.Errorf("warnings %q", warnings)
	}
	if !strings.Contains(testkit.Codes(schema.Notes{Validity: e.Validity}), "late_base") {
		t.Errorf("doubts %v", e.Validity)
	}
	_, warnings, err := client(t, f.url, Access{}).Event(context.Background(), vllmJob, at(-540), at(60), "")
	if text = strings.Join(warnings, "\n"); err != nil || !strings.Contains(text, ": 30s of the 10m0s from ") {
		t.Errorf("%v, %q", err, text)
	}
	f.handle = func(w http.ResponseWriter, r *http.Request) bool {
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[`+
			`{"metric":{"__name__":"vllm:num_requests_running","job":"vllm","instance":"a"},"values":[[1795356010,"1"]]},`+
			`{"metric":{"__name__":"vllm:e2e_request_latency_seconds","job":"vllm","instance":"a"},"histograms":[[1795356010,{"count":"5"}]]}]},"infos":["x"]}`)
		return true
	}
	_, warnings, err = client(t, f.url, Access{}).Event(context.Background(), vllmJob, began, at(60), "")
	if err != nil || !strings.Contains(strings.Join(warnings, "\n"), "vllm:e2e_request_latency_seconds is stored as a native histogram") {
		t.Errorf("%v, %q", err, warnings)
	}
}

// A window that is too much for the server is read in parts, with the same result.
func TestParts(t *testing.T) {
	f := newFakePrometheus(t)
	f.scrapeAll(instance(), pages(t, "serve_default"))
	whole, _ := f.event(vllmJob)
	requests := len(f.requests)
	f.handle = func(w http.ResponseWriter, r *http.Request) bool {
		if m := rangeSelector.FindStringSubmatch(r.Form.Get("query")); m != nil && len(m[3]) > 5 { // 100 s or more
			apiError(w, http.StatusUnprocessableEntity, "execution", "query processing would load too many samples into memory in query execution")
			return true
		}
		return false
	}
	parts, _ := f.event(vllmJob)
	if diff := cmp.Diff(whole.Engine, parts.Engine); diff != "" || len(f.requests)-requests != 3 {
		t.Errorf("%d requests\n%s", len(f.requests)-requests, diff)
	}
	// A long answer counts as too much as well; if even a short part is, that is an error.
	p := client(t, f.url, Access{})
	f.handle = nil
	p.maxAnswer = 1000
	if _, _, err := p.Event(context.Background(), vllmJob, began, at(60), ""); !errors.Is(err, errTooLong) {
		t.Errorf("%v", err)
	}
	p = client(t, f.url, Access{})
	p.maxSamples = 10
	if _, _, err := p.Event(context.Background(), vllmJob, began, at(60), ""); err == nil || !strings.Contains(err.Error(), "use a shorter --for") {
		t.Errorf("%v", err)
	}
}

// Credentials are sent with every request, and appear in no message.
func TestAccess(t *testing.T) {
	f := newFakePrometheus(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	token, basic := file("token", "s3cret-token\n"), file("basic", "user:pass:word\n")
	for _, c := range []struct {
		access Access
		want   string
	}{
		{Access{TokenFile: token}, "Bearer s3cret-token"},
		{Access{BasicAuthFile: basic}, "Basic dXNlcjpwYXNzOndvcmQ="},
		{Access{}, ""},
	} {
		c.access.Header = http.Header{"X-Scope-Orgid": {"tenant"}}
		f.handle = func(w http.ResponseWriter, r *http.Request) bool {
			if got := r.Header.Get("Authorization"); got != c.want || r.Header.Get("X-Scope-Orgid") != "tenant" {
				t.Errorf("header %q, want %q", got, c.want)
			}
			http.Error(w, "denied", http.StatusUnauthorized)
			return true
		}
		_, _, err := client(t, f.url, c.access).Event(context.Background(), vllmJob, began, at(60), "")
		if err == nil || !strings.Contains(err.Error(), "401 Unauthorized") || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "pass:word") {
			t.Errorf("%v", err)
		}
	}
	f.handle = func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "denied", http.StatusForbidden)
		return true
	}
	withUser := strings.Replace(f.url, "http://", "http://user:hidden@", 1)
	if _, _, err := client(t, withUser, Access{}).Event(context.Background(), vllmJob, began, at(60), ""); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("%v", err)
	}
	for _, access := range []Access{
		{TokenFile: token, BasicAuthFile: basic}, {TokenFile: filepath.Join(dir, "none")}, {TokenFile: file("empty", "\n")},
		{TokenFile: file("two", "s3cret\nlines")}, {BasicAuthFile: file("user", "s3cret")},
	} {
		if _, err := NewPrometheus(f.url, access); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v", access, err)
		}
	}
	for _, address := range []string{"ftp://x", "http://", "http://user:hidden@[::1", "unix:///x", ""} {
		if _, err := NewPrometheus(address, Access{}); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// What the server answers if something is wrong.
func TestErrors(t *testing.T) {
	f := newFakePrometheus(t)
	f.scrapeAll(map[string]string{"job": "engines", "instance": "a:1"}, pages(t, "serve_default"))
	answer := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		}
	}
	for _, c := range []struct {
		name, selector string
		handle         func(http.ResponseWriter, *http.Request) bool
		want           string
	}{
		{"no selector", "", nil, `no selector is given: these jobs have some: {job="engines"}`},
		{"no such job", vllmJob, nil, `these jobs have some: {job="engines"}`},
		{"empty", `{job="engines"}`, answer(200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`), "has no metrics of vLLM"},
		{"bad query", vllmJob, answer(400, `{"status":"error","errorType":"bad_data","error":"parse error: unexpected"}`), "400 Bad Request, bad_data: parse error: unexpected"},
		{"execution", vllmJob, answer(422, `{"status":"error","errorType":"execution","error":"query timed out","data":null}`), "422 Unprocessable Entity, execution: query timed out"},
		{"error first", vllmJob, answer(503, `{"data":null,"error":"shutting down","status":"error"}`), "503 Service Unavailable: shutting down"},
		{"a proxy", vllmJob, answer(502, "<html>bad gateway</html>"), "502 Bad Gateway, and no error message of the HTTP API"},
		{"not Prometheus", vllmJob, answer(200, "<html>hello</html>"), "not an answer of Prometheus's HTTP API"},
		{"another answer", vllmJob, answer(200, `{"status":"success","data":{"resultType":"vector","result":[]}}`), "the result is a vector, not a matrix"},
		{"cut off", vllmJob, answer(200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1795356010,"1"]`), "unexpected EOF"},
		{"no status", vllmJob, answer(200, `{}`), `its status is ""`},
		{"bad sample", vllmJob, answer(200, `{"status":"success","data":{"result":[{"metric":{"__name__":"up"},"values":[[1795356010,"x"]]}]}}`), "has no value"},
		{"no time", vllmJob, answer(200, `{"status":"success","data":{"result":[{"metric":{"__name__":"up"},"values":[["x","1"]]}]}}`), "has no time"},
		{"a name", `vllm:x{job="a"}`, nil, "begins with a metric's name"},
	} {
		f.handle = c.handle
		_, _, err := client(t, f.url, Access{}).Event(context.Background(), c.selector, began, at(60), "")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	// A server that takes GET only.
	f.handle = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			http.Error(w, "no", http.StatusMethodNotAllowed)
			return true
		}
		return false
	}
	f.event(`{job="engines"}`)
	// One below a path, and one that is not there.
	f.handle = func(w http.ResponseWriter, r *http.Request) bool {
		if path, ok := strings.CutPrefix(r.URL.Path, "/prometheus"); ok {
			r.URL.Path = path
			return false
		}
		http.NotFound(w, r)
		return true
	}
	if _, _, err := client(t, f.url+"/prometheus/", Access{}).Event(context.Background(), `job="engines"`, began, at(60), ""); err != nil {
		t.Error(err)
	}
	if _, _, err := client(t, "127.0.0.1:1", Access{}).Event(context.Background(), vllmJob, began, at(60), ""); err == nil || !strings.HasPrefix(err.Error(), "Prometheus at http://127.0.0.1:1: dial tcp") {
		t.Error(err)
	}
}
