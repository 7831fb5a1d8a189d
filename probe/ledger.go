package probe

import (
	"math"

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
	invalidRow rowID
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
	models    map[string]bool
	configs   map[engineID]*exposition.Labels
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
	row    rowID
	labels string
}

// group is one counter, or one histogram with all its lines.
type group struct {
	row    rowID
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
func (g *group) gain() float64 { return g.total * g.row.row().form.scale() }

func newLedger() *ledger {
	return &ledger{
		series:  map[seriesKey]*series{},
		groups:  map[groupKey]*group{},
		models:  map[string]bool{},
		configs: map[engineID]*exposition.Labels{},

		exported: make([]bool, rowIDs()), ever: make([]bool, rowIDs()), atBase: make([]bool, rowIDs()),
		overflown: make([]bool, rowIDs()),
	}
}

// applied is what a page brought.
type applied struct {
	gauges    []gaugeReading // valid until the next page
	moved     bool           // some counter or histogram gained
	restarted bool           // another process answers than before
}

// gaugeReading is one gauge of one engine.
type gaugeReading struct {
	row    rowID
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
			if w, ok := lookup(name); ok && l.reads(w.row) && w.declares(t) {
				l.exported[w.row] = true
			}
		}
	}
	l.enter(page)
	for i, on := range l.exported {
		l.ever[i] = l.ever[i] || on
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
			g.spoiled = g.row.name() + " had not all its lines on the first page that was read, which was cut off: what it had counted before that is not known"
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
			if r := l.lines[i].wanted.row.row(); r.kind.isGauge() {
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
	last := rowID(-1)
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
		kind := ln.wanted.row.row().kind
		if kind == infoKind && len(l.configs) < maxSeries && ln.wanted.row.figure() == cacheConfig {
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
			g.spoiled = g.row.name() + " had no usable value on the page to count from: it was not a count, or stood there twice"
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
	switch g.row.figure() {
	case promptTokens, generationTokens, omniPrompt, omniGeneration:
		l.tokens += gain
	}
	return gain != 0, reset
}

// trouble returns why a group's figures cannot be used, or "". unrecorded has the
// stages whose engines worked without recording it, with the reason.
func (l *ledger) trouble(g *group, unrecorded map[string]string) string {
	name := g.row.name()
	switch {
	case l.mixed:
		return "several servers answer at this address in turn (by a load balancer?): give the address of each"
	case l.overflown[g.row]:
		return name + " has more series than are followed"
	case g.spoiled != "":
		return g.spoiled
	case g.total == 0 && g.count == 0 && g.row.figure() < coreFigures && unrecorded[g.engine.stage] != "":
		return unrecorded[g.engine.stage]
	case g.brokenAt != 0 && g.brokenAt == l.full:
		return name + " had a value that no counter can have (negative, NaN or infinite), or two values at once, on the last page"
	case g.epoch == l.epoch && (g.full != l.full || g.seen < g.lines):
		return "a series of " + name + " vanished from the page inside the window"
	case g.total >= maxExact || g.count >= maxExact:
		return name + " is too large to be told to the last digit"
	}
	return ""
}

func isBroken(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// had says whether a figure was on any page.
func (l *ledger) had(f figure) bool {
	for i := range rowsOf(f) {
		if l.ever[i] {
			return true
		}
	}
	return false
}

// whyNotQueryable returns why the answers of the server with this name would not
// describe its engines, or "". Ray's agent, for one, has a /version of its own.
func (l *ledger) whyNotQueryable(name string) string {
	switch {
	case l.mixed:
		return "several servers answer at " + name + " in turn"
	case l.spelling != ownSpelling:
		return "the page of " + name + " is not the engine's own: it is of one that collects the metrics"
	}
	return ""
}
