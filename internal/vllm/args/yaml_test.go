package args

import (
	"os"
	"testing"

	"github.com/vobs/vobs/internal/pyvalue"
)

// FuzzParseYAML checks that no file causes a panic.
func FuzzParseYAML(f *testing.F) {
	for _, name := range []string{"full", "small", "anchors", "scalars", "fast", "merge", "text", "broken", "list"} {
		text, err := os.ReadFile("testdata/config/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &a [*a, *a]\nb: &b [*a, *a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if v, err := ParseYAML(text); err == nil {
			_ = pyvalue.Repr(v)
		}
	})
}
