package github

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/testkit"
)

// A file system that does not respond costs writeTimeout, and then nothing.
func TestSummarizeHangs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "summary")
	opened, release := testkit.HangingFile(t, file)
	s, _ := stepAt(file)
	if err := s.Summarize("heading", text("text\n")); !errors.Is(err, bounded.ErrHangs) {
		t.Errorf("got %v, want %v", err, bounded.ErrHangs)
	}
	<-opened
	// Five calls that waited would take five times writeTimeout; a pause of the machine takes less.
	began := time.Now()
	for range 5 {
		if err := s.Summarize("heading", text("text\n")); !errors.Is(err, bounded.ErrHangs) {
			t.Errorf("got %v, want %v", err, bounded.ErrHangs)
		}
	}
	if took := time.Since(began); took > 4*writeTimeout {
		t.Errorf("five more took %v", took)
	}
	release()
	testkit.Await(t, "nothing hangs any more", func() bool { return len(bounded.Hanging()) == 0 })
}
