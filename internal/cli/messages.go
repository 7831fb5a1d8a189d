package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// messages writes what vobs has to say to people.
type messages struct {
	w       io.Writer
	quiet   bool
	verbose bool
	mu      sync.Mutex
}

// warn tells of something that does not stop the run.
func (m *messages) warn(message string) {
	if !m.quiet {
		m.line("warning: " + message)
	}
}

// debug tells what only -v asks for.
func (m *messages) debug(message string) {
	if m.verbose {
		m.line("debug: " + message)
	}
}

// error tells why vobs ends, and what to do about it.
func (m *messages) error(err error) {
	m.line("error: " + err.Error())
	var h *hinted
	if errors.As(err, &h) {
		m.line("hint: " + h.hint)
	}
}

// line writes one message by one write, so that lines of several processes stay whole.
func (m *messages) line(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// With stderr gone there is nobody left to tell.
	_, _ = fmt.Fprintf(m.w, "vobs: %s\n", strings.TrimRight(text, "\n"))
}
