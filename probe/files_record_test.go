//go:build linux && cgo

package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// gaugeIn returns a function that sets a gauge in one of prometheus_client's files.
func gaugeIn(t *testing.T, path, name string) func(float64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key := bytes.Index(data, []byte(`["`+name+`"`))
	if key < 4 {
		t.Fatalf("no %s in %s", name, path)
	}
	length := int(binary.NativeEndian.Uint32(data[key-4:]))
	at := int64(key + length + 8 - (length+4)%8)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func(value float64) {
		if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, math.Float64bits(value)), at); err != nil {
			t.Fatal(err)
		}
	}
}

// A gauge's value that lasts a tenth of a second is its peak, although Go code reads the
// files four times a second: they are recorded in between.
func TestShortPeakIsRecorded(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("multiproc/testdata/serve_dp2/db")); err != nil {
		t.Fatal(err)
	}
	set := gaugeIn(t, filepath.Join(dir, "gauge_mostrecent_32303.db"), "vllm:num_requests_running")
	set(0)
	p := New(quick)
	p.Add(Directory(dir, true))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	e := p.endpoints[0]
	readings := func() int64 {
		p.mu.Lock()
		defer p.mu.Unlock()
		return e.count
	}
	await := func(more int64) {
		want := readings() + more
		testkit.Await(t, "more readings", func() bool { return readings() >= want })
	}
	await(12)
	set(7)
	time.Sleep(2*filesInterval + filesInterval/5) // how long the engine has this value, not a wait for vobs
	set(0)
	await(12)
	report := p.Finish(context.Background(), time.Now())
	if report.Engine == nil || report.Engine.Requests.Running.Peak == nil || *report.Engine.Requests.Running.Peak != 7 || *report.Engine.Requests.Running.Last != 0 {
		t.Fatalf("%s", testkit.JSON(report.Engine))
	}
	s := report.Engine.Scrapes
	if period, _ := s.PeriodSeconds.Value(); s.Errors != 0 || period <= 0 || period > 0.2 {
		t.Errorf("scrapes %s", testkit.JSON(s))
	}
	if e.files.Record(filesInterval) {
		e.files.StopRecord()
	} else {
		t.Skip("SKIPPED in part: the files cannot be recorded here and were read directly")
	}
	checkNulls(t, report)
}

// The files of a second process appear while those of the first are recorded: what both
// counted is exact, and nothing looks like a restart.
func TestSecondProcessWhileRecording(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("multiproc/testdata/serve_dp2/db")); err != nil {
		t.Fatal(err)
	}
	p := New(quick)
	p.Add(Directory(dir, true))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	e := p.endpoints[0]
	state := func() (tokens float64, readings int64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return e.tokens, e.count
	}
	testkit.Await(t, "recorded rounds", func() bool { _, now := state(); return now >= 12 })
	const tokens = 11555 // of the process whose files are copied
	for n := 2; n < 5; n++ {
		for _, kind := range []string{"counter", "gauge_mostrecent", "histogram"} {
			data, err := os.ReadFile(filepath.Join(dir, kind+"_32303.db"))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, kind+"_99"+string(rune('0'+n))+".db"), data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_, before := state()
		testkit.Await(t, "readings after it", func() bool { _, now := state(); return now >= before+12 })
		if got, _ := state(); got != tokens*float64(n-1) {
			t.Errorf("%v tokens of %d new processes, want %v", got, n-1, tokens*(n-1))
		}
	}
	out := p.Finish(context.Background(), time.Now())
	if out.Engine == nil || out.Engine.Window.Resets != 0 || strings.Contains(testkit.Codes(out.Notes), "counter_reset") {
		t.Errorf("%s %s", testkit.JSON(out.Engine), testkit.JSON(out.Notes))
	}
}
