//go:build linux && cgo

package multiproc

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/exposition"
)

// quick is an interval between rounds that tests need not wait for.
const quick = 2 * time.Millisecond

// nextRound waits for a recorded round.
func nextRound(t *testing.T, r *Reader, page *exposition.Page) (at time.Time, err error) {
	t.Helper()
	testkit.Await(t, "a recorded round", func() (ok bool) {
		var took time.Duration
		at, took, ok, err = r.Recorded(page)
		if ok && (took < 0 || took > time.Minute) {
			t.Fatalf("a round took %v", took)
		}
		return ok
	})
	return at, err
}

// startRecording returns a directory and a reader that has read it and records it.
func startRecording(t *testing.T) (dir string, r *Reader, page *exposition.Page) {
	t.Helper()
	dir, page = good(t), &exposition.Page{}
	if !recordingWorks(t) {
		t.Skip("SKIPPED: recording is not possible here: the directory for temporary files is on a file system that is not known to be local; set TMPDIR")
	}
	r = New(dir, nil)
	record(t, r, page)
	t.Cleanup(r.StopRecord)
	return dir, r, page
}

// record reads the directory until its files can be recorded: it must not have changed a
// moment before.
func record(t *testing.T, r *Reader, page *exposition.Page) {
	t.Helper()
	testkit.Await(t, "a recording", func() bool {
		if err := r.Read(page, true); err != nil {
			t.Fatal(err)
		}
		return r.Record(quick)
	})
}

// lastRound waits for an invalid round, with which the recording ends, and returns its error.
func lastRound(t *testing.T, r *Reader, page *exposition.Page) error {
	t.Helper()
	for range 5000 {
		if _, err := nextRound(t, r, page); err != nil {
			if _, _, ok, _ := r.Recorded(page); ok || r.recorder != nil || r.Record(quick) {
				t.Error("the recording has not ended, or begins again without a reading")
			}
			return err
		}
	}
	t.Fatal("the recording does not end")
	return nil
}

// A round has what a poll would have read at its time, and rounds are returned in order.
func TestRecord(t *testing.T) {
	dir, r, page := startRecording(t)
	polled := with(goodPage, `h_bucket{"le"="+Inf",}`, "", "h_count{}", "")
	var last time.Time
	for range 3 {
		at, err := nextRound(t, r, page)
		if err != nil || !at.After(last) || time.Since(at) > testkit.Patience {
			t.Fatalf("a round of %v after one of %v: %v", at, last, err)
		}
		last = at
		wantPage(t, polled, page)
	}
	// A changed value is recorded.
	newDB().entry("c", "c_total", "", 6).write(t, dir+"/counter_1.db")
	for {
		_, err := nextRound(t, r, page)
		if errors.Is(err, errBadRound) { // the file was half written
			record(t, r, page)
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
	// Rounds from before a reading are not returned after it.
	if err := r.Read(page, true); err != nil {
		t.Fatal(err)
	}
	read := r.readAt
	if r.recorder == nil {
		t.Fatal("a reading that finds nothing new has ended the recording")
	}
	if at, err := nextRound(t, r, page); err != nil || at.Before(read) {
		t.Errorf("a round of %v after a reading at %v: %v", at, read, err)
	}
}

// If there are other files, or one has outgrown its buffer, the recording ends. It starts
// again after a reading.
func TestRecordRestarts(t *testing.T) {
	dir, r, page := startRecording(t)
	first := r.recorder
	if !r.Record(quick) || r.recorder != first {
		t.Error("the recording of the same files was restarted")
	}
	newDB().entry("d", "d_total", "", 2).write(t, dir+"/counter_2.db")
	if err := lastRound(t, r, page); !errors.Is(err, errOldList) {
		t.Errorf("a new file: %v", err)
	}
	record(t, r, page)
	if _, err := nextRound(t, r, page); err != nil || flat(t, page)["d_total{}"] == "" {
		t.Errorf("a round without the new file: %v %v", flat(t, page), err)
	}
	grown := newDB().entry("c", "c_total", "", 7)
	for i := range 200 {
		grown.entry("c", "c_total", fmt.Sprintf(`"i": "%d"`, i), 1)
	}
	grown.write(t, dir+"/counter_1.db")
	if err := lastRound(t, r, page); !errors.Is(err, errBadRound) {
		t.Fatal(err)
	}
	record(t, r, page)
	if _, err := nextRound(t, r, page); err != nil || len(flat(t, page)) != 203 {
		t.Errorf("%d series: %v", len(flat(t, page)), err)
	}
	// A large directory is not recorded.
	for i := range 100 {
		newDB().entry("e", "e_total", fmt.Sprintf(`"i": "%d"`, i), 1).write(t, fmt.Sprintf("%s/counter_9%d.db", dir, i))
	}
	testkit.Await(t, "a reading of an unchanged directory", func() bool {
		if err := r.Read(page, false); err != nil || r.Record(quick) || r.recorder != nil {
			t.Fatalf("a large directory is recorded: %v", err)
		}
		return r.listIsCurrent
	})
}

// Files are open only while they are recorded, and the directory can be removed meanwhile.
func TestRecordClosesFiles(t *testing.T) {
	dir, r, page := startRecording(t)
	if _, err := nextRound(t, r, page); err != nil {
		t.Fatal(err)
	}
	if openFiles(t, dir) == 0 {
		t.Fatal("no file is open")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := lastRound(t, r, page); !errors.Is(err, errOldList) {
		t.Error(err)
	}
	testkit.Await(t, "all files are closed", func() bool { return openFiles(t, dir) == 0 })
	if _, _, ok, _ := r.Recorded(page); ok {
		t.Error("a round after the end of the recording")
	}
}

// openFiles counts the open descriptors of files in a directory.
func openFiles(t *testing.T, dir string) (n int) {
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

// BenchmarkRecorded measures taking a recorded round. vobs takes five at a time, four times a
// second, and they cost next to nothing beside the system calls.
func BenchmarkRecorded(b *testing.B) {
	dir, page := "testdata/serve_dp2/db", &exposition.Page{}
	r := New(dir, nil)
	if err := r.Read(page, true); err != nil {
		b.Fatal(err)
	}
	for !r.listIsCurrent {
		if err := r.Read(page, true); err != nil {
			b.Fatal(err)
		}
	}
	if !r.Record(time.Microsecond) {
		b.Skip("SKIPPED: recording is not possible here")
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
