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
	began := time.Now()
	if err := s.Summarize("heading", text("text\n")); !errors.Is(err, bounded.ErrHangs) || time.Since(began) > writeTimeout/2 {
		t.Errorf("after %v: %v, want %v", time.Since(began), err, bounded.ErrHangs)
	}
	release()
	testkit.Await(t, "nothing hangs any more", func() bool { return len(bounded.Hanging()) == 0 })
}
