//go:build linux && cgo

package multiproc

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// A round of the old files must not be read after a reading that has found another one: their
// sum would be lower.
func TestNewFileIsInEveryRoundAfterAReading(t *testing.T) {
	dir, r, page := startRecording(t)
	for n := 2; n < 6; n++ {
		newDB().entry("c", "c_total", "", 5).write(t, fmt.Sprintf("%s/counter_%d.db", dir, n))
		if err := r.Read(page, n%2 == 0); err != nil {
			t.Fatal(err)
		}
		want := float64(5 * n)
		for range 3 {
			at, took, ok, err := r.Recorded(page)
			if ok && err == nil && flat(t, page)["c_total{}"] != fmt.Sprintf("%v %x", want, want) {
				t.Fatalf("a round at %v, took %v, has %v; want %v", at, took, flat(t, page), want)
			}
		}
		record(t, r, page)
		if _, err := nextRound(t, r, page); err != nil || flat(t, page)["c_total{}"] != fmt.Sprintf("%v %x", want, want) {
			t.Fatalf("%v, %v; want %v", flat(t, page), err, want)
		}
	}
}

// A file that is replaced under the same name, or gone, ends the recording: the descriptor
// still has the old content.
func TestReplacedFileEndsRecording(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){
		"replaced": func(t *testing.T, path string) {
			newDB().entry("c", "c_total", "", 9).write(t, path+".new")
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		},
		"removed and created": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			newDB().entry("c", "c_total", "", 9).write(t, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, r, page := startRecording(t)
			change(t, dir+"/counter_1.db")
			if err := lastRound(t, r, page); !errors.Is(err, errOldList) {
				t.Error(err)
			}
			record(t, r, page)
			if _, err := nextRound(t, r, page); err != nil || flat(t, page)["c_total{}"] != "9 0x1.2p+03" {
				t.Errorf("%v, %v", flat(t, page), err)
			}
		})
	}
}

// In a recorded round, too, an emptied file is invalid.
func TestRewrittenFileEndsRecording(t *testing.T) {
	for _, content := range [][]byte{nil, make([]byte, 1<<16)} {
		dir, r, page := startRecording(t)
		if err := os.WriteFile(dir+"/counter_1.db", content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := lastRound(t, r, page); !errors.Is(err, errBadRound) {
			t.Errorf("%d bytes: %v", len(content), err)
		}
	}
}
