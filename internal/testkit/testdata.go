package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// Testdata returns the content of a file under the repository's testdata folder. name
// has slashes.
func Testdata(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(Root(t), "testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Recorded returns the recorded metrics page testdata/expositions/NAME.prom.
func Recorded(t testing.TB, name string) string {
	t.Helper()
	return string(Testdata(t, "expositions/"+name+".prom"))
}

// Root returns the repository's root directory, which has go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test runs outside the repository: no go.mod in any parent directory")
		}
		dir = filepath.Dir(dir)
	}
}
