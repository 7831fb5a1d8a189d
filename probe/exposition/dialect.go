package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The dialects differ little, and the Content-Type is not reliable: whatever the request
// accepts, vLLM's Python front end sends `text/plain; version=1.0.0` with the text format
// (seen on 0.32.0), its Rust front end OpenMetrics. So both are read the same way, line by
// line, and the Content-Type decides one thing only: a page marked as OpenMetrics must end
// with `# EOF`, otherwise it was cut off. An unmarked page is OpenMetrics if its last line
// is `# EOF`. The one difference that is left is resolved at the end of the page: whether
// a timestamp is in milliseconds or in seconds.

// IsOpenMetrics reports whether a Content-Type is that of OpenMetrics text.
func IsOpenMetrics(contentType string) bool {
	const name = "application/openmetrics-text"
	t := strings.TrimLeft(contentType, " \t")
	return len(t) >= len(name) && strings.EqualFold(t[:len(name)], name) &&
		(len(t) == len(name) || strings.IndexByte("; \t", t[len(name)]) >= 0)
}

// ErrNoEOF is returned for a page that is OpenMetrics by its Content-Type and does not end
// with # EOF: the rest is missing.
var ErrNoEOF = errors.New("the page is cut off: it is OpenMetrics, but does not end with # EOF")

// rawTimestamp is a sample's timestamp before the dialect is known.
type rawTimestamp struct {
	sample, line int
	// value is in the dialect's unit. whole reports whether it was written as an integer,
	// as the text format requires; number is that integer.
	value  float64
	whole  bool
	number int64
	ms     int64
}

// finish ends a page. rest is its last line if that has no newline.
func (p *Parser) finish(rest []byte, page *Page, at *position) error {
	if isEOF(rest) && !at.ended { // # EOF needs no newline
		at.ended, rest = true, nil
	}
	if err := p.checkTail(rest, at); err != nil {
		return err
	}
	if p.OpenMetrics && !at.ended && at.line > 0 {
		return ErrNoEOF
	}
	page.OpenMetrics = p.OpenMetrics || at.ended
	for i := range page.timestamps {
		t := &page.timestamps[i]
		s := &page.Samples[t.sample]
		switch {
		case page.OpenMetrics:
			ms := math.Round(t.value * 1e3)
			if !(math.Abs(ms) < 1<<63) {
				return fmt.Errorf("line %d: timestamp of %s: %v s is out of range", t.line, s.Name, t.value)
			}
			t.ms = int64(ms)
		case !t.whole:
			return fmt.Errorf("line %d: timestamp of %s: %v is not a whole number", t.line, s.Name, t.value)
		default:
			t.ms = t.number
		}
		s.Timestamp = &t.ms
	}
	return nil
}

// afterValue reads what follows a value: a timestamp, an exemplar, or both. Exemplars are
// skipped: each is one of the observations that the value counts.
func (p *Parser) afterValue(name string, text []byte) error {
	if text[0] != '#' {
		n := 0
		for n < len(text) && !isBlank(text[n]) {
			n++
		}
		number, err := strconv.ParseInt(string(text[:n]), 10, 64)
		p.timestamp = rawTimestamp{value: float64(number), whole: err == nil, number: number}
		if err != nil {
			value, ok := parseValue(text[:n])
			if !ok || math.IsNaN(value) || math.IsInf(value, 0) {
				return fmt.Errorf("timestamp of %s: %.40q is not a whole number", name, text)
			}
			p.timestamp.value = value
		}
		p.hasTimestamp = true
		if text = bytes.TrimLeft(text[n:], " \t"); len(text) == 0 {
			return nil
		}
	}
	if !isExemplar(text) {
		return fmt.Errorf("unexpected text after the value of %s: %.40q", name, text)
	}
	return nil
}

// isExemplar reports whether text is `# {labels} value`, with or without a timestamp.
func isExemplar(text []byte) bool {
	if text[0] != '#' {
		return false
	}
	text = bytes.TrimLeft(text[1:], " \t")
	if len(text) == 0 || text[0] != '{' {
		return false
	}
	end := closingBrace(text)
	if end < 0 {
		return false
	}
	n := 0
	for field := range bytes.FieldsSeq(text[end+1:]) {
		if _, ok := parseValue(field); !ok {
			return false
		}
		n++
	}
	return n == 1 || n == 2
}

// isEOF reports whether a line is the one that ends an OpenMetrics page.
func isEOF(line []byte) bool { return string(bytes.TrimRight(line, " \t\r")) == "# EOF" }

// EndsInEOF reports whether a page's last line is the one that ends an OpenMetrics page.
func EndsInEOF(page []byte) bool {
	page = bytes.TrimRight(page, " \t\r\n")
	return isEOF(page[bytes.LastIndexByte(page, '\n')+1:])
}

// canSkip reports, given the start of a line longer than the buffer, whether the line can
// be skipped: it is a comment, or its name is not wanted.
func (p *Parser) canSkip(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	if len(line) == 0 || line[0] == '{' {
		return false
	}
	if line[0] == '#' {
		return true // no TYPE line is that long
	}
	n := nameLength(line)
	return n > 0 && n < len(line) && endsName(line[n]) && !p.lookUpName(line[:n]).wanted
}

// cannotBeSample reports, given the start of a line that fills the buffer, whether the line
// cannot be a sample: its name has no end, or it starts without one.
func cannotBeSample(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	if len(line) > 0 && (line[0] == '#' || line[0] == '{') {
		return false
	}
	n := nameLength(line)
	return n == 0 || n == len(line)
}

// comment reads a TYPE line and skips every other comment, also UNIT, because a unit is
// part of the name. It reports whether the line is `# EOF`.
func (p *Parser) comment(line []byte, page *Page) (ended bool) {
	fields := bytes.TrimLeft(line[1:], " \t")
	if !bytes.HasPrefix(fields, []byte("TYPE")) {
		return isEOF(line)
	}
	fields = fields[len("TYPE"):]
	if len(fields) == 0 || !isBlank(fields[0]) {
		return false
	}
	fields = bytes.TrimLeft(fields, " \t")
	var name string
	if len(fields) > 0 && fields[0] == '"' {
		quoted, rest, err := unquote(fields[1:])
		if err != nil {
			return false
		}
		name, fields = quoted, rest
		if p.want != nil && !p.want(name) {
			return false
		}
	} else {
		n := nameLength(fields)
		v := p.lookUpName(fields[:n])
		if !v.wanted {
			return false
		}
		name, fields = v.name, fields[n:]
	}
	if name != "" {
		page.Types[name] = typeOf(bytes.Trim(fields, " \t\r"))
	}
	return false
}

func typeOf(name []byte) Type {
	switch string(name) {
	case "counter":
		return Counter
	case "gauge":
		return Gauge
	case "histogram":
		return Histogram
	case "summary":
		return Summary
	case "info":
		return Info
	case "stateset":
		return StateSet
	case "gaugehistogram":
		return GaugeHistogram
	}
	return Untyped // also OpenMetrics' unknown
}
