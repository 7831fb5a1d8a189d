package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// start is when the run of the files in testdata began.
var start = time.Date(2026, 11, 30, 12, 0, 0, 400e6, time.UTC)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t testing.TB, name string) (*schema.Client, map[string]string) {
	t.Helper()
	c, notes, err := Parse(read(t, name), start)
	if err != nil {
		t.Fatal(err)
	}
	why := map[string]string{}
	for _, u := range notes.Unavailable {
		why[u.Field] = u.Reason
	}
	return c, why
}

func near(t testing.TB, what string, got *schema.Float, want float64) {
	t.Helper()
	if x, ok := got.Value(); !ok || math.Abs(x-want) > 1e-9*math.Abs(want) {
		t.Errorf("%s is %s, expected %v", what, testkit.JSON(got), want)
	}
}

// Each file is parsed into the group in its golden file, with a reason for every null.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		name := filepath.Base(file)
		if name == "README.md" || name == "golden" || name == "fuzz" {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			c, notes, err := Parse(read(t, name), start)
			if err != nil {
				t.Fatal(err)
			}
			if c.Settings == nil {
				t.Error("settings are null")
			}
			got, err := json.MarshalIndent(struct {
				Client      *schema.Client       `json:"client"`
				Validity    []schema.Validity    `json:"validity,omitempty"`
				Unavailable []schema.Unavailable `json:"unavailable"`
			}{c, notes.Validity, notes.Unavailable}, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			testkit.Golden(t, filepath.Join("testdata", "golden", strings.TrimSuffix(name, filepath.Ext(name))+".json"), append(got, '\n'))
			notes.Missing("client.engine_difference_seconds", "the run computes it")
			event := &schema.GenerationObservability{Client: c, Unavailable: notes.Unavailable}
			testkit.AssertNullsExplained(t, event, "client")
		})
	}
	if n < 14 {
		t.Errorf("only %d files", n)
	}
}

// The figures of each request give the numbers that vllm bench serve itself computed from them.
func TestBenchServeDetailed(t *testing.T) {
	c, _ := parse(t, "benchserve_detailed.json")
	var own map[string]any
	if err := json.Unmarshal(read(t, "benchserve_detailed.json"), &own); err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*schema.ClientDistribution{
		"ttft": c.LatencySeconds.TimeToFirstToken, "itl": c.LatencySeconds.InterTokenLatency, "tpot": c.LatencySeconds.TimePerOutputToken,
	} {
		for stat, got := range map[string]*schema.Float{"mean": d.Mean, "median": d.P50, "p99": d.P99} {
			near(t, stat+" "+name, got, own[stat+"_"+name+"_ms"].(float64)/1000)
		}
	}
	if n := *c.LatencySeconds.TimeToFirstToken.Count; n != 6 {
		t.Errorf("%d observations of TTFT, expected those of the 6 requests that succeeded", n)
	}
	if total(c.Requests.Failed) != 2 || *c.Requests.Started != 8 {
		t.Errorf("requests: %s", testkit.JSON(c.Requests))
	}
	// The E2E latency begins when the request was due, which is before it was sent.
	if e2e, sent := float64(*c.LatencySeconds.E2ERequestLatency.Mean), own["mean_e2el_ms"].(float64)/1000; e2e <= sent {
		t.Errorf("the E2E latency of %v s does not have the wait for the semaphore: it is %v s without", e2e, sent)
	}
	wait := float64(*c.LatencySeconds.SendLateness.Mean)
	near(t, "E2E latency", c.LatencySeconds.E2ERequestLatency.Mean, own["mean_e2el_ms"].(float64)/1000+wait)
}

func TestBenchServe(t *testing.T) {
	c, why := parse(t, "benchserve_inf.json") // before version 0.11: it counts no failures
	if c.Requests.Failed != nil || c.Requests.Started != nil || *c.Requests.Completed != 8 {
		t.Errorf("requests: %s", testkit.JSON(c.Requests))
	}
	if c.Settings["request_rate"] != "inf" || c.Goodput != nil || why["client.goodput"] != "" {
		t.Errorf("settings: %v, goodput: %s %s", c.Settings, testkit.JSON(c.Goodput), why["client.goodput"])
	}
	if c.LatencySeconds.SendLateness != nil || !strings.Contains(why["client.latency_seconds.send_lateness"], "--request-rate") {
		t.Error(why["client.latency_seconds.send_lateness"])
	}
	c, why = parse(t, "benchserve_all_failed.json")
	if c.LatencySeconds != nil || why["client.latency_seconds"] != "no request was completed" {
		t.Errorf("latencies of no request: %s", testkit.JSON(c.LatencySeconds))
	}
	if c.Requests.Failed[unknownKind] != 4 {
		t.Errorf("requests: %s", testkit.JSON(c.Requests))
	}
	c, why = parse(t, "benchserve_queue.json") // summaries only, with failures: the lists do not count
	var own map[string]float64
	_ = json.Unmarshal(read(t, "benchserve_queue.json"), &own) // the texts in it are left out
	near(t, "E2E latency", c.LatencySeconds.E2ERequestLatency.P99, own["p99_e2el_including_client_queue_ms"]/1000)
	near(t, "lateness", c.LatencySeconds.SendLateness.P99, own["p99_client_queue_time_ms"]/1000)
	if c.LatencySeconds.E2ERequestLatency.P95 != nil || !strings.Contains(why["client.latency_seconds.e2e_request_latency.p95"], "--metric-percentiles") {
		t.Error(why)
	}
}

// A metric that no request had is 0 throughout in the result.
func TestBenchServeNotStreamed(t *testing.T) {
	data := string(read(t, "benchserve_inf.json"))
	var own map[string]any
	if err := json.Unmarshal([]byte(data), &own); err != nil {
		t.Fatal(err)
	}
	for name := range own {
		if strings.HasSuffix(name, "_ttft_ms") {
			own[name] = 0.0
		}
	}
	changed, err := json.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	c, reasons, err := Parse(changed, start)
	if err != nil {
		t.Fatal(err)
	}
	if c.LatencySeconds.TimeToFirstToken != nil || c.LatencySeconds.TimePerOutputToken == nil {
		t.Errorf("%s, %v", testkit.JSON(c.LatencySeconds), reasons)
	}
}

// Of an appended file, only the results of this run count.
func TestBenchServeAppended(t *testing.T) {
	c, why := parse(t, "benchserve_appended.json")
	if *c.Requests.Completed != 7+8 || total(c.Requests.Failed) != 1 {
		t.Errorf("requests: %s", testkit.JSON(c.Requests))
	}
	if c.LatencySeconds != nil || !strings.Contains(why["client.latency_seconds"], "2 results") {
		t.Error(why["client.latency_seconds"])
	}
	if c.Settings["model_id"] != "facebook/opt-125m" {
		t.Error(c.Settings)
	}
	late := start.Add(time.Hour)
	c, _, err := Parse(read(t, "benchserve_appended.json"), late)
	if err != nil || *c.Requests.Completed != 8 || c.LatencySeconds == nil {
		t.Errorf("the last result is not the one of the run: %v", err)
	}
}

// GuideLLM's inter-token latency is vLLM's time per output token, in milliseconds.
func TestGuideLLM(t *testing.T) {
	c, why := parse(t, "guidellm_one_rate.json")
	l := c.LatencySeconds
	near(t, "TTFT", l.TimeToFirstToken.P99, 11.686325073242188e-3)
	near(t, "TPOT", l.TimePerOutputToken.P50, 1.0459763663155692e-3)
	near(t, "E2E", l.E2ERequestLatency.Mean, 0.01978909969329834)
	near(t, "lateness", l.SendLateness.Mean, 0.0025463104248046875)
	if l.InterTokenLatency != nil || *c.Tokens.Prompt != 143 || *c.Tokens.Generation != 16 || why["client.latency_seconds.inter_token_latency"] == "" {
		t.Errorf("%s %v", testkit.JSON(c), why)
	}
	if _, _, err := Parse([]byte(`{"metadata":{"version":1,"guidellm_version":"0.5.0"},"benchmarks":[]}`), start); err == nil || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("another version: %v", err)
	}
}

func TestAIPerf(t *testing.T) {
	c, _ := parse(t, "aiperf.json")
	l := c.LatencySeconds
	near(t, "TTFT", l.TimeToFirstToken.P99, 0.060)
	near(t, "ITL", l.InterTokenLatency.Max, 0.031)
	near(t, "TPOT", l.TimePerOutputToken.Mean, 0.0115)
	near(t, "duration", c.DurationSeconds, 4)
	if *c.Requests.Started != 21 || *c.Requests.Cancelled != 2 || c.Requests.Failed["Internal Server Error"] != 1 || total(c.Requests.Failed) != 1 {
		t.Errorf("requests: %s", testkit.JSON(c.Requests))
	}
	if *c.Tokens.From != fromUsage || *c.Tokens.Prompt != 594 {
		t.Errorf("tokens: %s", testkit.JSON(c.Tokens))
	}
}

func TestInferencePerf(t *testing.T) {
	c, why := parse(t, "inferenceperf_stage_0.json")
	near(t, "TTFT", c.LatencySeconds.TimeToFirstToken.P99, 0.039696927970508104)
	if *c.Tokens.Prompt != 12246 || *c.Tokens.Generation != 3789 || *c.Tokens.From != fromTokenizer { // 60 x 204.1, 60 x 63.15
		t.Errorf("tokens: %s", testkit.JSON(c.Tokens))
	}
	if c.LatencySeconds.SendLateness.Mean != nil || why["client.latency_seconds.send_lateness.mean"] == "" {
		t.Error("a mean over requests that were sent early")
	}
	c, _ = parse(t, "inferenceperf_summary.json")
	if *c.Tokens.Generation != 500 || c.Requests.Failed["Timeout"] != 1 || *c.Requests.Started != 12 {
		t.Errorf("%s", testkit.JSON(c))
	}
}

func TestErrors(t *testing.T) {
	for content, want := range map[string]string{
		"":                                 "the file is empty",
		" \n":                              "the file is empty",
		"{":                                "not JSON, or only a part of it",
		"[]":                               "the file has no results",
		"[1]":                              "not a result of",
		"1":                                "not a result of",
		`{"a":1}`:                          "not a result of",
		"Serving Benchmark Result\nx\n":    "not JSON",
		`{"aiperf_version":1,"goodput":1}`: "a result of aiperf that cannot be read: goodput",
		`{"client":{"tool":"vobs load","requests":1}}`: "a result of vobs load that cannot be read",
		string(read(t, "aiperf.json")[:800]):           "not JSON, or only a part of it",
		strings.Repeat(" ", MaxBytes+1):                "32 MiB are more than the 32 MiB that are read",
	} {
		_, _, err := Parse([]byte(content), start)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, expected %q", content, err, want)
		}
	}
}

// Python writes NaN and infinities, which JSON does not have. In strings they stay.
func TestNonFinite(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": NaN, "b": [Infinity, -Infinity, -1]}`: `{"a": null, "b": [null, null, -1]}`,
		`{"NaN": "\"NaN Infinity", "x": NaN}`:        `{"NaN": "\"NaN Infinity", "x": null}`,
		`{"x": "Nan"}`:                               `{"x": "Nan"}`,
	} {
		if got := string(withoutNaN([]byte(in))); got != want {
			t.Errorf("%s: %s, expected %s", in, got, want)
		}
	}
	data := bytes.Replace(read(t, "benchserve_inf.json"), []byte(`"duration": 4.0`), []byte(`"duration": NaN`), 1)
	c, _, err := Parse(data, start)
	if err != nil || c.DurationSeconds != nil {
		t.Errorf("%v, %s", err, testkit.JSON(c))
	}
}

// The kinds of failures are bounded in number and length.
func TestManyFailures(t *testing.T) {
	labels := map[string]any{}
	for i := range 100 {
		labels[fmt.Sprintf("%d - %s", i, strings.Repeat("é", 100))] = map[string]int{"count": 2}
	}
	data, err := json.Marshal(map[string]any{
		"load_summary": map[string]any{"count": 250}, "successes": map[string]any{"count": 0},
		"failures": map[string]any{"count": 250, "by_label": labels},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := Parse(data, start)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Requests.Failed); n != maxKinds+1 || total(c.Requests.Failed) != 250 {
		t.Errorf("%d kinds, %d failures", n, total(c.Requests.Failed))
	}
	for kind := range c.Requests.Failed {
		if len(kind) > maxKindName {
			t.Errorf("%q", kind)
		}
	}
}

// Whatever the content, Parse returns an error or a group that can be written, with a reason
// for each null.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, notes, err := Parse(data, start)
		if err != nil {
			return
		}
		if c.Tool == "" || c.Settings == nil {
			t.Fatalf("%s", testkit.JSON(c))
		}
		notes.Missing("client.engine_difference_seconds", "the run computes it")
		testkit.AssertNullsExplained(t, &schema.GenerationObservability{Client: c, Unavailable: notes.Unavailable}, "client")
		if _, err := json.Marshal(c); err != nil {
			t.Fatal(err)
		}
	})
}
