package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The dialects differ in little, and a server's word on which it speaks is not to be
// relied on: vLLM's Python front end answers `text/plain; version=1.0.0` with the text
// format whatever was asked for (seen on 0.32.0), its Rust front end OpenMetrics. So
// both are read the same way, line by line, and the header is asked for one thing: a
// page that is OpenMetrics by it must end with `# EOF`, else it was cut off. Without
// the header a page is OpenMetrics if its last line is `# EOF`. What is left to the
// dialect is decided when the page has ended: whether a whole number behind a value
// counts milliseconds or seconds.

// IsOpenMetrics says whether a Content-Type is that of OpenMetrics text.
func IsOpenMetrics(contentType string) bool {
	const name = "application/openmetrics-text"
	t := strings.TrimLeft(contentType, " \t")
	return len(t) >= len(name) && strings.EqualFold(t[:len(name)], name) &&
		(len(t) == len(name) || strings.IndexByte("; \t", t[len(name)]) >= 0)
}

// ErrNoEOF is returned for a page that is OpenMetrics by its Content-Type and lacks
// the line that ends it: the rest is missing.
var ErrNoEOF = errors.New("the page is cut off: it is OpenMetrics, and does not end with # EOF")

// stamp is what stands behind a value, until the dialect is known.
type stamp struct {
	sample, line int
	// value is in the page's unit. Whole says that it was written without a fraction,
	// as the text format must, and number is it then.
	value  float64
	whole  bool
	number int64
	ms     int64
}

// finish ends a page: rest is its last line, if that has no end.
func (p *Parser) finish(rest []byte, page *Page, at *position) error {
	if isEOF(rest) && !at.ended { // its line needs no end
		at.ended, rest = true, nil
	}
	if err := p.cut(rest, at); err != nil {
		return err
	}
	if p.OpenMetrics && !at.ended && at.line > 0 {
		return ErrNoEOF
	}
	page.OpenMetrics = p.OpenMetrics || at.ended
	for i := range page.stamps {
		t := &page.stamps[i]
		s := &page.Samples[t.sample]
		switch {
		case page.OpenMetrics:
			ms := math.Round(t.value * 1e3)
			if !(math.Abs(ms) < 1<<63) {
				return fmt.Errorf("line %d: timestamp of %s: %v s is beyond all times", t.line, s.Name, t.value)
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

// behind reads what stands behind a value: a timestamp, an exemplar, or both. The
// exemplar is left out: it is one observation among those that the value counts.
func (p *Parser) behind(name string, text []byte) error {
	if text[0] != '#' {
		n := 0
		for n < len(text) && !isBlank(text[n]) {
			n++
		}
		number, err := strconv.ParseInt(string(text[:n]), 10, 64)
		p.stamp = stamp{value: float64(number), whole: err == nil, number: number}
		if err != nil {
			value, ok := parseValue(text[:n])
			if !ok || math.IsNaN(value) || math.IsInf(value, 0) {
				return fmt.Errorf("timestamp of %s: %.40q is not a whole number", name, text)
			}
			p.stamp.value = value
		}
		p.stamped = true
		if text = bytes.TrimLeft(text[n:], " \t"); len(text) == 0 {
			return nil
		}
	}
	if !isExemplar(text) {
		return fmt.Errorf("behind the value of %s: %.40q", name, text)
	}
	return nil
}

// isExemplar says whether text is `# {labels} value` with or without a timestamp.
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

// isEOF says whether a line is the one that ends an OpenMetrics page.
func isEOF(line []byte) bool { return string(bytes.TrimRight(line, " \t\r")) == "# EOF" }

// EndsInEOF says whether a page's last line is the one that ends an OpenMetrics page.
func EndsInEOF(page []byte) bool {
	page = bytes.TrimRight(page, " \t\r\n")
	return isEOF(page[bytes.LastIndexByte(page, '\n')+1:])
}

// skips says of the beginning of a line that is longer than the room for it whether
// it can be left out: it is a comment, or of a name that nobody wants.
func (p *Parser) skips(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	if len(line) == 0 || line[0] == '{' {
		return false
	}
	if line[0] == '#' {
		return true // no TYPE line is so long
	}
	n := nameLength(line)
	return n > 0 && n < len(line) && endsName(line[n]) && !p.verdict(line[:n]).wanted
}

// endlessName says of the beginning of a line that fills all the room for it that it
// is none of a page: no name is so long, or it begins with none.
func endlessName(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	if len(line) > 0 && (line[0] == '#' || line[0] == '{') {
		return false
	}
	n := nameLength(line)
	return n == 0 || n == len(line)
}

// comment reads a TYPE line; every other comment is left out, also UNIT: a unit is
// part of the name. It tells whether the line is `# EOF`.
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
		v := p.verdict(fields[:n])
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

func typeOf(word []byte) Type {
	switch string(word) {
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
	return Untyped // untyped, and OpenMetrics' unknown
}
