package observe

import (
	"strings"
	"testing"
)

// A panic costs a part its figures, and is logged with its stack.
func TestRecovered(t *testing.T) {
	var logged []string
	r := &run{cfg: Config{Debug: func(message string) { logged = append(logged, message) }}}
	r.recovered("gpus", func() {})
	if n := r.notes.copy(); len(n.Unavailable) > 0 || len(logged) > 0 {
		t.Errorf("without a panic: %+v, logged %q", n, logged)
	}
	r.recovered("gpus", func() { panic("broken") })
	if n := r.notes.copy(); len(n.Unavailable) != 1 || n.Unavailable[0].Field != "gpus" || !strings.Contains(n.Unavailable[0].Reason, "an error in vobs: broken") {
		t.Errorf("%+v", n)
	}
	if len(logged) != 1 || !strings.Contains(logged[0], "panic: broken") || !strings.Contains(logged[0], "TestRecovered") {
		t.Errorf("logged %q", logged)
	}
}
