package probe

import (
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/vobs/vobs/probe/exposition"
)

// engineID tells the engines behind one endpoint apart, by their labels.
type engineID struct{ engine, stage, replica string }

// ledger adds up what one endpoint's counters and histograms gained from its
// first reading on, series by series, across restarts of the process behind it.
type ledger struct {
	wanted   map[string]wanted
	series   map[seriesKey]*series
	groups   map[groupKey]*group
	resolved []*series // of the page being applied, in its order

	reading int // number of the present reading, from 1
	full    int // number of the last reading of a full page
	epoch   int // rises with each restart of the process

	// start is process_start_time_seconds, 0 while unknown.
	start      float64
	resets     int64
	duplicates int64
	// exported says which rows' families the last full page declared or sampled.
	exported [len(rows)]bool
	models   map[string]bool
	configs  map[engineID]*exposition.Labels
}

type seriesKey struct{ name, labels string }

// series is one line of the page.
type series struct {
	group   *group
	gained  *float64 // where its gains are added up
	value   float64  // at the last reading
	reading int      // number of that reading
	epoch   int
}

type groupKey struct {
	row    int
	labels string
}

// group is one counter, or one histogram with all its lines.
type group struct {
	row    int
	engine engineID
	by     string // value of the label that splits the figure

	total   float64 // a counter's gain; of a histogram nothing
	buckets []*bucket
	sum     float64
	count   float64

	before  float64 // a counter's value at the first reading
	resetAt int     // number of the last reading in which it went back
	full    int     // number of the last full page that it was on
	broken  bool    // a value was negative, NaN or infinite
}

// bucket is a histogram's cumulative bucket.
type bucket struct{ le, gained float64 }

func newLedger() *ledger {
	return &ledger{
		wanted:  wantedNames(),
		series:  map[seriesKey]*series{},
		groups:  map[groupKey]*group{},
		models:  map[string]bool{},
		configs: map[engineID]*exposition.Labels{},
	}
}

// wants is the filter for the parser.
func (l *ledger) wants(name string) bool {
	_, ok := l.wanted[name]
	return ok
}

// applied is what a page brought.
type applied struct {
	gauges []gaugeReading
	vllm   bool // there was a sample of vLLM at all
	moved  bool // some counter or histogram gained
	bulk   bool // there was a histogram: the page was not filtered
}

// gaugeReading is one gauge of one engine.
type gaugeReading struct {
	row    int
	engine engineID
	value  float64
}

// apply takes in a page. With base, values are what later gains count from; else
// a series seen for the first time counts from zero.
func (l *ledger) apply(page *exposition.Page, full, base bool) (got applied) {
	l.reading++
	if full {
		l.full = l.reading
		l.exported = [len(rows)]bool{}
		for name := range page.Types {
			if w, ok := l.wanted[name]; ok {
				l.exported[w.row] = true
			}
		}
	}
	restarted := l.findRestart(page)
	l.resolved = l.resolved[:0]
	for i := range page.Samples {
		s := &page.Samples[i]
		w := l.wanted[s.Name]
		r := &rows[w.row]
		if r.figure == processStart {
			l.resolved = append(l.resolved, nil)
			continue
		}
		got.vllm = true
		l.exported[w.row] = true
		switch r.kind {
		case gaugeKind:
			if !isBroken(s.Value) {
				got.gauges = append(got.gauges, gaugeReading{w.row, engineOf(s.Labels), s.Value})
			}
			l.resolved = append(l.resolved, nil)
		case infoKind:
			l.configs[engineOf(s.Labels)] = s.Labels
			l.resolved = append(l.resolved, nil)
		default:
			got.bulk = got.bulk || r.kind == histogramKind
			l.resolved = append(l.resolved, l.resolve(s, w, base))
		}
		if m := s.Labels.Get("model_name"); m != "" && !l.models[m] {
			l.models[m] = true
		}
	}
	for i, s := range l.resolved {
		if s == nil {
			continue
		}
		value := page.Samples[i].Value
		gain := value - s.value
		if s.group.resetAt == l.reading || s.epoch != l.epoch {
			gain = value
			restarted = restarted || s.group.resetAt == l.reading
		}
		*s.gained += gain
		got.moved = got.moved || gain != 0
		s.value, s.epoch = value, l.epoch
		if full {
			s.group.full = l.full
		}
	}
	if restarted {
		l.resets++
	}
	return got
}

// findRestart notices that another process answers than before.
func (l *ledger) findRestart(page *exposition.Page) bool {
	for i := range page.Samples {
		s := &page.Samples[i]
		if rows[l.wanted[s.Name].row].figure != processStart || isBroken(s.Value) {
			continue
		}
		before := l.start
		l.start = s.Value
		if before != 0 && before != s.Value {
			l.epoch++
			return true
		}
	}
	return false
}

// resolve finds the series of a sample, notes whether its group went back, and
// returns nil for a line that must not count: a broken value, or a series that
// stands twice on the page.
func (l *ledger) resolve(s *exposition.Sample, w wanted, base bool) *series {
	key := seriesKey{s.Name, s.Labels.Key()}
	known := l.series[key]
	if known == nil {
		known = l.add(s, w)
		if known == nil {
			return nil
		}
		l.series[key] = known
		if base {
			known.value = s.Value
			if w.part == whole {
				known.group.before = s.Value
			}
		}
		known.epoch = l.epoch
	} else if known.reading == l.reading {
		l.duplicates++
		return nil
	}
	known.reading = l.reading
	if isBroken(s.Value) || s.Value < 0 && w.part != sumPart {
		known.group.broken = true
		return nil
	}
	// A sum may go back by rounding or with negative observations; counts may not.
	if w.part != sumPart && s.Value < known.value && known.epoch == l.epoch {
		known.group.resetAt = l.reading
	}
	return known
}

// add makes the series of a sample, and its group where it is the first of it.
func (l *ledger) add(s *exposition.Sample, w wanted) *series {
	labels := s.Labels.Key()
	le := math.NaN()
	if w.part == bucketPart {
		var err error
		if le, err = strconv.ParseFloat(s.Labels.Get("le"), 64); err != nil || math.IsNaN(le) {
			return nil
		}
		labels = keyWithout(s.Labels, "le")
	}
	key := groupKey{w.row, labels}
	g := l.groups[key]
	if g == nil {
		g = &group{row: w.row, engine: engineOf(s.Labels)}
		if by := rows[w.row].by; by != "" {
			g.by = s.Labels.Get(by)
		}
		l.groups[key] = g
	}
	added := &series{group: g}
	switch w.part {
	case bucketPart:
		b := &bucket{le: le}
		g.buckets = append(g.buckets, b)
		sort.Slice(g.buckets, func(i, j int) bool { return g.buckets[i].le < g.buckets[j].le })
		added.gained = &b.gained
	case sumPart:
		added.gained = &g.sum
	case countPart:
		added.gained = &g.count
	default:
		added.gained = &g.total
	}
	return added
}

func engineOf(labels *exposition.Labels) engineID {
	var id engineID
	for _, p := range labels.Pairs() {
		switch p.Name {
		case "engine":
			id.engine = p.Value
		case "stage":
			id.stage = p.Value
		case "replica":
			id.replica = p.Value
		}
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

func isBroken(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// rowOf gives the row under which this endpoint exports a figure: the newest name
// that it has.
func (l *ledger) rowOf(f figure) (int, bool) {
	for i := range rows {
		if rows[i].figure == f && l.exported[i] {
			return i, true
		}
	}
	return 0, false
}

// tokens is the number of tokens that the endpoint's engines have counted so
// far, for telling whether they moved.
func (l *ledger) tokens() float64 {
	sum := 0.0
	for _, g := range l.groups {
		if f := rows[g.row].figure; f == promptTokens || f == generationTokens {
			sum += g.total
		}
	}
	return sum
}
