package exposition

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
)

// Every page outside the repository is read as the reference reads it: the whole
// recordings, and pages made for cases that vobs got wrong.
func TestSharedPages(t *testing.T) {
	var page Page
	parser, pages := NewParser(nil), 0
	err := filepath.WalkDir(testkit.Shared(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".prom" {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := reference(body); err != nil {
			t.Logf("%s is not compared, the reference cannot read it: %v", path, err)
			return nil
		}
		pages++
		equalToReference(t, parser, &page, path, body, 1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pages are as the reference reads them", pages)
	if pages == 0 {
		t.Error("no page (*.prom) was compared")
	}
}
