package probe

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// If no file of a directory can be read, the reason names the file.
func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "counter_7.db"), []byte("<html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := New(quick)
	p.Add(Directory(dir, true))
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	report := p.Finish(context.Background(), time.Now())
	if text := testkit.JSON(report.Notes); report.Engine != nil || !strings.Contains(text, "counter_7.db") {
		t.Errorf("%s", text)
	}
	checkNulls(t, report)
}
