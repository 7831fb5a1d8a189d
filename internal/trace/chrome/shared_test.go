package chrome_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/trace"
	"github.com/vobs/vobs/internal/trace/chrome"
)

// analyze reads a trace twice, as vobs trace does.
func analyze(t testing.TB, file string) *trace.Result {
	t.Helper()
	result := trace.NewResult()
	c := trace.NewCollector(filepath.Base(file), trace.DefaultClasses())
	read := func(pass func(*os.File) error) {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := pass(f); err != nil {
			t.Fatal(err)
		}
	}
	read(func(f *os.File) error {
		in, err := chrome.Decompress(f)
		if err != nil {
			return err
		}
		return chrome.Read(in, c)
	})
	gaps := trace.NewGapFinder(result.Add(c))
	if gaps == nil {
		return result
	}
	read(func(f *os.File) error {
		in, err := chrome.Decompress(f)
		if err != nil {
			return err
		}
		return chrome.ReadCPU(in, gaps)
	})
	gaps.Finish()
	return result
}

// The figures of HolisticTraceAnalysis 0.5.0, on what it keeps of a trace: see asHTA.
func TestSharedHolisticTraceAnalysis(t *testing.T) {
	dir := testkit.Shared(t, "data/torch_traces")
	text, err := os.ReadFile(filepath.Join(dir, "hta_expected.json"))
	if err != nil {
		t.Skip(err)
	}
	var expected map[string]struct {
		Breakdown []struct {
			Idle       float64 `json:"idle_time(us)"`
			Compute    float64 `json:"compute_time(us)"`
			NonCompute float64 `json:"non_compute_time(us)"`
			Span       float64 `json:"kernel_time(us)"`
		} `json:"temporal_breakdown"`
		Overlap []struct {
			Percent *float64 `json:"comp_comm_overlap_pctg"`
		} `json:"comm_comp_overlap"`
	}
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	for name, want := range expected {
		r := analyze(t, asHTA(t, filepath.Join(dir, name)))
		if len(r.Devices) != 1 || len(want.Breakdown) != 1 {
			t.Errorf("%s: %d devices, want %d", name, len(r.Devices), len(want.Breakdown))
			continue
		}
		d, w := r.Devices[0], want.Breakdown[0]
		compute := trace.Computation(d)
		for _, c := range []struct {
			what      string
			got, want float64
		}{
			{"span", 1e6 * d.SpanSeconds, w.Span},
			{"idle", 1e6 * (d.SpanSeconds - d.BusySeconds), w.Idle},
			{"computation", 1e6 * compute, w.Compute},
			{"busy without computation", 1e6 * (d.BusySeconds - compute), w.NonCompute},
		} {
			t.Logf("%s: %s %.3f µs, HTA %.3f", name, c.what, c.got, c.want)
			if math.Abs(c.got-c.want) > 1e-3 {
				t.Errorf("%s: %s %.3f µs, HTA %.3f", name, c.what, c.got, c.want)
			}
		}
		communication := d.Classes["communication"].Seconds
		if percent := want.Overlap[0].Percent; percent != nil {
			if got := 100 * d.OverlapSeconds / communication; math.Abs(got-*percent) > 0.005 {
				t.Errorf("%s: overlap %.3f %%, HTA %.2f", name, got, *percent)
			}
		} else if communication != 0 {
			t.Errorf("%s: communication of %v s, HTA has none", name, communication)
		}
	}
}

// asHTA writes a trace as HolisticTraceAnalysis takes it: without what was launched in the last
// ProfilerStep or later, or by a call that the trace does not have (if it has any ProfilerStep);
// with starts rounded up and ends rounded down to whole µs; with waits of streams for events as
// computation; and with other waits (cuda_sync) as busy.
func asHTA(t *testing.T, file string) string {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	text, err := chrome.Decompress(in)
	if err != nil {
		t.Fatal(err)
	}
	type htaEvent struct {
		Ph   string  `json:"ph"`
		Cat  string  `json:"cat"`
		Name string  `json:"name"`
		Ts   float64 `json:"ts"`
		Dur  float64 `json:"dur"`
		Args struct {
			Device      any `json:"device"`
			Stream      any `json:"stream"`
			Correlation any `json:"correlation"`
		} `json:"args"`
	}
	var doc struct {
		Events []htaEvent `json:"traceEvents"`
	}
	if err := json.NewDecoder(text).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	onGPU := func(e *htaEvent) bool {
		stream, ok := e.Args.Stream.(float64)
		return ok && stream >= 0
	}
	last := math.Inf(-1)
	for _, e := range doc.Events {
		if strings.HasPrefix(e.Name, "ProfilerStep") {
			last = max(last, math.Ceil(e.Ts))
		}
	}
	launched := map[any]bool{}
	for _, e := range doc.Events {
		if e.Ph == "X" && e.Args.Correlation != nil && !onGPU(&e) && math.Ceil(e.Ts) < last {
			launched[e.Args.Correlation] = true
		}
	}
	var kept []htaEvent
	for _, e := range doc.Events {
		if e.Ph != "X" || !onGPU(&e) || !launched[e.Args.Correlation] && !math.IsInf(last, -1) {
			continue
		}
		if e.Cat == "cuda_sync" {
			e.Cat = "gpu_memset" // busy, and no computation
			if e.Name == "Stream Wait Event" {
				e.Cat = "kernel"
			}
		}
		e.Ts, e.Dur = math.Ceil(e.Ts), math.Floor(e.Ts+e.Dur)-math.Ceil(e.Ts)
		kept = append(kept, e)
	}
	doc.Events = kept
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), filepath.Base(file)+".json")
	if err := os.WriteFile(name, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
