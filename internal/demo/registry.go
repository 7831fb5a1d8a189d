package demo

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// registry is as much of Python's prometheus_client as a page of vLLM needs: families in
// order of registration, their children in order of first use. It has no lock of its
// own.
type registry struct {
	families []*family
	now      func() time.Time
}

// The kinds of a family, as in its TYPE line.
const (
	counter   = "counter"
	gauge     = "gauge"
	histo     = "histogram"
	summary   = "summary"
	leLabel   = "le"
	noCreated = 0
)

// family is one metric with all its children. A counter's name lacks its _total, as in
// Python.
type family struct {
	name, help, kind string
	bounds           []float64 // of a histogram, without +Inf
	boundText        []string  // the same as text, with +Inf
	hidden           bool      // not on the page (process_* without /proc)
	children         []*child
	now              func() time.Time
}

// child is one set of label values: a number, or the observations of a histogram or
// summary.
type child struct {
	family       *family
	key          string // the labels in order, without braces
	before, rest string // the labels before and after le
	created      float64
	value        float64
	counts       []uint64 // per bucket, not cumulative
	count        uint64
	sum          float64
}

func (r *registry) add(kind, name, help string) *family {
	f := &family{name: name, help: help, kind: kind, now: r.now}
	r.families = append(r.families, f)
	return f
}

func (r *registry) addHistogram(name, help string, bounds []float64) *family {
	f := r.add(histo, name, help)
	f.bounds = bounds
	for _, b := range bounds {
		f.boundText = append(f.boundText, formatFloat(b))
	}
	f.boundText = append(f.boundText, "+Inf")
	return f
}

// with returns the child with these labels (name, value, name, value, ...), and creates
// it on first use. The page shows labels sorted by name.
func (f *family) with(pairs ...string) *child {
	type label struct{ name, text string }
	ls := make([]label, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		ls = append(ls, label{pairs[i], pairs[i] + `="` + labelEscaper.Replace(pairs[i+1]) + `"`})
	}
	slices.SortFunc(ls, func(a, b label) int { return strings.Compare(a.name, b.name) })
	var all, before, rest []string
	for _, l := range ls {
		all = append(all, l.text)
		if l.name < leLabel {
			before = append(before, l.text)
		} else {
			rest = append(rest, l.text)
		}
	}
	key := strings.Join(all, ",")
	for _, c := range f.children {
		if c.key == key {
			return c
		}
	}
	c := &child{family: f, key: key, before: strings.Join(before, ","), rest: strings.Join(rest, ",")}
	c.created = float64(f.now().UnixNano()) / 1e9
	if f.kind == histo {
		c.counts = make([]uint64, len(f.bounds)+1)
	}
	f.children = append(f.children, c)
	return c
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// observe adds one observation to a histogram or summary.
func (c *child) observe(v float64) {
	c.sum += v
	c.count++
	if c.counts != nil {
		i, _ := slices.BinarySearch(c.family.bounds, v) // le: the first bound not below v
		c.counts[i]++
	}
}

// nameSet is the restriction of a page to some sample names; nil shows all.
type nameSet map[string]bool

func (s nameSet) has(name string) bool { return s == nil || s[name] }

// sampleName returns the name of the family's plain samples.
func (f *family) sampleName() string {
	if f.kind == counter {
		return f.name + "_total"
	}
	return f.name
}

// write appends the family as prometheus_client's generate_latest writes it, with the
// samples in names. If names is not nil and no sample is left, it writes nothing, not
// even the HELP line.
func (f *family) write(b []byte, names nameSet) []byte {
	name, created := f.sampleName(), f.name+"_created"
	start := len(b)
	b = f.writeHead(b, name, f.kind)
	head := len(b)
	switch f.kind {
	case histo, summary:
		bucket, count, sum := names.has(f.name+"_bucket"), names.has(f.name+"_count"), names.has(f.name+"_sum")
		for _, c := range f.children {
			if bucket {
				b = c.writeBuckets(b)
			}
			if count {
				b = writeSample(b, f.name, "_count", c.key, float64(c.count))
			}
			if sum {
				b = writeSample(b, f.name, "_sum", c.key, c.sum)
			}
		}
	default:
		if names.has(name) {
			for _, c := range f.children {
				b = writeSample(b, name, "", c.key, c.value)
			}
		}
	}
	samples := len(b) > head
	if f.kind != gauge && names.has(created) {
		first := true
		for _, c := range f.children {
			if c.created == noCreated {
				continue
			}
			if first {
				b = f.writeHead(b, created, gauge)
				first, samples = false, true
			}
			b = writeSample(b, created, "", c.key, c.created)
		}
	}
	if names != nil && !samples {
		return b[:start]
	}
	return b
}

func (f *family) writeHead(b []byte, name, kind string) []byte {
	for _, s := range []string{"# HELP ", name, " ", f.help, "\n# TYPE ", name, " ", kind, "\n"} {
		b = append(b, s...)
	}
	return b
}

func (c *child) writeBuckets(b []byte) []byte {
	total := uint64(0)
	for i, n := range c.counts {
		total += n
		b = append(b, c.family.name...)
		b = append(b, "_bucket{"...)
		if c.before != "" {
			b = append(b, c.before...)
			b = append(b, ',')
		}
		b = append(b, `le="`...)
		b = append(b, c.family.boundText[i]...)
		b = append(b, '"')
		if c.rest != "" {
			b = append(b, ',')
			b = append(b, c.rest...)
		}
		b = append(b, "} "...)
		b = append(b, formatFloat(float64(total))...)
		b = append(b, '\n')
	}
	return b
}

func writeSample(b []byte, name, suffix, labels string, v float64) []byte {
	b = append(b, name...)
	b = append(b, suffix...)
	if labels != "" {
		b = append(b, '{')
		b = append(b, labels...)
		b = append(b, '}')
	}
	b = append(b, ' ')
	b = append(b, formatFloat(v)...)
	return append(b, '\n')
}

// page returns the whole exposition, or only the samples in names.
func (r *registry) page(names nameSet) []byte {
	b := make([]byte, 0, 64<<10)
	for _, f := range r.families {
		if !f.hidden {
			b = f.write(b, names)
		}
	}
	return b
}

// formatFloat is prometheus_client's floatToGoString: Python's repr, except for numbers
// with more than six digits before the point, which it writes as Go would, with an
// exponent ("1e+06"). The exponent is always "0" and the number, as in the original.
func formatFloat(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	case math.IsNaN(v):
		return "NaN"
	}
	s := pythonRepr(v)
	dot := strings.IndexByte(s, '.')
	if v > 0 && dot > 6 {
		return strings.TrimRight(s[:1]+"."+s[1:dot]+s[dot+1:], "0.") + "e+0" + strconv.Itoa(dot-1)
	}
	return s
}

func pythonBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// pythonRepr formats a finite float as Python's repr does.
func pythonRepr(v float64) string {
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
