// Package exposition reads a /metrics page: its bytes become samples. It reads both
// dialects, the Prometheus text format (version 0.0.4) and OpenMetrics 1.0, and the
// quoted names that both have by now; dialect.go says how it tells them apart.
//
// It is written for the way a page of an inference engine looks: most of its
// lines are histogram buckets that nobody asked for. A [Parser] is told which
// names are wanted; the line of any other is left after its name. What it does
// keep, names and label sets, it keeps once: reading the same page again
// allocates next to nothing.
//
// The formats: https://prometheus.io/docs/instrumenting/exposition_formats/,
// https://prometheus.io/docs/specs/om/open_metrics_spec/ and, for quoted names,
// https://prometheus.io/docs/specs/utf8/.
package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
)

// Type is the declared type of a family.
type Type uint8

// The types of both dialects; the last three are OpenMetrics' own. A family without
// a TYPE line, or of a type that neither knows, is Untyped, as OpenMetrics' unknown.
const (
	Untyped Type = iota
	Counter
	Gauge
	Histogram
	Summary
	Info
	StateSet
	GaugeHistogram
)

// Label is one name and its value.
type Label struct{ Name, Value string }

// Labels is the label set of a series, sorted by name.
type Labels struct {
	pairs []Label
	key   string
}

// NewLabels makes a label set of pairs in any order, which it keeps and sorts. No name
// may stand in it twice.
func NewLabels(pairs []Label) (*Labels, error) {
	sort.SliceStable(pairs, func(i, j int) bool { return pairs[i].Name < pairs[j].Name })
	var key strings.Builder
	for i, p := range pairs {
		if i > 0 && pairs[i-1].Name == p.Name {
			return nil, fmt.Errorf("label %s stands twice", p.Name)
		}
		key.WriteString(strconv.Quote(p.Name))
		key.WriteByte('=')
		key.WriteString(strconv.Quote(p.Value))
		key.WriteByte(',')
	}
	return &Labels{pairs: pairs, key: key.String()}, nil
}

// Key identifies the set: two sets of the same names and values have the same
// key, whatever the order in which a page wrote them.
func (l *Labels) Key() string { return l.key }

// Pairs gives the labels sorted by name. It must not be modified.
func (l *Labels) Pairs() []Label { return l.pairs }

// Get gives the value of the label name, or "" where the set has none: the
// format does not distinguish the two.
func (l *Labels) Get(name string) string {
	for _, p := range l.pairs {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Sample is one line of a page. Its name is the sample's own, as
// `x_bucket` or `x_total`; the family it belongs to is found by [Page.Types].
type Sample struct {
	Name   string
	Labels *Labels
	Value  float64
	// Timestamp, in milliseconds of Unix time, is nil on nearly every page.
	Timestamp *int64
}

// Page holds what was wanted of one page.
type Page struct {
	// Types has the declared type of every wanted family, also of one without samples.
	// The text format declares a counter by its sample's name, `x_total`, OpenMetrics
	// by the family's, `x`.
	Types map[string]Type
	// Samples are in the order of the page.
	Samples []Sample
	// OpenMetrics says in which dialect the page is.
	OpenMetrics bool

	stamps []stamp
}

// What a parser remembers and takes in is bounded: a page may be a flood, or an
// error, and its labels may change for ever.
const (
	// maxRemembered is the most bytes of names and label sets that are remembered,
	// as the page writes them. 64 engines have some 7 000 label sets, 0.5 MB.
	maxRemembered = 4 << 20
	// maxLine is the longest line that is read from a stream, in bytes: labels may
	// carry a payload. A line that nobody wants may have any length.
	maxLine = 8 << 20
	// maxSamples is the most wanted samples of a page that is read from a stream:
	// of some 300 engines.
	maxSamples = 1 << 17
	// maxLabels is the most bytes of label sets that one page read from a stream may
	// add to what is remembered: of some 900 engines, or one line's. In memory they are
	// six times as much, with what the collector leaves.
	maxLabels = maxLine
	// keptSamples and keptBytes are the room for samples, and what is remembered,
	// that outlast a page that failed.
	keptSamples = 1 << 13
	keptBytes   = 1 << 20
	// chunk is the room into which a stream is read, in bytes: one engine's page
	// fits in.
	chunk = 64 << 10
)

// Parser reads pages of one endpoint, one after the other. It is not safe for
// concurrent use.
type Parser struct {
	// OpenMetrics says that the next page is of that dialect by its Content-Type
	// (see [IsOpenMetrics]): it ends with `# EOF`, and is cut off without.
	OpenMetrics bool

	want   func(name string) bool
	names  map[string]verdict
	labels map[string]*Labels
	// remembered is the bytes of names and label sets in the maps.
	remembered int
	added      int    // bytes of label sets that the present page had first
	buf        []byte // of ParseReader
	stamp      stamp  // of the line being read
	stamped    bool   // it has one
}

type verdict struct {
	name   string
	wanted bool
}

// NewParser makes a parser that keeps the samples and TYPE lines whose name is
// wanted: want is asked once for each name that a page has, for sample names
// (`x_total`, `x_bucket`) and for declared family names (`x`). A nil want keeps all.
func NewParser(want func(name string) bool) *Parser {
	return &Parser{want: want, names: map[string]verdict{}, labels: map[string]*Labels{}}
}

// ErrCut is returned for a page whose last line has no end: the rest is missing.
var ErrCut = errors.New("the page is cut off in its last line")

// ErrTooMany is returned for a page of more wanted samples than are taken in.
var ErrTooMany = fmt.Errorf("the page has more than %d samples that are wanted", maxSamples)

// ErrLabels is returned for a page with more new label sets than are taken in.
var ErrLabels = fmt.Errorf("the page has more than %d MiB of different labels", maxLabels>>20)

// Parse reads a whole page into page, whose slices and maps are reused. A broken
// line is an error that tells its number; what was read up to it stays in page.
// Lines of names that are not wanted are not looked at behind the name.
func (p *Parser) Parse(body []byte, page *Page) error {
	page.Reset()
	var at position
	rest, err := p.lines(body, page, &at)
	if err != nil {
		return err
	}
	return p.finish(rest, page, &at)
}

// ParseReader reads a page from a stream as Parse does, in bounded memory: what
// is no page is left at its first broken line, and no line, no number of samples
// and none of what is remembered grows without limit. An error of r is returned
// as it is.
func (p *Parser) ParseReader(r io.Reader, page *Page) (err error) {
	page.Reset()
	p.added = 0
	defer func() {
		if len(p.buf) > chunk {
			p.buf = nil
		}
		if err != nil {
			p.forget(page)
		}
	}()
	if p.buf == nil {
		p.buf = make([]byte, chunk)
	}
	var at position
	filled := 0
	skipping := false // the rest of a long line that nobody wants
	for done := false; !done; {
		for filled < len(p.buf) && !done {
			n, err := r.Read(p.buf[filled:])
			filled += n
			if done = err == io.EOF; err != nil && !done {
				return err
			}
		}
		body := p.buf[:filled]
		if skipping {
			end := bytes.IndexByte(body, '\n')
			switch {
			case end >= 0:
				body, skipping = body[end+1:], false
				at.line++
			case done:
				return ErrCut
			default:
				filled = 0
				continue
			}
		}
		rest, err := p.lines(body, page, &at)
		switch {
		case err != nil:
			return err
		case len(page.Samples) > maxSamples:
			return ErrTooMany
		case p.added > maxLabels:
			return ErrLabels
		case done:
			return p.finish(rest, page, &at)
		case len(rest) < len(p.buf):
			filled = copy(p.buf, rest)
		case endlessName(rest):
			return noName(at.line+1, rest)
		case p.skips(rest):
			filled, skipping, at.ended = 0, true, false
		case len(p.buf) >= maxLine:
			return fmt.Errorf("line %d: longer than %d bytes", at.line+1, maxLine)
		default:
			p.buf = append(p.buf, make([]byte, len(p.buf))...)
		}
	}
	return nil
}

// Reset empties a page and keeps its room, for another one: a parser does so itself.
func (page *Page) Reset() {
	if page.Types == nil {
		page.Types = map[string]Type{}
	}
	clear(page.Types)
	page.Samples, page.stamps = page.Samples[:0], page.stamps[:0]
	page.OpenMetrics = false
}

// forget gives back what a page that failed may have blown up.
func (p *Parser) forget(page *Page) {
	if cap(page.Samples) > keptSamples || p.added > keptBytes {
		page.Samples, page.stamps = nil, nil // and the labels that they hold
	}
	if p.remembered > keptBytes || p.added > keptBytes {
		p.remembered = 0
		p.names, p.labels = map[string]verdict{}, map[string]*Labels{}
	}
}

// remember makes room for so many bytes more in the maps, by forgetting all
// where it is too much: labels may change with every page, for ever.
func (p *Parser) remember(bytes int) {
	if p.remembered += bytes; p.remembered > maxRemembered {
		p.remembered = bytes
		p.names, p.labels = map[string]verdict{}, map[string]*Labels{}
	}
}

// cut says what is wrong with a page that ends in a line without an end.
func (p *Parser) cut(rest []byte, at *position) error {
	if len(rest) == 0 {
		return nil
	}
	line := bytes.TrimLeft(rest, " \t")
	if len(line) > 0 && line[0] != '#' && line[0] != '{' && nameLength(line) == 0 {
		return noName(at.line+1, line) // an HTML page, say, that is whole
	}
	if at.line == 0 && len(line) > 0 && line[0] == '{' {
		// JSON, say, or the only line of a page.
		if _, err := p.sample("", line); err != nil {
			return fmt.Errorf("line 1: %w", err)
		}
	}
	return ErrCut
}

func noName(line int, text []byte) error {
	return fmt.Errorf("line %d: no metric name at %.40q", line, text)
}

// position is how far a page has been read.
type position struct {
	line int
	last string // raw name of the line before: most lines repeat it
	v    verdict
	// ended says that the line before was `# EOF`.
	ended bool
}

// lines reads all lines that have an end, and returns what follows them.
func (p *Parser) lines(body []byte, page *Page, at *position) (rest []byte, err error) {
	for len(body) > 0 {
		end := bytes.IndexByte(body, '\n')
		if end < 0 {
			return body, nil
		}
		at.line++
		line := body[:end]
		body = body[end+1:]
		for len(line) > 0 && isBlank(line[0]) {
			line = line[1:]
		}
		if len(line) == 0 {
			continue
		}
		if at.ended {
			if p.OpenMetrics {
				return nil, fmt.Errorf("line %d: the page goes on after # EOF", at.line)
			}
			at.ended = false // the text format's comment
		}
		if line[0] == '#' {
			at.ended = p.comment(line, page)
			continue
		}
		var rest []byte
		if n := len(at.last); n > 0 && len(line) > n && string(line[:n]) == at.last && endsName(line[n]) {
			rest = line[n:]
		} else if line[0] == '{' {
			// {"quoted name", label="value"} 1: every such line is read.
			at.last, at.v, rest = "", verdict{wanted: true}, line
		} else {
			n := nameLength(line)
			if n == 0 || n == len(line) || !endsName(line[n]) {
				return nil, noName(at.line, line)
			}
			at.v = p.verdict(line[:n])
			at.last, rest = at.v.name, line[n:]
		}
		if !at.v.wanted {
			continue
		}
		s, err := p.sample(at.v.name, rest)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", at.line, err)
		}
		if s.Name == "" {
			return nil, noName(at.line, line)
		}
		if at.v.name == "" && p.want != nil && !p.want(s.Name) {
			continue
		}
		if p.stamped {
			p.stamp.sample, p.stamp.line = len(page.Samples), at.line
			page.stamps = append(page.stamps, p.stamp)
		}
		page.Samples = append(page.Samples, s)
	}
	return nil, nil
}

// verdict tells whether a name is wanted, and gives it as a lasting string.
func (p *Parser) verdict(raw []byte) verdict {
	if v, ok := p.names[string(raw)]; ok {
		return v
	}
	name := string(raw)
	v := verdict{name: name, wanted: p.want == nil || p.want(name)}
	p.remember(len(raw))
	p.names[name] = v
	return v
}

// sample reads what follows a name: labels, value, timestamp, exemplar.
func (p *Parser) sample(name string, rest []byte) (Sample, error) {
	s := Sample{Name: name, Labels: noLabels}
	rest = skipBlanks(rest)
	if len(rest) > 0 && rest[0] == '{' {
		end := closingBrace(rest)
		if end < 0 {
			return s, fmt.Errorf("labels of %s are not closed", name)
		}
		raw := rest[1:end]
		rest = rest[end+1:]
		labels, ok := p.labels[string(raw)]
		if ok && name != "" {
			s.Labels = labels
		} else {
			quotedName, parsed, err := parseLabels(raw)
			if err != nil {
				return s, err
			}
			if quotedName != "" {
				if name != "" {
					return s, fmt.Errorf("%s has a second name, %q, in its labels", name, quotedName)
				}
				s.Name = quotedName
			}
			s.Labels = parsed
			p.added += len(raw)
			if name != "" {
				p.remember(len(raw))
				p.labels[string(raw)] = parsed
			}
		}
	}
	rest = skipBlanks(rest)
	n := 0
	for n < len(rest) && !isBlank(rest[n]) {
		n++
	}
	value, ok := parseValue(rest[:n])
	if !ok {
		return s, fmt.Errorf("value of %s: %.40q is not a number", s.Name, rest[:n])
	}
	s.Value = value
	p.stamped = false
	if behind := bytes.Trim(rest[n:], " \t"); len(behind) > 0 {
		if err := p.behind(s.Name, behind); err != nil {
			return s, err
		}
	}
	return s, nil
}

var noLabels = &Labels{}
