package diagnose

import (
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// thrashing is a diagnosis with a bit of everything.
func thrashing() *schema.Diagnosis {
	d := &schema.Diagnosis{
		BindingResource: schema.BindingResource{
			Code: schema.BindingKVCache, Confidence: 0.9,
			Evidence: []schema.DiagnosisEvidence{
				{Field: "engine.requests.preemptions / engine.requests.finished", Value: 0.06396, Operator: ">", Threshold: 0.05},
				{Field: "engine.kv_cache.usage.peak", Value: schema.Float(0.9987), Operator: ">=", Threshold: 0.9},
			},
		},
		Findings: []schema.Finding{
			{
				Code: schema.FindingPrefixCacheIneffective, Severity: schema.FindingInfo, Confidence: 0.5,
				Message:     "few of the tokens that requests share were found in the prefix cache",
				WouldSettle: []string{"the share of the prompts that is the same: --shared-prefix"},
			},
			{
				Code: schema.FindingKVCacheThrashing, Severity: schema.FindingWarning, Confidence: 0.9,
				Message:  "the KV cache is too small for the requests that run at once: requests are preempted, and computed again",
				Evidence: []schema.DiagnosisEvidence{{Field: "engine.requests.preemptions", Value: int64(64), Operator: ">", Threshold: 0}, {Field: "engine.latency_seconds.queue_time.mean", Value: schema.F(1.25), Operator: ">", Threshold: 1}},
				Causes:   []string{"max_num_seqs is higher than the KV cache holds", "gpu_memory_utilization leaves memory unused"},
				Fixes: []schema.Fix{
					{Flag: "--max-num-seqs", Value: int64(112), Reason: "71 680 KV tokens hold 112 requests of 640 tokens", Effect: "preemptions fall, waiting rises"},
					{Reason: "use a GPU with more memory", Effect: "the KV cache grows"},
				},
			},
			{Code: schema.FindingEngineErrors, Severity: schema.FindingCritical, Confidence: 1, Message: "7 requests failed with an error of the engine"},
		},
		NotEvaluated: []schema.NotEvaluated{
			{Code: schema.FindingGPUUnderfed, Reason: "no GPU was sampled"},
			{Code: schema.FindingLongRunningRequests, Reason: "the engine does not export how long requests have been running"},
			{Code: schema.FindingThrottledGPU, Reason: "no GPU was sampled"},
		},
	}
	d.FillLists()
	return d
}

func reports() Reports {
	e := &schema.GenerationObservability{Run: schema.Run{ID: "019aa8f2-6c1e-7b6a-9d0e-3f6f1d2a9c11", StartedAt: "2026-11-22T10:00:00.000Z", EndedAt: schema.Ptr("2026-11-22T10:01:00.000Z"), DurationSeconds: 60}}
	e.Validity = []schema.Validity{{Code: schema.CodeShortWindow, Severity: schema.Info, Message: "a short window"}, {Code: schema.CodeScrapesFailed, Severity: schema.Warning, Message: "12 of 390 readings failed"}}
	return Reports{NewReport("event.json", e, thrashing(), Default)}
}

// The three formats, as golden files.
func TestWrite(t *testing.T) {
	unknown := &schema.Diagnosis{BindingResource: schema.BindingResource{Code: schema.BindingUnknown, WouldSettle: []string{"the series of the run"}}}
	unknown.FillLists()
	several := append(reports(), NewReport("other\x1b.json", &schema.GenerationObservability{}, unknown, Default))
	for _, c := range []struct {
		file    string
		reports Reports
		format  Format
		width   int
	}{
		{"one.txt", reports(), Text, 0},
		{"narrow.txt", reports(), Text, 60},
		{"several.txt", several, Text, 0},
		{"one.md", reports(), Markdown, 0},
		{"several.md", several, Markdown, 0},
		{"one.json", reports(), JSON, 0},
	} {
		var b strings.Builder
		if err := c.reports.Write(&b, c.format, c.width); err != nil {
			t.Fatal(err)
		}
		testkit.Golden(t, filepath.Join("testdata", c.file), []byte(b.String()))
	}
	var b strings.Builder
	var documents []map[string]any
	if err := several.Write(&b, JSON, 0); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b.String()), &documents); err != nil || len(documents) != 2 {
		t.Errorf("%v: %s", err, b.String())
	}
}

// A width is kept to.
func TestTextWidth(t *testing.T) {
	var b strings.Builder
	if err := reports().WriteText(&b, 60); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 60 {
			t.Errorf("%d characters: %s", n, line)
		}
	}
}

func TestHeadline(t *testing.T) {
	const want = "KV cache (confidence 90 %): preemptions per finished request 0.064 > 0.05, peak of KV cache usage 99.9 % >= 90 %; critical: engine_errors; warning: kv_cache_thrashing"
	if got := Headline(thrashing()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := Headline(&schema.Diagnosis{BindingResource: schema.BindingResource{Code: schema.BindingUnknown}}); got != "unknown" {
		t.Error(got)
	}
	if got := Headline(&schema.Diagnosis{BindingResource: schema.BindingResource{Code: "later", Confidence: 0.5}}); got != "later (confidence 50 %)" {
		t.Error(got)
	}
}

func TestEvidenceTexts(t *testing.T) {
	for _, c := range []struct {
		e    schema.DiagnosisEvidence
		want string
	}{
		{schema.DiagnosisEvidence{Field: "gpus.0.peak_bytes", Value: int64(3) << 30, Operator: ">", Threshold: nil}, "gpus.0.peak_bytes 3 GiB > unknown"},
		{schema.DiagnosisEvidence{Field: "engine.window.resets", Value: 2, Operator: ">", Threshold: 0}, "window.resets 2 > 0"},
		{schema.DiagnosisEvidence{Field: "engine.kv_cache.usage.max", Value: true, Operator: "==", Threshold: "x\x1b"}, `kv_cache.usage.max true == x\x1b`},
		{schema.DiagnosisEvidence{Field: "x", Value: 123456.789}, "x 123457"},
		{schema.DiagnosisEvidence{Field: "x", Value: 0.050004, Operator: ">", Threshold: 0.05}, "x 0.050004 > 0.05"},
		{schema.DiagnosisEvidence{Field: "x", Value: math.NaN(), Operator: "<", Threshold: 1}, "x NaN < 1"},
	} {
		if got := evidenceTexts([]schema.DiagnosisEvidence{c.e}); got[0] != c.want {
			t.Errorf("%s, want %s", got[0], c.want)
		}
	}
}

func TestCritical(t *testing.T) {
	r := reports()
	if !r.Critical() {
		t.Error("a critical finding is missed")
	}
	r[0].Findings = r[0].Findings[:2]
	if r.Critical() {
		t.Error("a warning is critical")
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(string(f)); got != f || err != nil {
			t.Errorf("%s: %v, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("csv"); err == nil {
		t.Error("csv is accepted")
	}
}
