package proctest

import (
	"slices"
	"strings"
	"testing"

	"github.com/vobs/vobs/sampler/internal/open"
)

// Hang makes every file hang whose path contains one of the given texts, until release is
// called. began has a value once such a file is opened.
func Hang(t testing.TB, paths ...string) (began <-chan struct{}, release func()) {
	t.Helper()
	opened, end := make(chan struct{}, 1), make(chan struct{})
	undo := open.Before(func(path string) {
		if !slices.ContainsFunc(paths, func(p string) bool { return strings.Contains(path, p) }) {
			return
		}
		select {
		case opened <- struct{}{}:
		default:
		}
		<-end
	})
	released := false
	release = func() {
		if !released {
			released = true
			undo()
			close(end)
		}
	}
	t.Cleanup(release)
	return opened, release
}
