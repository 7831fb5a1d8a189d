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
	name   string
	kind   kind
	typed  string // the name in its TYPE line
	wanted Wanted // of that line
	needed Wanted // the most of any of its samples
	// others are the samples that are no buckets, in the order in which they were found.
	others []*series
	groups []*group // of a histogram with its buckets
	seen   int      // number of the last reading with an entry of it
	// rival is a family of the same name and another kind.
	rival *family
	// bad is why it cannot be told, for all its samples.
	bad error
}

// group is a histogram: the buckets of one label set.
type group struct {
	buckets []*series // by their bound, once sorted
	sorted  bool
	// count is what all buckets have; a file that has a count itself is not believed
	// beside them.
	count *series
}

// series is one sample of the page.
type series struct {
	name   string
	labels *exposition.Labels
	wanted Wanted
	needed Wanted // also for another sample: a bucket is part of the count
	kind   kind
	falls  bool   // it may go down while it counts: a sum of what may be negative
	group  *group // of a bucket, and of its count
	bound  float64

	value, stamp float64
	seen         int // number of the last reading with a value of it
}

// take puts one process's value to those of the others, as _accumulate_metrics in
// multiprocess.py does.
func (s *series) take(value, stamp float64, reading int) {
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
			return // a gauge that was never set is not on the page
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

// place finds the family and the series that an entry of f belongs to, and makes them
// where they are new. The series is nil where nobody wants it.
func (r *Reader) place(f *file, k key) (*family, *series, error) {
	fam := r.family(k.family, f.kind)
	name, le := k.sample, -1
	if f.kind == histogramKind {
		if le = slices.IndexFunc(k.labels, func(l exposition.Label) bool { return l.Name == "le" }); le >= 0 {
			name = k.family + "_bucket"
		}
	}
	wanted := r.verdict(name)
	var counted Wanted
	if le >= 0 {
		counted = r.verdict(k.family + "_count")
	}
	needed := max(wanted, counted)
	if fam.needed = max(fam.needed, needed); needed == Never {
		_, err := exposition.NewLabels(k.labels)
		return fam, nil, err
	}
	if k.lone && fam.bad == nil {
		fam.bad = errors.New("a name or label of it is no text: it has half a surrogate pair")
	}
	labels, identity, err := r.labelsOf(f, k.labels)
	if err != nil {
		return nil, nil, err
	}
	if le >= 0 {
		bound, ok := parseBound(labels.Get("le"))
		if !ok {
			if fam.bad == nil {
				fam.bad = fmt.Errorf("a bucket's bound is no number: le=%.40q", labels.Get("le"))
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
			return nil, nil, errTooMany
		}
		s = &series{name: name, labels: labels, wanted: wanted, needed: wanted, kind: f.kind}
		s.falls = f.kind != counterKind && strings.HasSuffix(name, "_sum")
		r.series[id] = s
		fam.others = append(fam.others, s)
	}
	return fam, s, nil
}

// labelsOf makes the labels of a sample. A gauge of mode all is told apart by its process
// in a label pid, which hides one that it has itself; gauges of the other modes lose
// theirs. identity tells those apart that are hidden.
func (r *Reader) labelsOf(f *file, pairs []exposition.Label) (labels *exposition.Labels, identity string, err error) {
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

// bucket finds a bucket by its histogram's labels and its bound, in whatever way that was
// written.
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
		return nil, errTooMany
	}
	total := seriesKey{fam, fam.name + "_count", rest.Key()}
	count := r.series[total]
	if count == nil {
		count = &series{name: total.name, labels: rest, wanted: counted, needed: counted, kind: histogramKind}
		r.series[total] = count
	}
	if count.group == nil {
		count.group = &group{count: count}
		fam.groups = append(fam.groups, count.group)
	}
	s := &series{name: id.name, labels: labels, wanted: wanted, needed: max(wanted, counted), kind: histogramKind, group: count.group, bound: bound}
	r.series[id] = s
	s.group.buckets, s.group.sorted = append(s.group.buckets, s), false
	return s, nil
}

// family finds a family, or makes it.
func (r *Reader) family(name string, k kind) *family {
	id := familyKey{name, k}
	if fam := r.families[id]; fam != nil {
		return fam
	}
	fam := &family{name: name, kind: k, typed: name}
	if k == counterKind {
		fam.typed += "_total" // generate_latest in exposition.py
	}
	fam.wanted = r.verdict(fam.typed)
	for other := range kinds {
		if rival := r.families[familyKey{name, other}]; rival != nil {
			fam.rival, rival.rival = rival, fam
		}
	}
	r.families[id] = fam
	r.order = append(r.order, fam)
	return fam
}

// intern gives label sets that are alike as one.
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

func (r *Reader) verdict(name string) Wanted {
	v, ok := r.verdicts[name]
	if !ok {
		v = r.want(name)
		r.verdicts[name] = v
	}
	return v
}

// emit puts the samples of a family on the page.
func (fam *family) emit(page *exposition.Page, least Wanted, reading int) {
	if fam.wanted >= least {
		page.Types[fam.typed] = kindTable[fam.kind].typ
	}
	for _, g := range fam.groups {
		g.emit(page, least, reading)
	}
	for _, s := range fam.others {
		if s.group == nil {
			s.emit(page, s.value, least, reading)
		}
	}
}

// emit puts the buckets on the page, each with those below it, and their count.
func (g *group) emit(page *exposition.Page, least Wanted, reading int) {
	if !g.sorted {
		slices.SortFunc(g.buckets, func(a, b *series) int { return cmp.Compare(a.bound, b.bound) })
		g.sorted = true
	}
	total := 0.0
	for _, s := range g.buckets {
		if s.seen == reading {
			total += s.value
			g.count.value, g.count.seen = total, reading
			s.emit(page, total, least, reading)
		}
	}
	g.count.emit(page, g.count.value, least, reading)
}

func (s *series) emit(page *exposition.Page, value float64, least Wanted, reading int) {
	if s.seen == reading && s.wanted >= least {
		page.Samples = append(page.Samples, exposition.Sample{Name: s.name, Labels: s.labels, Value: value})
	}
}

// lost tells why nothing is said of a family, nil where something is.
func (fam *family) lost() error {
	if fam.rival != nil {
		return fmt.Errorf("it stands among the %s and among the %s", kindTable[fam.kind].left, kindTable[fam.rival.kind].left)
	}
	return fam.bad
}
