package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// messages writes messages for people.
type messages struct {
	w       io.Writer
	quiet   bool
	verbose bool
	mu      sync.Mutex
}

// warn writes a warning, unless vobs is quiet.
func (m *messages) warn(message string) {
	if !m.quiet {
		m.line("warning: " + message)
	}
}

// debug writes a message that only -v shows.
func (m *messages) debug(message string) {
	if m.verbose {
		m.line("debug: " + message)
	}
}

// error writes an error, and its hint if it has one.
func (m *messages) error(err error) {
	m.line("error: " + err.Error())
	var h *hintedError
	if errors.As(err, &h) {
		m.line("hint: " + h.hint)
	}
}

// line writes a message with one write, so that the lines of several processes do
// not mix.
func (m *messages) line(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// If stderr is gone, there is nowhere left to report it.
	_, _ = fmt.Fprintf(m.w, "vobs: %s\n", strings.TrimRight(text, "\n"))
}
