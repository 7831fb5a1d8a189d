package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// Shared returns the path of something in the directory that VOBS_SHARED names: the
// whole recordings of real engines, and inputs that are not part of the repository.
// Without VOBS_SHARED, or without the thing, it skips the test. Tests that call it have
// a name that begins with TestShared: `make check-shared` runs them.
func Shared(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("VOBS_SHARED")
	if root == "" {
		t.Skip("SKIPPED: VOBS_SHARED is not set: make check-shared sets it")
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	return path
}
