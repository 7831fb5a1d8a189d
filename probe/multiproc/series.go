package multiproc

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vobs/vobs/probe/exposition"
)

// family is a family of metrics of one kind.
type family struct {
	name     string
	kind     kind
	typeName string // the name in its TYPE line
	wanted   Wanted // of that line
	needed   Wanted // the most of any of its samples
	// plain are the samples that are not buckets, in the order in which they were found.
	plain      []*series
	histograms []*histogram // one per label set
	seen       int          // number of the last reading with an entry of it
	// conflict is a family of the same name and another kind.
	conflict *family
	// err is why none of its samples can be on a page; nil if they can.
	err error
}

// histogram has the buckets of one label set.
type histogram struct {
	buckets []*series // by their bound, once sorted
	sorted  bool
	// count is the sum of all buckets. It takes precedence over a count in a file.
	count *series
}

// series is one sample of the page.
type series struct {
	name      string
	labels    *exposition.Labels
	wanted    Wanted
	needed    Wanted // also for other samples: buckets are needed for the count
	kind      kind
	mayFall   bool       // it may decrease, because its observations may be negative
	histogram *histogram // of a bucket or a count
	bound     float64

	value, stamp float64
	seen         int // number of the last reading with a value of it
	parts        []enginePart
}

// accumulate adds one process's value to those of the others, like _accumulate_metrics in
// multiprocess.py.
func (s *series) accumulate(value, stamp float64, reading int) {
	first := s.seen != reading
	switch s.kind {
	case gaugeAll:
		s.value = value
	case gaugeMin:
		if first || value < s.value {
			s.value = value
		}
	case gaugeMax:
		if first || value > s.value {
			s.value = value
		}
	case gaugeMostRecent:
		if first {
			s.stamp = 0
		}
		if !(stamp > s.stamp) {
			return // pages do not have gauges that were never set
		}
		s.value, s.stamp = value, stamp
	default:
		if first {
			s.value = 0
		}
		s.value += value
	}
	s.seen = reading
}

type familyKey struct {
	name string
	kind kind
}

type seriesKey struct {
	family       *family
	name, labels string
}

// resolve returns the family and the series of an entry of f, creating them if they are new.
// The series is nil if it is not wanted.
func (r *Reader) resolve(f *file, k key) (*family, *series, error) {
	fam := r.family(k.family, f.kind)
	name, le := k.sample, -1
	if f.kind == histogramKind {
		if le = slices.IndexFunc(k.labels, func(l exposition.Label) bool { return l.Name == "le" }); le >= 0 {
			name = k.family + "_bucket"
		}
	}
	wanted := r.wantedIn(name)
	var counted Wanted
	if le >= 0 {
		counted = r.wantedIn(k.family + "_count")
	}
	needed := max(wanted, counted)
	if fam.needed = max(fam.needed, needed); needed == Never {
		_, err := exposition.NewLabels(k.labels)
		return fam, nil, err
	}
	if k.loneSurrogate && fam.err == nil {
		fam.err = errors.New("a name or label is not text: it has half a surrogate pair")
	}
	labels, identity, err := r.sampleLabels(f, k.labels)
	if err != nil {
		return nil, nil, err
	}
	if le >= 0 {
		bound, ok := parseBound(labels.Get("le"))
		if !ok {
			if fam.err == nil {
				fam.err = fmt.Errorf("a bucket's bound is not a number: le=%.40q", labels.Get("le"))
			}
			return fam, nil, nil
		}
		s, err := r.bucket(fam, labels, bound, wanted, counted)
		return fam, s, err
	}
	id := seriesKey{fam, name, identity}
	s := r.series[id]
	if s == nil {
		if len(r.series) >= r.limits.series {
			return nil, nil, errTooManySeries
		}
		s = &series{name: name, labels: labels, wanted: wanted, needed: wanted, kind: f.kind}
		s.mayFall = f.kind != counterKind && strings.HasSuffix(name, "_sum")
		r.series[id] = s
		fam.plain = append(fam.plain, s)
	}
	return fam, s, nil
}

// sampleLabels returns the labels of a sample. A gauge of mode all gets its process in a
// label pid, which replaces its own such label; gauges of the other modes lose theirs.
// identity distinguishes series that differ in the replaced label only.
func (r *Reader) sampleLabels(f *file, pairs []exposition.Label) (labels *exposition.Labels, identity string, err error) {
	own, err := exposition.NewLabels(pairs)
	if err != nil || f.kind < gaugeAll {
		return r.intern(own), keyOf(own), err
	}
	pairs = slices.DeleteFunc(slices.Clone(own.Pairs()), func(l exposition.Label) bool { return l.Name == "pid" })
	identity = ""
	if f.kind == gaugeAll {
		identity = f.id + "\x00" + own.Key()
		pairs = append(pairs, exposition.Label{Name: "pid", Value: strings.Clone(f.id)})
	}
	labels, err = exposition.NewLabels(pairs)
	if identity == "" {
		identity = keyOf(labels)
	}
	return r.intern(labels), identity, err
}

func keyOf(l *exposition.Labels) string {
	if l == nil {
		return ""
	}
	return l.Key()
}

// bucket returns a bucket by its histogram's labels and the value of its bound, however the
// bound is written.
func (r *Reader) bucket(fam *family, labels *exposition.Labels, bound float64, wanted, counted Wanted) (*series, error) {
	pairs := slices.DeleteFunc(slices.Clone(labels.Pairs()), func(l exposition.Label) bool { return l.Name == "le" })
	rest, err := exposition.NewLabels(slices.Clone(pairs))
	if err != nil {
		return nil, err
	}
	rest = r.intern(rest)
	if labels, err = exposition.NewLabels(append(pairs, exposition.Label{Name: "le", Value: formatBound(bound)})); err != nil {
		return nil, err
	}
	labels = r.intern(labels)
	id := seriesKey{fam, fam.name + "_bucket", labels.Key()}
	if s := r.series[id]; s != nil {
		return s, nil
	}
	if len(r.series) >= r.limits.series {
		return nil, errTooManySeries
	}
	total := seriesKey{fam, fam.name + "_count", rest.Key()}
	count := r.series[total]
	if count == nil {
		count = &series{name: total.name, labels: rest, wanted: counted, needed: counted, kind: histogramKind}
		r.series[total] = count
	}
	if count.histogram == nil {
		count.histogram = &histogram{count: count}
		fam.histograms = append(fam.histograms, count.histogram)
	}
	s := &series{name: id.name, labels: labels, wanted: wanted, needed: max(wanted, counted), kind: histogramKind, histogram: count.histogram, bound: bound}
	r.series[id] = s
	s.histogram.buckets, s.histogram.sorted = append(s.histogram.buckets, s), false
	return s, nil
}

// family returns a family, creating it if it is new.
func (r *Reader) family(name string, k kind) *family {
	id := familyKey{name, k}
	if fam := r.families[id]; fam != nil {
		return fam
	}
	fam := &family{name: name, kind: k, typeName: name}
	if k == counterKind {
		fam.typeName += "_total" // generate_latest in exposition.py
	}
	fam.wanted = r.wantedIn(fam.typeName)
	for otherKind := range numKinds {
		if other := r.families[familyKey{name, otherKind}]; other != nil {
			fam.conflict, other.conflict = other, fam
		}
	}
	r.families[id] = fam
	r.order = append(r.order, fam)
	return fam
}

// intern returns the same pointer for equal label sets.
func (r *Reader) intern(l *exposition.Labels) *exposition.Labels {
	if l == nil {
		return nil
	}
	if known := r.labels[l.Key()]; known != nil {
		return known
	}
	r.labels[l.Key()] = l
	return l
}

// wantedIn returns want(name), which it caches.
func (r *Reader) wantedIn(name string) Wanted {
	v, ok := r.wanted[name]
	if !ok {
		v = r.want(name)
		r.wanted[name] = v
	}
	return v
}

// emit adds the samples of a family to the page. If several engines write its gauges, ended
// has those of them that have ended.
func (fam *family) emit(page *exposition.Page, least Wanted, ended map[string]bool, reading int) {
	if fam.wanted >= least {
		page.Types[fam.typeName] = kindTable[fam.kind].typ
	}
	for _, h := range fam.histograms {
		h.emit(page, least, reading)
	}
	for _, s := range fam.plain {
		switch {
		case s.histogram != nil:
		case ended != nil && s.wanted >= least && s.emitParts(page, ended, reading):
		default:
			s.emit(page, s.value, least, reading)
		}
	}
}

// emit adds the buckets to the page, cumulated, and their count.
func (h *histogram) emit(page *exposition.Page, least Wanted, reading int) {
	if !h.sorted {
		slices.SortFunc(h.buckets, func(a, b *series) int { return cmp.Compare(a.bound, b.bound) })
		h.sorted = true
	}
	total := 0.0
	for _, s := range h.buckets {
		if s.seen == reading {
			total += s.value
			h.count.value, h.count.seen = total, reading
			s.emit(page, total, least, reading)
		}
	}
	h.count.emit(page, h.count.value, least, reading)
}

func (s *series) emit(page *exposition.Page, value float64, least Wanted, reading int) {
	if s.seen == reading && s.wanted >= least {
		page.Samples = append(page.Samples, exposition.Sample{Name: s.name, Labels: s.labels, Value: value})
	}
}

// whyUnusable returns why a family cannot be on the page; nil if it can.
func (fam *family) whyUnusable() error {
	if fam.conflict != nil {
		return fmt.Errorf("it is among the %s and among the %s", kindTable[fam.kind].metrics, kindTable[fam.conflict.kind].metrics)
	}
	return fam.err
}
