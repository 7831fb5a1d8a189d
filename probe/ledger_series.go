package probe

import (
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/vobs/vobs/probe/exposition"
)

// follow makes the series of a line that is seen for the first time; nil where
// it cannot be followed.
func (l *ledger) follow(ln *line) *series {
	if m := ln.labels.Get("model_name"); m != "" && len(l.models) < maxSeries {
		l.models[m] = true
	}
	if len(l.series) >= maxSeries || l.labelBytes+len(ln.labels.Key()) > maxLabelBytes {
		l.overflown[ln.wanted.row] = true
		return nil
	}
	s := l.series[seriesKey{ln.name, ln.labels.Key()}] // it may stand on this page twice
	if s != nil {
		return s
	}
	s = &series{engine: engineOf(ln.labels, l.spelling)}
	if ln.wanted.row.figure().isOmni() {
		s.engine = omniEngine(ln.labels)
	}
	if kind := ln.wanted.row.row().kind; kind == counterKind || kind == histogramKind {
		if !l.join(s, ln) {
			return nil
		}
	}
	l.series[seriesKey{ln.name, ln.labels.Key()}] = s
	l.labelBytes += len(ln.labels.Key())
	return s
}

// join puts a counter's series into its group, and makes that where it is the
// first of it.
func (l *ledger) join(s *series, ln *line) bool {
	labels := ln.labels.Key()
	le := math.NaN()
	if ln.wanted.part == bucketPart {
		var err error
		if le, err = strconv.ParseFloat(ln.labels.Get("le"), 64); err != nil || math.IsNaN(le) {
			return false
		}
		labels = keyWithout(ln.labels, "le")
	}
	row := ln.wanted.row
	g := l.groups[groupKey{row, labels}]
	if g == nil {
		g = &group{row: row, engine: s.engine, labels: ln.labels, born: l.reading, full: l.full}
		if by := row.row().by; by != "" {
			g.by = ln.labels.Get(by)
		}
		if l.based && !l.atBase[row] && l.epoch == 0 && (l.spelling == ownSpelling || l.spelling != l.baseSpelling) {
			// The process ran before, and its page had not even the family then:
			// apply looks whether it is known that it was not there. (Ray shows a
			// counter from its first increment on.)
			g.spoiled = row.name() + " was not on the first page that was read, only on a later one: what it had counted before that is not known"
			l.unbased = append(l.unbased, g)
		}
		l.groups[groupKey{row, labels}] = g
	}
	if l.based && l.epoch == 0 && g.born < l.reading {
		l.late = append(l.late, g)
	}
	s.group = g
	switch ln.wanted.part {
	case bucketPart:
		b := &bucket{le: le}
		g.buckets = append(g.buckets, b)
		sort.Slice(g.buckets, func(i, j int) bool { return g.buckets[i].le < g.buckets[j].le })
		s.gained = &b.gained
	case sumPart:
		s.gained = &g.sum
	case countPart:
		s.gained = &g.count
	default:
		s.gained = &g.total
	}
	return true
}

// engineOf reads which engine a series is of. Under Ray stage and replica are no names
// of vLLM's: Ray Serve tells its replicas so.
func engineOf(labels *exposition.Labels, as spelling) engineID {
	var id engineID
	for _, p := range labels.Pairs() {
		switch p.Name {
		case "engine":
			id.engine = p.Value
		case "stage":
			id.stage = p.Value
		case "replica":
			id.replica = p.Value
		case "WorkerId":
			id.worker = p.Value
		}
	}
	switch {
	case as == ownSpelling:
		id.worker = ""
	case id.worker != "":
		id.stage, id.replica = "", ""
	}
	return id
}

func keyWithout(labels *exposition.Labels, name string) string {
	var b strings.Builder
	for _, p := range labels.Pairs() {
		if p.Name != name {
			b.WriteString(strconv.Quote(p.Name))
			b.WriteByte('=')
			b.WriteString(strconv.Quote(p.Value))
			b.WriteByte(',')
		}
	}
	return b.String()
}

// omniEngine gives the place that a series of vllm-omni's own is of. The oldest
// families call a stage `engine`, or `stage_id`.
func omniEngine(labels *exposition.Labels) engineID {
	first := func(names ...string) string {
		i := slices.IndexFunc(names, func(n string) bool { return labels.Get(n) != "" })
		if i < 0 {
			return ""
		}
		return labels.Get(names[i])
	}
	return engineID{stage: first("stage", "stage_id", "engine"), replica: first("replica", "replica_id")}
}
