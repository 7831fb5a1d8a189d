// Package prometheus tests vobs diagnose against a real Prometheus server; see run.sh.
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/source"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

const (
	// defaultSeconds is how long the engines are read.
	defaultSeconds = 120
	// lead is how long the engines run before they are read, and after.
	lead = 15 * time.Second
)

// ofTheHost are findings that rest on the host and its GPUs, which are read live only.
var ofTheHost = []schema.FindingCode{
	schema.FindingHostMemoryLeak, schema.FindingGPUMemoryGrowth, schema.FindingCPUBoundHost, schema.FindingThrottledGPU, schema.FindingGPUUnderfed,
}

// report is what the tests read of a report of vobs diagnose.
type report struct {
	StartedAt, EndedAt time.Time
	Binding            schema.BindingCode
	Codes              []schema.FindingCode
}

func TestPrometheus(t *testing.T) {
	prometheus := os.Getenv("VOBS_E2E_PROMETHEUS")
	if prometheus == "" {
		t.Skip("SKIPPED: make e2e-prometheus runs this test")
	}
	vobs := os.Getenv("VOBS")
	seconds := defaultSeconds
	if text := os.Getenv("VOBS_E2E_SECONDS"); text != "" {
		var err error
		if seconds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	reading := time.Duration(seconds) * time.Second
	engines := map[string]string{} // addresses, by scenario
	for _, name := range scenarios(t, vobs) {
		engines[name] = freeAddress(t)
		args := []string{"demo-engine", "--listen", engines[name], "--duration", (reading + 2*lead).String()}
		if name != plain {
			args = append(args, "--scenario", name)
		}
		start(t, vobs, args...)
	}
	server := startPrometheus(t, prometheus, engines)
	for name := range engines {
		testkit.Await(t, "the first pages of "+name, func() bool { return len(server.values(t, "up", name, time.Now())) >= 3 })
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	live := map[string]report{}
	for name, address := range engines {
		wg.Go(func() {
			r, err := diagnose(vobs, "--metrics-url", address, "--for", reading.String())
			mu.Lock()
			defer mu.Unlock()
			if live[name] = r; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	for name := range engines {
		t.Run(name, func(t *testing.T) { server.compare(t, vobs, name, live[name]) })
	}
}

// plain is the simulated engine without a scenario.
const plain = "plain"

// scenarios returns the scenarios of the simulated engine, by its help; without any, the plain one.
func scenarios(t *testing.T, vobs string) (out []string) {
	t.Helper()
	help, err := exec.Command(vobs, "demo-engine", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(help), "The scenarios of --scenario")
	if !found {
		return []string{plain}
	}
	list, _, _ = strings.Cut(list, "OPTIONS:")
	for _, m := range regexp.MustCompile(`(?m)^ {4,}([a-z][a-z0-9-]*) {2,}\S`).FindAllStringSubmatch(list, -1) {
		out = append(out, m[1])
	}
	return out
}

// freeAddress returns an address where nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// start starts a program that ends with the test.
func start(t *testing.T, program string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // of a program that a signal ended
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s %s:\n%s", filepath.Base(program), strings.Join(args, " "), text)
		}
	})
}

// server is a running Prometheus.
type server struct{ url string }

// startPrometheus starts a Prometheus that scrapes each engine every second as a job of its own.
func startPrometheus(t *testing.T, program string, engines map[string]string) server {
	t.Helper()
	dir := t.TempDir()
	config := "global: {scrape_interval: 1s}\nscrape_configs:\n"
	for name, address := range engines {
		config += fmt.Sprintf("- job_name: %s\n  static_configs: [{targets: ['%s'], labels: {pod: pod-of-%s, engine: a-label-of-the-target}}]\n", name, address, name)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	start(t, program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	s := server{"http://" + address}
	testkit.Await(t, "Prometheus", func() bool {
		resp, err := http.Get(s.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

// point is a value that Prometheus scraped at a time.
type point struct {
	at    time.Time
	value float64
}

// values returns the sums of a metric's series of a job at every scrape in the five minutes before a
// time. They are read apart from package source.
func (s server) values(t *testing.T, metric, job string, to time.Time) (out []point) {
	t.Helper()
	form := url.Values{"query": {fmt.Sprintf("%s{job=%q}[5m]", metric, job)}, "time": {to.UTC().Format(time.RFC3339Nano)}}
	resp, err := http.Get(s.url + "/api/v1/query?" + form.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Values [][2]any `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	sums := map[int64]float64{}
	for _, series := range answer.Data.Result {
		for _, v := range series.Values {
			value, err := strconv.ParseFloat(v[1].(string), 64)
			if err != nil {
				t.Fatal(err)
			}
			sums[int64(v[0].(float64)*1e3+0.5)] += value
		}
	}
	for _, ms := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, point{time.UnixMilli(ms), sums[ms]})
	}
	return out
}

// gain returns what a counter gained between the last scrape before a window and the last one
// inside, and how often its process was replaced there by a new one, which counts from zero.
func (s server) gain(t *testing.T, metric, job string, from, to time.Time) (gain float64, restarts int64) {
	t.Helper()
	points, starts := s.values(t, metric, job, to), map[time.Time]float64{}
	for _, p := range s.values(t, "process_start_time_seconds", job, to) {
		starts[p.at] = p.value
	}
	inside := slices.IndexFunc(points, func(p point) bool { return p.at.After(from) })
	if inside < 1 {
		t.Fatalf("%s has no scrape before the window", metric)
	}
	for i := inside; i < len(points); i++ {
		if starts[points[i].at] == starts[points[i-1].at] {
			gain += points[i].value - points[i-1].value
		} else {
			gain += points[i].value
			restarts++
		}
	}
	return gain, restarts
}

// compare compares a live diagnosis with that of the same time from Prometheus, and the counters
// with those that it scraped.
func (s server) compare(t *testing.T, vobs, job string, live report) {
	selector := fmt.Sprintf(`{job=%q}`, job)
	past, err := diagnose(vobs, "--prometheus", s.url, "--selector", selector, "--at", live.EndedAt.Format(time.RFC3339Nano), "--for", live.EndedAt.Sub(live.StartedAt).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("live: %s %v; from Prometheus: %s %v", live.Binding, live.Codes, past.Binding, past.Codes)
	if past.Binding != live.Binding || !slices.Equal(past.Codes, live.Codes) {
		t.Errorf("live: %s %v; from Prometheus: %s %v", live.Binding, live.Codes, past.Binding, past.Codes)
	}
	client, err := source.NewPrometheus(s.url, source.Access{})
	if err != nil {
		t.Fatal(err)
	}
	e, warnings, err := client.Event(context.Background(), selector, live.StartedAt, live.EndedAt, "test")
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, warnings %q", err, warnings)
	}
	testkit.AssertNullsExplained(t, e, "")
	finished := int64(0)
	for _, n := range e.Engine.Requests.Finished {
		finished += n
	}
	for metric, got := range map[string]int64{
		"vllm:request_success_total":   finished,
		"vllm:generation_tokens_total": *e.Engine.Tokens.Generation,
		"vllm:prompt_tokens_total":     *e.Engine.Tokens.Prompt,
		"vllm:num_preemptions_total":   *e.Engine.Requests.Preemptions,
	} {
		want, restarts := s.gain(t, metric, job, live.StartedAt, live.EndedAt)
		if float64(got) != want {
			t.Errorf("%s gained %v, and the event has %d", metric, want, got)
		}
		if w := e.Engine.Window; w.Base != "scraped" || w.Resets != restarts {
			t.Errorf("%d restarts, window %s", restarts, testkit.JSON(w))
		}
	}
}

// diagnose runs vobs diagnose and returns its report without what rests on the host.
func diagnose(vobs string, args ...string) (r report, err error) {
	cmd := exec.Command(vobs, append([]string{"diagnose", "--format", "json"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 { // a critical finding
		err = nil
	}
	if err != nil {
		return r, fmt.Errorf("vobs diagnose %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	var document struct {
		StartedAt time.Time              `json:"started_at"`
		EndedAt   time.Time              `json:"ended_at"`
		Binding   schema.BindingResource `json:"binding_resource"`
		Findings  []schema.Finding       `json:"findings"`
	}
	if err := json.Unmarshal(out, &document); err != nil {
		return r, err
	}
	r = report{StartedAt: document.StartedAt, EndedAt: document.EndedAt, Binding: document.Binding.Code}
	for _, f := range document.Findings {
		if !slices.Contains(ofTheHost, f.Code) {
			r.Codes = append(r.Codes, f.Code)
		}
	}
	slices.Sort(r.Codes)
	return r, nil
}
