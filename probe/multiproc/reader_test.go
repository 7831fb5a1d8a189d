package multiproc

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/probe/exposition"
)

// flat returns a page's values by `name{labels}`, as text that is exact to the last bit.
func flat(tb testing.TB, page *exposition.Page) map[string]string {
	tb.Helper()
	out := map[string]string{}
	for _, s := range page.Samples {
		id := s.Name + "{" + s.Labels.Key() + "}"
		if _, twice := out[id]; twice {
			tb.Errorf("%s is on the page twice", id)
		}
		out[id] = fmt.Sprintf("%v %x", s.Value, s.Value)
	}
	return out
}

// expected reads the page that prometheus_client's own collector returned.
func expected(tb testing.TB, file string) *exposition.Page {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var page exposition.Page
	if err := exposition.NewParser(nil).Parse(text, &page); err != nil {
		tb.Fatal(err)
	}
	return &page
}

// read reads a directory and expects no error.
func read(tb testing.TB, r *Reader, full bool) *exposition.Page {
	tb.Helper()
	var page exposition.Page
	if err := r.Read(&page, full); err != nil {
		tb.Fatal(err)
	}
	return &page
}

// samePage compares two pages in any order.
func samePage(tb testing.TB, want, got *exposition.Page) {
	tb.Helper()
	if diff := cmp.Diff(flat(tb, want), flat(tb, got)); diff != "" {
		tb.Errorf("samples (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Types, got.Types); diff != "" {
		tb.Errorf("types (-want +got):\n%s", diff)
	}
	if got.OpenMetrics {
		tb.Error("the page is marked as OpenMetrics")
	}
}

// directories are those in testdata: two recorded from real engines, and one with files of
// every kind, which kinds.py wrote.
var directories = []string{"bench_throughput", "serve_dp2", "kinds"}

func dbOf(dir string) string { return filepath.Join("testdata", dir, "db") }

// The page of a directory is that of prometheus_client's own collector, in every reading.
func TestEqualToCollector(t *testing.T) {
	for _, dir := range directories {
		t.Run(dir, func(t *testing.T) {
			want := expected(t, filepath.Join("testdata", dir, "expected.prom"))
			if len(want.Samples) < 300 {
				t.Fatalf("only %d samples are expected", len(want.Samples))
			}
			r := New(dbOf(dir), nil)
			for range 3 {
				samePage(t, want, read(t, r, true))
			}
			if files, err := filepath.Glob(dbOf(dir) + "/*.db"); err != nil || len(r.listed) != len(files) {
				t.Errorf("%d of %d files are read (%v)", len(r.listed), len(files), err)
			}
		})
	}
}

// A poll returns the wanted gauges and counters of a full page, with the same values.
func TestPolls(t *testing.T) {
	for _, dir := range directories {
		t.Run(dir, func(t *testing.T) {
			want := expected(t, filepath.Join("testdata", dir, "expected.prom"))
			for name, typ := range want.Types {
				if typ != exposition.Gauge && typ != exposition.Counter {
					delete(want.Types, name)
				}
			}
			want.Samples = slices.DeleteFunc(want.Samples, func(s exposition.Sample) bool {
				_, there := want.Types[s.Name]
				return !there
			})
			if len(want.Samples) < 20 {
				t.Fatalf("only %d samples are expected", len(want.Samples))
			}
			r := New(dbOf(dir), nil)
			samePage(t, want, read(t, r, false))
			read(t, r, true)
			samePage(t, want, read(t, r, false))
		})
	}
}

// A page has only what is wanted, and a full one more than a poll.
func TestWanted(t *testing.T) {
	wanted := map[string]Wanted{
		"vllm:num_requests_running":        InPolls,
		"vllm:generation_tokens_total":     InPolls,
		"vllm:prompt_tokens_total":         InFull,
		"vllm:kv_cache_usage_perc":         InFull,
		"vllm:e2e_request_latency_seconds": InFull, // its TYPE only, and
		"vllm:request_queue_time_seconds":  InPolls,
		// a count without its buckets, a bucket without its count:
		"vllm:e2e_request_latency_seconds_count": InFull,
		"vllm:request_queue_time_seconds_bucket": InPolls,
	}
	r := New(dbOf("serve_dp2"), func(name string) Wanted { return wanted[name] })
	for _, full := range []bool{true, false, true} {
		want := expected(t, "testdata/serve_dp2/expected.prom")
		least := InPolls
		if full {
			least = InFull
		}
		for name, typ := range want.Types {
			if wanted[name] < least || !full && typ == exposition.Histogram {
				delete(want.Types, name)
			}
		}
		want.Samples = slices.DeleteFunc(want.Samples, func(s exposition.Sample) bool {
			return wanted[s.Name] < least || !full && strings.Contains(s.Name, "_seconds_")
		})
		samePage(t, want, read(t, r, full))
	}
}

// Order and label sets stay the same from reading to reading: window.Counters compares label
// sets by pointer.
func TestOrderIsStable(t *testing.T) {
	r := New(dbOf("serve_dp2"), nil)
	first, second := read(t, r, true), read(t, r, true)
	if len(first.Samples) != len(second.Samples) {
		t.Fatalf("%d samples, then %d", len(first.Samples), len(second.Samples))
	}
	for i := range first.Samples {
		if a, b := first.Samples[i], second.Samples[i]; a.Name != b.Name || a.Labels != b.Labels {
			t.Fatalf("sample %d: %s%v, then %s%v", i, a.Name, a.Labels, b.Name, b.Labels)
		}
	}
}

// Of some recordings only the values exist, as an independent decoder read them. Files
// written from these values yield the same values.
func TestDecodedRecordings(t *testing.T) {
	for _, name := range []string{"script_stats_on", "script_plugin_force"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", name+".tsv"))
			if err != nil {
				t.Fatal(err)
			}
			dir, files, want := t.TempDir(), map[string]*dbFile{}, map[string]string{}
			for line := range strings.Lines(string(text)) {
				fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
				if len(fields) != 6 {
					continue
				}
				var value, stamp float64
				if _, err := fmt.Sscan(fields[4]+" "+fields[5], &value, &stamp); err != nil {
					t.Fatal(err)
				}
				f := files[fields[0]]
				if f == nil {
					f = newDB()
					files[fields[0]] = f
				}
				f.raw(fmt.Sprintf("[%q, %q, %s, \"\"]", fields[1], fields[2], fields[3]), value, stamp)
				if !strings.HasPrefix(fields[0], "gauge") || stamp > 0 {
					want[fields[2]+fields[3]] = fmt.Sprint(value)
				}
			}
			for name, f := range files {
				f.write(t, filepath.Join(dir, name))
			}
			got := map[string]string{}
			for _, s := range read(t, New(dir, nil), true).Samples {
				pairs := []string{}
				for _, l := range s.Labels.Pairs() {
					pairs = append(pairs, fmt.Sprintf("%q: %q", l.Name, l.Value))
				}
				got[s.Name+"{"+strings.Join(pairs, ", ")+"}"] = fmt.Sprint(s.Value)
			}
			if len(want) < 40 {
				t.Fatalf("only %d values", len(want))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// If a value is NaN in one process, so is the sum, and a maximum that starts with it.
func TestNaN(t *testing.T) {
	dir := t.TempDir()
	nan, inf := math.NaN(), math.Inf(1)
	for pid, v := range []float64{nan, 3, inf} {
		newDB().entry("c", "c_total", "", v).write(t, fmt.Sprintf("%s/counter_%d.db", dir, pid))
		newDB().entry("s", "s", "", -v).write(t, fmt.Sprintf("%s/gauge_sum_%d.db", dir, pid))
		newDB().entry("m", "m", "", v).write(t, fmt.Sprintf("%s/gauge_max_%d.db", dir, pid))
	}
	got := flat(t, read(t, New(dir, nil), true))
	want := map[string]string{"c_total{}": "NaN NaN", "s{}": "NaN NaN", "m{}": "NaN NaN"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Reading again allocates only for passing the files' names to system calls.
func TestAllocations(t *testing.T) {
	r, page := New(dbOf("serve_dp2"), nil), exposition.Page{}
	for _, full := range []bool{true, false} {
		n := testing.AllocsPerRun(20, func() {
			if err := r.Read(&page, full); err != nil {
				t.Fatal(err)
			}
		})
		if files := float64(len(r.listed)); n > files+2 {
			t.Errorf("full %v: %v allocations for %v files", full, n, files)
		}
	}
}
