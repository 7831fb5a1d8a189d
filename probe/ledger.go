package probe

import (
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/vobs/vobs/probe/exposition"
)

const (
	// maxSeries is the most series of one endpoint that are followed, of some 150
	// engines. An exporter whose labels change for ever must not fill the memory.
	maxSeries = 1 << 16
	// maxLabelBytes is how long their labels may be in all: labels may carry payloads.
	maxLabelBytes = 64 << 20
	// maxExact is the largest counter value that a float tells to the last digit.
	maxExact = 1 << 53
)

// engineID tells the engines behind one endpoint apart, by their labels. worker is
// Ray's WorkerId.
type engineID struct{ engine, stage, replica, worker string }

// ledger adds up what one endpoint's counters and histograms gained from its
// first reading on, series by series, across restarts of the process behind it.
type ledger struct {
	wanted map[string]wanted
	series map[seriesKey]*series
	groups map[groupKey]*group
	// lines are those of the page being applied, in its order.
	lines []line
	// seen has the lines of the last full and of the last filtered page: the next
	// one has mostly the same.
	seen   [2][]line
	gauges []gaugeReading // of the page being applied
	// late are the groups to which the page being applied adds a line, though the
	// page to count from had others of them.
	late []*group
	// unbased are groups that it has first, whose family the page to count from had not.
	unbased []*group

	reading     int  // number of the present reading, from 1
	full        int  // number of the last reading of a full page
	epoch       int  // rises with each restart of the process
	restartedAt int  // number of the reading that showed the last one
	based       bool // the first reading is what counters count from
	// whole says that the page to be applied is known to have come to its end;
	// baseWhole, that the one to count from had.
	whole, baseWhole bool
	// same says that the page being applied tells the same start of the process as
	// the one before.
	same bool

	resets     int64
	duplicates int64 // series that stood twice on a page with one value
	conflicts  int64 // and with different ones
	invalid    int64 // values that were no number, or negative counts
	// invalidRow is the row of the latest such.
	invalidRow int
	// mixed says that servers answer in turn, not one after the other.
	mixed bool
	// spelling is that of the last page, baseSpelling that of the page to count from.
	spelling, baseSpelling spelling
	// labelBytes is how long the labels of all series are.
	labelBytes int
	// tokens is what all token counters gained: it tells that they moved.
	tokens float64
	// exported says which rows' families the last full page declared or sampled,
	// since then a filtered one too; ever, any page; atBase, the first page.
	exported, ever, atBase []bool
	// overflown are rows with more series than are followed.
	overflown []bool
	// unrecorded has the stages whose engines worked without telling, and why that
	// is known; it is made for a report.
	unrecorded map[string]string
	// stages are those that upstream's series are of; made for a report too.
	stages  map[string]bool
	models  map[string]bool
	configs map[engineID]*exposition.Labels
}

type seriesKey struct{ name, labels string }

// line is one line of a page and the series that it tells of.
type line struct {
	name   string
	labels *exposition.Labels
	wanted wanted
	series *series // nil where it is not followed
}

// series is one line of the page from reading to reading.
type series struct {
	engine  engineID
	group   *group   // nil for a gauge
	gained  *float64 // where a counter's gains are added up
	value   float64  // at the last good reading
	epoch   int      // of that reading
	reading int      // number of the last reading in which it stood on the page
	pending float64  // its value there
	broken  bool     // which cannot be taken
	fresh   bool     // that was the first one
}

type groupKey struct {
	row    int
	labels string
}

// group is one counter, or one histogram with all its lines.
type group struct {
	row    int
	engine engineID
	labels *exposition.Labels
	by     string // value of the label that splits the figure

	total   float64 // a counter's gain; of a histogram nothing
	buckets []*bucket
	sum     float64
	count   float64

	before   float64 // a counter's value at the first reading
	resetAt  int     // number of the last reading in which it went back
	born     int     // number of the reading that it was first on
	full     int     // number of the last full page that it was on
	seen     int     // how many of its lines were on that page
	lines    int     // and the most that were on one page of the present process
	epoch    int     // of the last page that it was on
	brokenAt int     // number of the last reading in which a value could not be taken
	// spoiled is the reason for which it can never be told.
	spoiled string
}

// bucket is a histogram's cumulative bucket.
type bucket struct{ le, gained float64 }

// gain is a counter's gain in the event's unit.
func (g *group) gain() float64 { return g.total * rows[g.row].form.scale() }

func newLedger() *ledger {
	return &ledger{
		wanted:  wantedNames(),
		series:  map[seriesKey]*series{},
		groups:  map[groupKey]*group{},
		models:  map[string]bool{},
		configs: map[engineID]*exposition.Labels{},

		exported: make([]bool, len(rows)), ever: make([]bool, len(rows)), atBase: make([]bool, len(rows)),
		overflown: make([]bool, len(rows)),
	}
}

// wants is the filter for the parser.
func (l *ledger) wants(name string) bool {
	_, ok := l.wanted[name]
	return ok
}

// content is what kind of a page it is.
type content struct {
	vllm   bool // there is a sample of vLLM at all
	bulk   bool // there is a histogram: the page was not filtered
	polled bool // the gauges and counters are there that filtered polls are for
}

// open looks at a page, without taking it in. It leaves out of the page the samples
// that are no figure's, and those in another spelling than the best one.
func (l *ledger) open(page *exposition.Page, full bool) (c content) {
	old := &l.seen[0]
	if full {
		old = &l.seen[1]
	}
	l.lines = l.lines[:0]
	kept := page.Samples[:0]
	best, worst := spellings, ownSpelling
	for i := range page.Samples {
		s := &page.Samples[i]
		var ln line
		if k := len(l.lines); k < len(*old) && (*old)[k].labels == s.Labels && (*old)[k].name == s.Name {
			ln = (*old)[k]
		} else {
			w, ok := l.wanted[s.Name]
			if !ok || w.part == declared {
				continue
			}
			ln = line{name: s.Name, labels: s.Labels, wanted: w}
			ln.series = l.series[seriesKey{s.Name, s.Labels.Key()}]
		}
		if isVLLM(ln.wanted.row) {
			best, worst = min(best, spellingOf(ln.wanted.row)), max(worst, spellingOf(ln.wanted.row))
		}
		l.lines = append(l.lines, ln)
		kept = append(kept, *s)
	}
	page.Samples = kept
	if best != spellings {
		l.spelling = best
	}
	if worst != ownSpelling {
		l.leaveOut(page)
	}
	var has [figureCount]bool // by figure
	for i := range l.lines {
		r := &rows[l.lines[i].wanted.row]
		has[r.figure] = true
		c.vllm = c.vllm || r.figure != processStart
		c.bulk = c.bulk || r.kind == histogramKind
	}
	c.polled = has[kvUsage] && has[running] && has[generationTokens]
	if has[omniRunning] && !has[running] {
		_, upstream := l.hasOmni()
		c.polled = !upstream // a server whose own statistics are off
	}
	return c
}

// leaveOut drops the lines of a page that are in another spelling than the ledger's:
// they tell of the same once more, or of others. The process whose start such a page
// tells of is not the engine's, but the agent's that collects for it.
func (l *ledger) leaveOut(page *exposition.Page) {
	n := 0
	for i, ln := range l.lines {
		if l.reads(ln.wanted.row) {
			l.lines[n], page.Samples[n] = ln, page.Samples[i]
			n++
		}
	}
	l.lines, page.Samples = l.lines[:n], page.Samples[:n]
}

// reads says whether a row is in the spelling that is read.
func (l *ledger) reads(row int) bool {
	return spellingOf(row) == l.spelling
}

// applied is what a page brought.
type applied struct {
	gauges    []gaugeReading // valid until the next page
	moved     bool           // some counter or histogram gained
	restarted bool           // another process answers than before
}

// gaugeReading is one gauge of one engine.
type gaugeReading struct {
	row    int
	engine engineID
	by     string // value of the label that splits the figure
	value  float64
	broken bool // it is no number, or stands twice with different values
	// perProcess says that each process of a server has written its own.
	perProcess bool
}

// apply takes in the page that was opened last. With base, values are what later
// gains count from; else a series seen for the first time counts from zero.
func (l *ledger) apply(page *exposition.Page, full, base bool) (got applied) {
	l.reading++
	if full {
		l.full = l.reading
		clear(l.exported)
		for name, t := range page.Types {
			if w, ok := l.wanted[name]; ok && l.reads(w.row) && w.declares(t) {
				l.exported[w.row] = true
			}
		}
	}
	l.enter(page)
	for i := range rows {
		l.ever[i] = l.ever[i] || l.exported[i]
	}
	if base {
		l.setBase()
		l.baseSpelling = l.spelling
	}
	if got.restarted = l.findRestart(); got.restarted {
		l.epoch++
		l.resets++
		l.restartedAt = l.reading
		for _, g := range l.groups {
			g.lines = 0
			if g.born == l.reading {
				g.spoiled = "" // the process before had none of it to count from
			}
		}
	} else {
		for _, g := range l.late {
			g.spoiled = rows[g.row].name + " had not all its lines on the first page that was read, which was cut off: what it had counted before that is not known"
		}
		for _, g := range l.unbased {
			if l.baseWhole && l.same {
				g.spoiled = "" // the same process: it has made the family since
			}
		}
	}
	l.late, l.unbased = l.late[:0], l.unbased[:0]
	l.gauges = l.gauges[:0]
	groupsReset := false
	for i := range l.lines {
		s := l.lines[i].series
		if s == nil || s.reading != l.reading {
			continue
		}
		if s.group == nil {
			if r := &rows[l.lines[i].wanted.row]; r.kind.isGauge() {
				labels := l.lines[i].labels
				l.gauges = append(l.gauges, gaugeReading{
					row: l.lines[i].wanted.row, engine: s.engine, by: labels.Get(r.by),
					value: s.pending * r.form.scale(), broken: s.broken,
					perProcess: labels.Get("pid") != "",
				})
				s.reading = -l.reading // a second line of it says nothing more
			}
			continue
		}
		moved, reset := l.book(s, &l.lines[i], full, base)
		got.moved = got.moved || moved
		groupsReset = groupsReset || reset
		s.reading = -l.reading
	}
	if groupsReset && !got.restarted {
		l.resets++
	}
	got.gauges = l.gauges
	kind := 0
	if full {
		kind = 1
	}
	l.lines, l.seen[kind] = l.seen[kind], l.lines
	return got
}

// setBase makes the page being applied the one that later gains count from. One
// that may have been cut off tells nothing of the family that it ends in, nor of
// one that it only declares: their series may have stood behind the cut.
func (l *ledger) setBase() {
	l.based, l.baseWhole = true, l.whole
	if l.whole {
		copy(l.atBase, l.exported)
		return
	}
	last := -1
	for i := range l.lines {
		last = l.lines[i].wanted.row
		l.atBase[last] = true
	}
	if last >= 0 {
		l.atBase[last] = false
	}
}

// enter puts the values of a page beside the series that they belong to.
func (l *ledger) enter(page *exposition.Page) {
	for i := range l.lines {
		ln, value := &l.lines[i], page.Samples[i].Value
		l.exported[ln.wanted.row] = true
		if ln.series == nil {
			if ln.series = l.follow(ln); ln.series == nil {
				continue
			}
		}
		s := ln.series
		kind := rows[ln.wanted.row].kind
		if kind == infoKind && len(l.configs) < maxSeries && rows[ln.wanted.row].figure == cacheConfig {
			l.configs[s.engine] = ln.labels
		}
		if s.reading == l.reading { // it stands there a second time
			switch {
			case s.pending == value || math.IsNaN(s.pending) && math.IsNaN(value):
				l.duplicates++
			default:
				l.conflicts++
				s.broken = true
			}
			continue
		}
		s.fresh = s.reading == 0
		s.reading, s.pending = l.reading, value
		s.broken = isBroken(value) || value < 0 && s.group != nil && ln.wanted.part != sumPart
		if s.broken {
			l.invalid++
			l.invalidRow = ln.wanted.row
		}
	}
}

// findRestart notices that another process answers than before: it tells another
// start, or most of what it has counted has gone back. (Not every counter goes
// back: a young process may have done more than the one before had.) Counters of
// single groups that went back are marked.
func (l *ledger) findRestart() (restarted bool) {
	var start *line
	starts, back, forth := 0, 0, 0
	for i := range l.lines {
		ln := &l.lines[i]
		s := ln.series
		if s == nil || s.reading != l.reading || s.broken {
			continue
		}
		if rows[ln.wanted.row].figure == processStart {
			start = ln
			starts++
			continue
		}
		if s.group == nil || s.fresh || s.epoch != l.epoch {
			continue
		}
		// A sum may go back by rounding or with negative observations; counts may not.
		switch counts := ln.wanted.part == whole || ln.wanted.part == countPart; {
		case ln.wanted.part == sumPart:
		case s.pending < s.value:
			s.group.resetAt = l.reading
			if counts {
				back++
			}
		case counts && s.value > 0:
			forth++
		}
	}
	restarted = back > 0 && back >= forth
	l.same = starts == 1 && start.series.value != 0 && start.series.value == start.series.pending
	if starts == 1 { // a page of several processes tells nothing by their starts
		s := start.series
		if s.value != 0 && s.value != s.pending {
			restarted = true
			l.mixed = l.mixed || s.pending < s.value
		}
		s.value = s.pending
	}
	if restarted && starts == 0 {
		for key, s := range l.series {
			if key.name == processStartName {
				s.value = 0 // of the process before
			}
		}
	}
	return restarted
}

// start is process_start_time_seconds of the one process behind the endpoint.
func (l *ledger) start() (seconds float64, ok bool) {
	found := 0
	for key, s := range l.series {
		if key.name == processStartName && s.value > 0 {
			seconds = s.value
			found++
		}
	}
	return seconds, found == 1
}

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
	if rows[ln.wanted.row].figure.isOmni() {
		s.engine = omniEngine(ln.labels)
	}
	if kind := rows[ln.wanted.row].kind; kind == counterKind || kind == histogramKind {
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
		if by := rows[row].by; by != "" {
			g.by = ln.labels.Get(by)
		}
		if l.based && !l.atBase[row] && l.epoch == 0 && (l.spelling == ownSpelling || l.spelling != l.baseSpelling) {
			// The process ran before, and its page had not even the family then:
			// apply looks whether it is known that it was not there. (Ray shows a
			// counter from its first increment on.)
			g.spoiled = rows[row].name + " was not on the first page that was read, only on a later one: what it had counted before that is not known"
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

// book adds up what a series gained. A value that cannot be taken is left out:
// the next good one has all of it, unless it is the one to count from.
func (l *ledger) book(s *series, ln *line, full, base bool) (moved, reset bool) {
	g := s.group
	if full {
		if g.full != l.full {
			g.full, g.seen = l.full, 0
		}
		g.seen++
		g.lines = max(g.lines, g.seen)
	}
	if g.epoch = l.epoch; s.broken {
		g.brokenAt = l.reading
		if base {
			g.spoiled = rows[g.row].name + " had no usable value on the page to count from: it was not a count, or stood there twice"
		}
		return false, false
	}
	if ln.wanted.part == whole && g.brokenAt != l.reading {
		g.brokenAt = 0
	}
	gain := s.pending - s.value // of a new series, from zero
	switch {
	case s.fresh && base:
		gain = 0
		if ln.wanted.part == whole {
			g.before = s.pending
		}
	case s.epoch != l.epoch:
		gain = s.pending
	case g.resetAt == l.reading:
		gain = s.pending
		reset = true
	}
	*s.gained += gain
	s.value, s.epoch = s.pending, l.epoch
	switch rows[g.row].figure {
	case promptTokens, generationTokens, omniPrompt, omniGeneration:
		l.tokens += gain
	}
	return gain != 0, reset
}

// trouble says why a group's figures cannot be told; "" where they can.
func (l *ledger) trouble(g *group) string {
	name := rows[g.row].name
	switch {
	case l.mixed:
		return "several servers answer at this address in turn (by a load balancer?): give the address of each"
	case l.overflown[g.row]:
		return name + " has more series than are followed"
	case g.spoiled != "":
		return g.spoiled
	case g.total == 0 && g.count == 0 && rows[g.row].figure < coreFigures && l.unrecorded[g.engine.stage] != "":
		return l.unrecorded[g.engine.stage]
	case g.brokenAt != 0 && g.brokenAt == l.full:
		return name + " had a value that no counter can have (negative, NaN or infinite), or two values at once, on the last page"
	case g.epoch == l.epoch && (g.full != l.full || g.seen < g.lines):
		return "a series of " + name + " vanished from the page inside the window"
	case g.total >= maxExact || g.count >= maxExact:
		return name + " is too large to be told to the last digit"
	}
	return ""
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

func isBroken(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// had says whether a figure was on any page.
func (l *ledger) had(f figure) bool {
	for i := range rows {
		if rows[i].figure == f && l.ever[i] {
			return true
		}
	}
	return false
}
