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

// The types of both dialects; the last three exist in OpenMetrics only. A family without a
// TYPE line, or with an unknown type, is Untyped, like OpenMetrics' unknown.
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

// NewLabels returns a label set of pairs in any order. It keeps and sorts pairs. A
// duplicate name is an error.
func NewLabels(pairs []Label) (*Labels, error) {
	sort.SliceStable(pairs, func(i, j int) bool { return pairs[i].Name < pairs[j].Name })
	var key strings.Builder
	for i, p := range pairs {
		if i > 0 && pairs[i-1].Name == p.Name {
			return nil, fmt.Errorf("duplicate label %s", p.Name)
		}
		key.WriteString(strconv.Quote(p.Name))
		key.WriteByte('=')
		key.WriteString(strconv.Quote(p.Value))
		key.WriteByte(',')
	}
	return &Labels{pairs: pairs, key: key.String()}, nil
}

// Key identifies the set: two sets of the same names and values have the same key, in
// whatever order the page has them.
func (l *Labels) Key() string { return l.key }

// Pairs returns the labels sorted by name. The caller must not modify them.
func (l *Labels) Pairs() []Label { return l.pairs }

// Get returns the value of a label, or "" if the set does not have it: the format does not
// distinguish the two.
func (l *Labels) Get(name string) string {
	for _, p := range l.pairs {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Sample is one line of a page. Name is the sample's own, such as `x_bucket` or
// `x_total`; [Page.Types] has its family.
type Sample struct {
	Name   string
	Labels *Labels
	Value  float64
	// Timestamp is in milliseconds of Unix time; nil if the line has none, as on nearly
	// every page.
	Timestamp *int64
}

// Page holds the wanted parts of one page.
type Page struct {
	// Types has the declared type of every wanted family, including those without samples.
	// The text format declares a counter by its sample's name, `x_total`, OpenMetrics
	// by the family's, `x`.
	Types map[string]Type
	// Samples are in the order of the page.
	Samples []Sample
	// OpenMetrics reports whether the page is in that dialect.
	OpenMetrics bool

	timestamps []rawTimestamp
}

// What a parser reads and caches is bounded: a page may be a flood or not a metrics page,
// and its labels may change all the time.
const (
	// maxCached is the limit of cached names and label sets, in bytes as the page has
	// them. 64 engines have about 7 000 label sets, 0.5 MB.
	maxCached = 4 << 20
	// maxLine is the length limit of a line read from a stream, in bytes: labels may
	// carry a payload. A line that is not wanted may have any length.
	maxLine = 8 << 20
	// maxSamples is the limit of wanted samples of a page read from a stream: those of
	// about 300 engines.
	maxSamples = 1 << 17
	// maxLabels is the limit of label sets, in bytes, that one page read from a stream may
	// add to the cache: those of about 900 engines, or one line's. In memory they take
	// six times as much, garbage included.
	maxLabels = maxLine
	// keptSamples is the capacity for samples, and keptBytes the size of the cache, that
	// are kept after a page that failed.
	keptSamples = 1 << 13
	keptBytes   = 1 << 20
	// chunk is the initial size of the buffer for a stream, in bytes: one engine's page
	// fits.
	chunk = 64 << 10
)

// Parser parses the pages of one endpoint, one after the other. It is not safe for
// concurrent use.
type Parser struct {
	// OpenMetrics marks the next page as OpenMetrics by its Content-Type (see
	// [IsOpenMetrics]): it must end with `# EOF`, otherwise it is cut off.
	OpenMetrics bool

	want         func(name string) bool
	names        map[string]nameInfo
	labels       map[string]*Labels
	cached       int          // bytes of names and label sets in the maps
	newLabels    int          // bytes of label sets that the current page added
	buf          []byte       // of ParseReader
	timestamp    rawTimestamp // of the current line
	hasTimestamp bool         // the current line has one
}

// nameInfo is a metric name and whether it is wanted.
type nameInfo struct {
	name   string
	wanted bool
}

// NewParser returns a parser that keeps the samples and TYPE lines whose name is wanted.
// It calls want for each new name on the pages: for sample names (`x_total`, `x_bucket`)
// and for declared family names (`x`). A nil want keeps all.
func NewParser(want func(name string) bool) *Parser {
	return &Parser{want: want, names: map[string]nameInfo{}, labels: map[string]*Labels{}}
}

// ErrCut is returned for a page whose last line has no newline: the rest is missing.
var ErrCut = errors.New("the page is cut off in its last line")

// ErrTooMany is returned for a page with too many wanted samples.
var ErrTooMany = fmt.Errorf("the page has more than %d wanted samples", maxSamples)

// ErrLabels is returned for a page with too many new label sets.
var ErrLabels = fmt.Errorf("the page has more than %d MiB of different labels", maxLabels>>20)

// Parse parses a whole page into page, reusing its slices and maps. An invalid line is an
// error with the line's number; what precedes it stays in page. Lines whose name is not
// wanted are not checked after the name.
func (p *Parser) Parse(body []byte, page *Page) error {
	page.Reset()
	var at position
	rest, err := p.lines(body, page, &at)
	if err != nil {
		return err
	}
	return p.finish(rest, page, &at)
}

// ParseReader parses a page from a stream like Parse, in bounded memory: it stops at the
// first invalid line, and limits the length of lines, the number of samples and the size
// of the cache. It returns an error of r as it is.
func (p *Parser) ParseReader(r io.Reader, page *Page) (err error) {
	page.Reset()
	p.newLabels = 0
	defer func() {
		if len(p.buf) > chunk {
			p.buf = nil
		}
		if err != nil {
			p.shrink(page)
		}
	}()
	if p.buf == nil {
		p.buf = make([]byte, chunk)
	}
	var at position
	filled := 0
	skipping := false // the rest of a long line that is not wanted
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
		case p.newLabels > maxLabels:
			return ErrLabels
		case done:
			return p.finish(rest, page, &at)
		case len(rest) < len(p.buf):
			filled = copy(p.buf, rest)
		case cannotBeSample(rest):
			return noNameError(at.line+1, rest)
		case p.canSkip(rest):
			filled, skipping, at.ended = 0, true, false
		case len(p.buf) >= maxLine:
			return fmt.Errorf("line %d: longer than %d bytes", at.line+1, maxLine)
		default:
			p.buf = append(p.buf, make([]byte, len(p.buf))...)
		}
	}
	return nil
}

// Reset empties a page and keeps its memory for the next one. Parsers call it themselves.
func (page *Page) Reset() {
	if page.Types == nil {
		page.Types = map[string]Type{}
	}
	clear(page.Types)
	page.Samples, page.timestamps = page.Samples[:0], page.timestamps[:0]
	page.OpenMetrics = false
}

// shrink frees the memory that a page that failed may have taken.
func (p *Parser) shrink(page *Page) {
	if cap(page.Samples) > keptSamples || p.newLabels > keptBytes {
		page.Samples, page.timestamps = nil, nil // and the labels that they reference
	}
	if p.cached > keptBytes || p.newLabels > keptBytes {
		p.cached = 0
		p.names, p.labels = map[string]nameInfo{}, map[string]*Labels{}
	}
}

// cache accounts for bytes more in the maps and clears them if they get too large, because
// labels may change with every page.
func (p *Parser) cache(bytes int) {
	if p.cached += bytes; p.cached > maxCached {
		p.cached = bytes
		p.names, p.labels = map[string]nameInfo{}, map[string]*Labels{}
	}
}

// checkTail returns what is wrong with a page that ends in rest, a line without a newline.
func (p *Parser) checkTail(rest []byte, at *position) error {
	if len(rest) == 0 {
		return nil
	}
	line := bytes.TrimLeft(rest, " \t")
	if len(line) > 0 && line[0] != '#' && line[0] != '{' && nameLength(line) == 0 {
		return noNameError(at.line+1, line) // for example a complete HTML page
	}
	if at.line == 0 && len(line) > 0 && line[0] == '{' {
		// For example JSON, or the only line of a page.
		if _, err := p.sample("", line); err != nil {
			return fmt.Errorf("line 1: %w", err)
		}
	}
	return ErrCut
}

func noNameError(line int, text []byte) error {
	return fmt.Errorf("line %d: no metric name at %.40q", line, text)
}

// position is how far a page has been read, with the state of the previous line.
type position struct {
	line int
	last string // raw name of the previous sample: most lines repeat it
	name nameInfo
	// ended reports whether the previous line was `# EOF`.
	ended bool
}

// lines reads all lines that end with a newline and returns what follows them.
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
				return nil, fmt.Errorf("line %d: the page continues after # EOF", at.line)
			}
			at.ended = false // in the text format it is a comment
		}
		if line[0] == '#' {
			at.ended = p.comment(line, page)
			continue
		}
		var rest []byte
		if n := len(at.last); n > 0 && len(line) > n && string(line[:n]) == at.last && endsName(line[n]) {
			rest = line[n:]
		} else if line[0] == '{' {
			// {"quoted name", label="value"} 1: the name is known only after parsing.
			at.last, at.name, rest = "", nameInfo{wanted: true}, line
		} else {
			n := nameLength(line)
			if n == 0 || n == len(line) || !endsName(line[n]) {
				return nil, noNameError(at.line, line)
			}
			at.name = p.lookUpName(line[:n])
			at.last, rest = at.name.name, line[n:]
		}
		if !at.name.wanted {
			continue
		}
		s, err := p.sample(at.name.name, rest)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", at.line, err)
		}
		if s.Name == "" {
			return nil, noNameError(at.line, line)
		}
		if at.name.name == "" && p.want != nil && !p.want(s.Name) {
			continue
		}
		if p.hasTimestamp {
			p.timestamp.sample, p.timestamp.line = len(page.Samples), at.line
			page.timestamps = append(page.timestamps, p.timestamp)
		}
		page.Samples = append(page.Samples, s)
	}
	return nil, nil
}

// lookUpName returns a name as a string of its own, and whether it is wanted.
func (p *Parser) lookUpName(raw []byte) nameInfo {
	if v, ok := p.names[string(raw)]; ok {
		return v
	}
	name := string(raw)
	v := nameInfo{name: name, wanted: p.want == nil || p.want(name)}
	p.cache(len(raw))
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
			p.newLabels += len(raw)
			if name != "" {
				p.cache(len(raw))
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
	p.hasTimestamp = false
	if after := bytes.Trim(rest[n:], " \t"); len(after) > 0 {
		if err := p.afterValue(s.Name, after); err != nil {
			return s, err
		}
	}
	return s, nil
}

var noLabels = &Labels{}
