package nsys_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/trace"
	"github.com/vobs/vobs/internal/trace/nsys"
)

// analyze reads an export twice, as vobs trace does.
func analyze(t testing.TB, file string) *trace.Result {
	t.Helper()
	r := trace.NewResult()
	c := trace.NewCollector(filepath.Base(file), trace.DefaultClasses())
	if err := nsys.Read(file, c); err != nil {
		t.Fatal(err)
	}
	if gaps := trace.NewGapFinder(r.Add(c)); gaps != nil {
		if err := nsys.ReadCPU(file, gaps); err != nil {
			t.Fatal(err)
		}
		gaps.Finish()
	}
	return r
}

// The unions of an independent script, to the nanosecond.
func TestSharedUnions(t *testing.T) {
	dir := testkit.Shared(t, "data/nsys")
	text, err := os.ReadFile(filepath.Join(dir, "expected_unions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]map[string]map[string]any
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for name, devices := range expected {
		r := analyze(t, filepath.Join(dir, name))
		if len(r.Devices) != len(devices) {
			t.Errorf("%s: %d devices, want %d", name, len(r.Devices), len(devices))
		}
		for _, d := range r.Devices {
			want := devices[strconv.Itoa(d.Device)]
			same := func(key string, got float64) {
				t.Helper()
				w, ok := want[key].(float64)
				if !ok || math.Abs(got-w) > 0.5 {
					t.Errorf("%s, device %d: %s is %.1f, want %.1f", name, d.Device, key, got, w)
				}
				checked++
			}
			same("busy_union_ns", 1e9*d.KernelBusySeconds)
			same("span_ns", 1e9*trace.KernelSpan(d))
			same("overlap_ns", 1e9*d.OverlapSeconds)
			kernels, sum := int64(0), 0.0
			for _, class := range []string{"attention", "gemm", "communication", "other"} {
				same(class+"_union_ns", 1e9*d.Classes[class].Seconds)
				same(class+"_n", float64(d.Classes[class].Kernels))
				kernels += d.Classes[class].Kernels
			}
			same("kernels", float64(kernels))
			if len(r.Devices) == 1 {
				sum = r.Document.TotalSeconds
				same("sum_ns", 1e9*sum)
			}
		}
	}
	t.Logf("%d figures", checked)
	if checked < 30 {
		t.Error("too few")
	}
}
