//go:build linux && cgo

package multiproc

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/probe/exposition"
)

const quickly = 2 * time.Millisecond

// nextRound waits for a round of the record.
func nextRound(t *testing.T, r *Reader, page *exposition.Page) (at time.Time, err error) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(quickly) {
		if at, took, ok, err := r.Recorded(page); ok {
			if took < 0 || took > time.Minute {
				t.Fatalf("a round took %v", took)
			}
			return at, err
		}
	}
	t.Fatal("no round in 30 s")
	return at, nil
}

// recordedTest makes a directory with a reader that has read it and records it.
func recordedTest(t *testing.T) (dir string, r *Reader, page *exposition.Page) {
	t.Helper()
	dir, page = good(t), &exposition.Page{}
	r = New(dir, nil)
	if err := r.Read(page, true); err != nil {
		t.Fatal(err)
	}
	if !r.Record(quickly) {
		t.Skip("SKIPPED: no record can be had here: the directory for temporary files is on a file system that is not known to be local, set TMPDIR")
	}
	t.Cleanup(r.StopRecord)
	return dir, r, page
}

// A round has what a poll would have had at its time, and rounds come in their order.
func TestRecord(t *testing.T) {
	dir, r, page := recordedTest(t)
	polled := with(goodPage, `h_bucket{"le"="+Inf",}`, "", "h_count{}", "")
	var last time.Time
	for range 3 {
		at, err := nextRound(t, r, page)
		if err != nil || !at.After(last) || time.Since(at) > 10*time.Second {
			t.Fatalf("%v after %v: %v", at, last, err)
		}
		last = at
		wantPage(t, polled, page)
	}
	// A value that changes is seen.
	newDB().entry("c", "c_total", "", 6).write(t, dir+"/counter_1.db")
	for {
		_, err := nextRound(t, r, page)
		if errors.Is(err, errRecorded) { // it was caught half written
			if err := r.Read(page, false); err != nil || !r.Record(quickly) {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if flat(t, page)["c_total{}"] == "6 0x1.8p+02" {
			break
		}
		wantPage(t, polled, page)
	}
	// What was recorded before a reading counts no more after it.
	if err := r.Read(page, true); err != nil {
		t.Fatal(err)
	}
	read := r.readAt
	if at, err := nextRound(t, r, page); err != nil || at.Before(read) {
		t.Errorf("a round of %v after a reading at %v: %v", at, read, err)
	}
}

// Where the files are others, or have outgrown their room, the record ends, and begins
// anew after a reading.
func TestRecordEnds(t *testing.T) {
	dir, r, page := recordedTest(t)
	first := r.recorder
	if !r.Record(quickly) || r.recorder != first {
		t.Error("a record of the same files was begun anew")
	}
	newDB().entry("d", "d_total", "", 2).write(t, dir+"/counter_2.db")
	if err := r.Read(page, false); err != nil || !r.Record(quickly) || r.recorder == first {
		t.Fatalf("a new file: %v", err)
	}
	if _, err := nextRound(t, r, page); err != nil || flat(t, page)["d_total{}"] == "" {
		t.Errorf("a round without the new file: %v %v", flat(t, page), err)
	}
	grown := newDB().entry("c", "c_total", "", 7)
	for i := range 200 {
		grown.entry("c", "c_total", fmt.Sprintf(`"i": "%d"`, i), 1)
	}
	grown.write(t, dir+"/counter_1.db")
	for {
		if _, err := nextRound(t, r, page); err != nil {
			if !errors.Is(err, errRecorded) {
				t.Fatal(err)
			}
			break
		}
	}
	if _, _, ok, _ := r.Recorded(page); ok || r.recorder != nil {
		t.Error("the record goes on")
	}
	if err := r.Read(page, false); err != nil || !r.Record(quickly) {
		t.Fatal(err)
	}
	if _, err := nextRound(t, r, page); err != nil || len(flat(t, page)) != 203 {
		t.Errorf("%d series: %v", len(flat(t, page)), err)
	}
	// Too much of it is not recorded.
	for i := range 100 {
		newDB().entry("e", "e_total", fmt.Sprintf(`"i": "%d"`, i), 1).write(t, fmt.Sprintf("%s/counter_9%d.db", dir, i))
	}
	if err := r.Read(page, false); err != nil || r.Record(quickly) || r.recorder != nil {
		t.Errorf("a large directory is recorded: %v", err)
	}
}

// The files are held open no longer than the record lasts, and a directory can be
// removed meanwhile.
func TestRecordLetsGo(t *testing.T) {
	dir, r, page := recordedTest(t)
	if _, err := nextRound(t, r, page); err != nil {
		t.Fatal(err)
	}
	if opened(t, dir) == 0 {
		t.Fatal("no file is open")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := nextRound(t, r, page); err != nil {
		t.Error(err)
	}
	r.StopRecord()
	for end := time.Now().Add(30 * time.Second); opened(t, dir) > 0; time.Sleep(quickly) {
		if time.Now().After(end) {
			t.Fatal("files stay open")
		}
	}
	if _, _, ok, _ := r.Recorded(page); ok {
		t.Error("a round after the end")
	}
}

// opened counts the descriptors of files in a directory.
func opened(t *testing.T, dir string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}

// A round costs next to nothing beside its system calls: vobs takes four a second from
// each five that were copied.
func BenchmarkRecorded(b *testing.B) {
	dir, page := "testdata/serve_dp2/db", &exposition.Page{}
	r := New(dir, nil)
	if err := r.Read(page, true); err != nil {
		b.Fatal(err)
	}
	if !r.Record(time.Microsecond) {
		b.Skip("no record can be had here")
	}
	defer r.StopRecord()
	b.ReportAllocs()
	for b.Loop() {
		for {
			if _, _, ok, err := r.Recorded(page); err != nil {
				b.Fatal(err)
			} else if ok {
				break
			}
		}
	}
}
