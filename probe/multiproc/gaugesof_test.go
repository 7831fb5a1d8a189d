package multiproc

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/exposition"
)

// gaugeFile is a file with gauges of mode mostrecent.
func gaugeFile(value, stamp float64) *dbFile {
	return newDB().raw(`["g", "g", {}, "help"]`, value, stamp)
}

// pageValues returns the values on a page, by name.
func pageValues(page *exposition.Page) map[string]float64 {
	out := map[string]float64{}
	for _, s := range page.Samples {
		out[s.Name] = s.Value
	}
	return out
}

// The newest value counts of the processes that are alive, however new that of an ended one
// is. Counters are not read.
func TestOnlyGaugesOf(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	gaugeFile(1, 10).write(t, path("gauge_mostrecent_1.db"))
	gaugeFile(2, 20).write(t, path("gauge_mostrecent_2.db"))
	gaugeFile(9, 90).write(t, path("gauge_mostrecent_9.db"))
	newDB().entry("s", "s", "", 3).write(t, path("gauge_livesum_1.db"))
	newDB().entry("s", "s", "", 4).write(t, path("gauge_livesum_2.db"))
	newDB().entry("s", "s", "", 70).write(t, path("gauge_livesum_9.db"))
	newDB().entry("c", "c_total", "", 8).write(t, path("counter_1.db"))
	alive := map[string]bool{"1": true, "2": true}
	r := New(dir, nil)
	r.OnlyGaugesOf(func(process, _ string) bool { return alive[process] })
	var page exposition.Page
	read := func(full bool, want map[string]float64) {
		t.Helper()
		if err := r.Read(&page, full); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, pageValues(&page)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	read(true, map[string]float64{"g": 2, "s": 7})
	alive["2"] = false
	read(false, map[string]float64{"g": 1, "s": 3})
	// A file that is gone is no error: the others are whole.
	if err := os.Remove(path("gauge_livesum_1.db")); err != nil {
		t.Fatal(err)
	}
	read(false, map[string]float64{"g": 1})
	alive["1"] = false
	read(false, map[string]float64{})
}

// A round of a recording has the same files as a reading.
func TestRecordOnlyGaugesOf(t *testing.T) {
	dir := t.TempDir()
	gaugeFile(1, 10).write(t, filepath.Join(dir, "gauge_mostrecent_1.db"))
	gaugeFile(9, 90).write(t, filepath.Join(dir, "gauge_mostrecent_9.db"))
	newDB().entry("c", "c_total", "", 8).write(t, filepath.Join(dir, "counter_1.db"))
	r := New(dir, nil)
	r.OnlyGaugesOf(func(process, _ string) bool { return process == "1" })
	var page exposition.Page
	defer r.StopRecord()
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(mtimeTick) {
		if err := r.Read(&page, false); err != nil {
			t.Fatal(err)
		}
		if r.Record(time.Millisecond) {
			break
		}
		if time.Now().After(deadline) {
			t.Skip("SKIPPED: the files cannot be recorded here")
		}
	}
	for rounds := 0; rounds < 3; {
		_, _, ok, err := r.Recorded(&page)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			time.Sleep(time.Millisecond)
			continue
		}
		rounds++
		if diff := cmp.Diff(map[string]float64{"g": 1}, pageValues(&page)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// Links are not followed, nor one that takes the place of a file.
func TestOnlyGaugesOfFollowsNoLinks(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "x")
	gaugeFile(5, 50).write(t, elsewhere)
	name := filepath.Join(dir, "gauge_mostrecent_1.db")
	if err := os.Symlink(elsewhere, filepath.Join(dir, "gauge_mostrecent_2.db")); err != nil {
		t.Fatal(err)
	}
	gaugeFile(1, 10).write(t, name)
	r := New(dir, nil)
	r.OnlyGaugesOf(func(string, string) bool { return true })
	var page exposition.Page
	if err := r.Read(&page, false); err != nil || pageValues(&page)["g"] != 1 {
		t.Errorf("%v, %v", pageValues(&page), err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, name); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(&page, false); err == nil || len(page.Samples) > 0 {
		t.Errorf("%v, %v", pageValues(&page), err)
	}
}
