package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/deliver"
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

// line writes a message at once, so that the lines of several processes do not mix.
func (m *messages) line(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// If stderr is gone, there is nowhere left to report it.
	_, _ = fmt.Fprintf(m.w, "vobs: %s\n", strings.TrimRight(text, "\n"))
}

// messageTimeout is how long a message waits for a stream that takes nothing.
const messageTimeout = 2 * time.Second

var errStopped = errors.New("nothing reads the stream")

// messageStream is a stream for messages. A stopped terminal or a full pipe, which nobody
// reads, delays none for more than messageTimeout, and then drops them until it goes on.
type messageStream struct {
	f       *os.File
	mu      sync.Mutex
	stopped bool // the last message was dropped
}

func (s *messageStream) Write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped && !deliver.HasRoom(s.f) {
		return 0, errStopped
	}
	ctx, cancel := context.WithTimeout(context.Background(), messageTimeout)
	defer cancel()
	n, err = deliver.WriteStream(ctx, s.f, b)
	s.stopped = ctx.Err() != nil
	return n, err
}
