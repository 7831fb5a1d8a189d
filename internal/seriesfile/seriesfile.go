// Package seriesfile writes the readings of a run to a file as they are taken (--series): one line
// of JSON each.
//
// Writing never holds up who takes a reading. Lines are collected and written together, on one
// goroutine: each write takes as much CPU time as hundreds of lines. If vobs is killed, the file
// lacks the readings of the last 1.2 seconds at most. If a write fails or takes too long, the file is given up with
// a warning, and the run goes on without it.
package seriesfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/curve"
)

const (
	// writeInterval is how long a line waits for a write, up to the next [budget.Tick].
	writeInterval = time.Second
	// writeSize is the size of the lines that are written at the next tick.
	writeSize = 64 << 10
	// writeTimeout is how long a write may take.
	writeTimeout = 2 * time.Second
	// maxPending bounds the lines that wait for a write: some thousand readings a second
	// for writeTimeout take less.
	maxPending = 1 << 20
)

// File is an open file of readings. A nil File drops all readings. Its methods may be called
// from several goroutines.
type File struct {
	name string
	f    *os.File
	// write is f.Write, but in tests.
	write func([]byte) (int, error)
	// timer flushes.
	timer *time.Timer

	mu        sync.Mutex
	warn      func(string)
	started   time.Time // when the command started; zero before
	pending   []byte    // lines that are not written yet
	spare     []byte    // a buffer for the next ones
	scheduled bool      // the timer is running
	soon      bool      // it ends at the next tick
	size      int64     // of the file
	broken    bool      // the file was given up
	writing   sync.Mutex
}

// Open creates the file, or empties an existing one that is regular and can be written to.
func Open(name string) (*File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOCTTY, 0o666)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("series %s: directory %s does not exist", name, filepath.Dir(name))
	case errors.Is(err, unix.ENXIO):
		return nil, notRegular(name)
	case err != nil:
		return nil, fmt.Errorf("series %s: %w", name, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(name)
	} else if err == nil {
		err = f.Truncate(0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return newFile(name, f), nil
}

func notRegular(name string) error {
	return fmt.Errorf("series %s is not a regular file: name one, which is written while the command runs", name)
}

func newFile(name string, f *os.File) *File {
	s := &File{name: name, f: f, write: f.Write}
	s.timer = time.AfterFunc(math.MaxInt64, s.flush)
	return s
}

// Start begins to write the readings from the command's start on. warn is called at most once, if
// the file has to be given up.
func (s *File) Start(at time.Time, warn func(string)) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started, s.warn = at, warn
}

// Add adds a reading. It does not wait for anything.
func (s *File) Add(r curve.Reading) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken || s.started.IsZero() || r.At.Before(s.started) || math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
		return
	}
	if len(s.pending) > maxPending {
		go s.giveUp(fmt.Errorf("%d bytes wait to be written", len(s.pending)))() // a warning may wait
		return
	}
	s.pending = appendLine(s.pending, r.At.Sub(s.started), r)
	switch soon := len(s.pending) >= writeSize; {
	case soon && !s.soon:
		s.scheduled, s.soon = true, true
		s.timer.Reset(budget.AlignToTick(0))
	case !s.scheduled:
		s.scheduled = true
		s.timer.Reset(budget.AlignToTick(writeInterval - budget.Tick/2))
	}
}

// appendLine appends a reading as one line, with the time in seconds to 0.1 ms.
func appendLine(b []byte, at time.Duration, r curve.Reading) []byte {
	b = append(b, `{"seconds":`...)
	b = strconv.AppendFloat(b, at.Seconds(), 'f', 4, 64)
	b = append(b, `,"name":`...)
	b = appendString(b, r.Name)
	b = append(b, `,"value":`...)
	format := byte('f')
	if a := math.Abs(r.Value); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, r.Value, format, -1, 64)
	if r.Endpoint != "" {
		b = appendString(append(b, `,"endpoint":`...), r.Endpoint)
	}
	if r.Stage != "" {
		b = appendString(append(b, `,"stage":`...), r.Stage)
	}
	return append(b, "}\n"...)
}

func appendString(b []byte, s string) []byte {
	if isPlain(s) {
		b = append(append(b, '"'), s...)
		return append(b, '"')
	}
	text, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // not reachable
	}
	return append(b, text...)
}

// isPlain reports whether a string is its own JSON, as names of figures are.
func isPlain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '/', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// flush writes the pending lines.
func (s *File) flush() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	lines := s.pending
	s.pending, s.spare, s.scheduled = s.spare[:0], nil, false
	s.soon = false
	size, broken := s.size, s.broken
	s.mu.Unlock()
	if broken || len(lines) == 0 {
		return
	}
	n, err := bounded.Call("the file "+s.name, writeTimeout, func() (int, error) {
		n, err := s.write(lines)
		if err != nil && n > 0 {
			// What is there ends with a whole line.
			for n > 0 && lines[n-1] != '\n' {
				n--
			}
			_ = s.f.Truncate(size + int64(n))
		}
		return n, err
	})
	s.mu.Lock()
	s.size += int64(n)
	report := func() {}
	if err != nil {
		report = s.giveUp(err) // a write that hangs keeps its lines
	} else {
		s.spare = lines
	}
	s.mu.Unlock()
	report()
}

// giveUp ends the writing and returns what warns of it. The caller holds s.mu.
func (s *File) giveUp(err error) (report func()) {
	if s.broken {
		return func() {}
	}
	s.broken, s.pending = true, nil
	warn, message := s.warn, fmt.Sprintf("writing the readings to %s: %v: further readings are not written; the event is not affected", s.name, err)
	return func() { warn(message) }
}

// Close writes the lines that are left, within a time limit.
func (s *File) Close() {
	if s == nil {
		return
	}
	s.timer.Stop()
	s.flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.broken { // otherwise a write may be in progress
		s.broken = true
		_ = s.f.Close() // every write has succeeded
	}
}
