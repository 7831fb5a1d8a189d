package compare

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vobs/vobs/schema"
)

// partial stands among the codes of a run whose event is a preliminary one.
const partial schema.Code = "partial"

// leftovers stands among the codes of a run whose command left processes behind: they run beside
// the next one.
const leftovers schema.Code = "leftovers"

// disqualifying are the notes of runs that did not do what they should have.
var disqualifying = []schema.Code{
	schema.CodeNonzeroExit, schema.CodeInterrupted, schema.CodeOOMKilled, schema.CodeProfiled, schema.CodeEngineDied, partial,
}

// derived are the settings that an engine works out from the memory it finds, so that they
// differ between two starts.
var derived = [...]string{"num_gpu_blocks", "kv_cache_size_tokens", "kv_cache_max_concurrency"}

// lengthTolerance is by how much the mean lengths of prompts and answers may differ.
const lengthTolerance = 0.02

// Severity is how much a difference between the sides matters.
type Severity string

// The severities of a difference.
const (
	Matters   Severity = "error"     // the sides cannot be compared
	Noted     Severity = "info"      // it may explain a change
	Treatment Severity = "treatment" // it is what is compared
	Ignored   Severity = "ignored"   // it would matter, but the user wants it ignored
)

// Difference is a condition in which the sides differ.
type Difference struct {
	Field    string   `json:"field"`
	Base     string   `json:"base"`
	New      string   `json:"new"`
	Severity Severity `json:"severity"`
}

// differences returns the conditions in which the sides differ. Those whose field, or a
// group above it, is in ignore do not matter.
func differences(baseRuns, newRuns []*Run, treatment bool, ignore []string) []Difference {
	base, new := side{baseRuns, groupsOf(baseRuns)}, side{newRuns, groupsOf(newRuns)}
	var out []Difference
	add := func(field, b, n string, severity Severity) {
		if severity == Matters && slices.ContainsFunc(ignore, func(i string) bool { return field == i || strings.HasPrefix(field, i+".") }) {
			severity = Ignored
		}
		out = append(out, Difference{field, b, n, severity})
	}
	severity := func(matters bool) Severity {
		if matters {
			return Matters
		}
		return Noted
	}
	for i, c := range conditions {
		of := func(m *made) string { return m.facts[i] }
		if b, n := base.values(of), new.values(of); b != n && b != "" && n != "" {
			add(c.field, b, n, severity(c.matters))
		} else if b != n {
			add(c.field, cmp.Or(b, "unknown"), cmp.Or(n, "unknown"), Noted)
		}
	}
	addSettings(base, new, treatment, add)
	addLengths(base, new, add)
	addOutcomes(base, new, add)
	addLabels(base, new, add)
	addCodes(base, new, add)
	command := func(m *made) string { return m.command }
	switch b, n := base.values(command), new.values(command); {
	case treatment && (strings.Contains(b, separator) || strings.Contains(n, separator)):
		add("run.command", b, n, Matters) // runs of vobs ab with different commands
	case b != n:
		b, n = differing(b, n)
		add("run.command", b, n, Treatment)
	}
	return out
}

// A side is one of the two sets of runs.
type side struct {
	runs   []*Run
	groups []group
}

// A group is all runs of one side that were made alike.
type group struct {
	*made
	runs int
}

// groupsOf returns the groups of runs, in the order of their first ones.
func groupsOf(runs []*Run) []group {
	var out []group
	index := map[*made]int{}
	for _, r := range runs {
		i, known := index[r.made]
		if !known {
			i = len(out)
			index[r.made] = i
			out = append(out, group{made: r.made})
		}
		out[i].runs++
	}
	return out
}

// differing returns two command lines without the words that they begin and end with alike.
func differing(a, b string) (string, string) {
	x, y := strings.Fields(a), strings.Fields(b)
	short := min(len(x), len(y))
	if short == 0 {
		return a, b
	}
	head := 1 // the program is always shown
	for head < short && x[head] == y[head] {
		head++
	}
	tail := 0
	for tail < short-head && x[len(x)-1-tail] == y[len(y)-1-tail] {
		tail++
	}
	if head <= 3 && tail <= 2 { // short enough to be shown whole
		return a, b
	}
	cut := func(words []string) string {
		out := words[0]
		if head > 1 {
			out += " …"
		}
		for _, w := range words[head : len(words)-tail] {
			out += " " + w
		}
		if tail > 0 {
			out += " …"
		}
		return out
	}
	return cut(x), cut(y)
}

// CheckIgnore returns an error for a key that is no condition.
func CheckIgnore(keys []string) error {
	names := []string{"engine.config", "engine.config.values", "validity", "run.command", "run.labels", "run.leftovers", requests, failures}
	for _, c := range conditions {
		names = append(names, c.field)
	}
	names = append(names, lengths[:]...)
	for _, key := range keys {
		if !slices.Contains(names, key) && !strings.HasPrefix(key, "engine.config.values.") && !strings.HasPrefix(key, "validity.") {
			return fmt.Errorf("--ignore %s: not a condition of a comparison: use one of %s, or one below engine.config.values or validity", key, strings.Join(names, ", "))
		}
	}
	return nil
}

// alike returns the runs that were made in the conditions of others, as far as these matter.
func alike(runs, others []*Run) (out []*Run) {
	groups := groupsOf(others)
	isAlike := map[*made]bool{}
	for _, g := range groupsOf(runs) {
		differs := false
		for i, c := range conditions {
			fact := g.facts[i]
			differs = differs || c.matters && fact != "" && !slices.ContainsFunc(groups, func(o group) bool { return o.facts[i] == fact || o.facts[i] == "" })
		}
		isAlike[g.made] = !differs
	}
	for _, r := range runs {
		if isAlike[r.made] {
			out = append(out, r)
		}
	}
	return out
}

// requests and failures are the conditions of how many requests finished, and how.
const (
	requests = "engine.requests.finished"
	failures = "engine.requests.failed"
)

// failureTolerance is by how much the share of failed requests may differ.
const failureTolerance = 0.01

// addOutcomes adds the number of requests and the share of failed ones if they differ.
func addOutcomes(base, new side, add func(field, b, n string, s Severity)) {
	count := func(r *Run) float64 { return r.get(columnRequests) }
	if b, n := medianOf(base.runs, count), medianOf(new.runs, count); math.Abs(b-n) > lengthTolerance*math.Max(b, n) {
		add(requests, fmt.Sprintf("%.5g", b), fmt.Sprintf("%.5g", n), Noted)
	}
	failed := func(r *Run) float64 { return r.get(columnFailed) }
	if b, n := medianOf(base.runs, failed), medianOf(new.runs, failed); math.Abs(b-n) > failureTolerance {
		add(failures, fmt.Sprintf("%.3g %%", 100*b), fmt.Sprintf("%.3g %%", 100*n), Matters)
	}
}

// addLabels adds the labels of the runs that differ.
func addLabels(base, new side, add func(field, b, n string, s Severity)) {
	names := map[string]bool{}
	for _, g := range slices.Concat(base.groups, new.groups) {
		for _, l := range g.labels {
			names[l.name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		of := func(m *made) string { return find(m.labels, name) }
		if b, n := base.values(of), new.values(of); b != n && !strings.Contains(b, separator) && !strings.Contains(n, separator) {
			add("run.labels."+name, cmp.Or(b, "unknown"), cmp.Or(n, "unknown"), Noted)
		}
	}
}

// separator stands between the different values of one side.
const separator = " | "

// values returns the different texts of the runs, at most three of them.
func (s side) values(of func(*made) string) string {
	texts := map[string]bool{}
	for _, g := range s.groups {
		if text := of(g.made); text != "" {
			texts[text] = true
		}
	}
	return joined(slices.Sorted(maps.Keys(texts)), len(texts))
}

// derived returns the different values of a setting that the engine derives, at most three of
// them.
func (s side) derived(index int) string {
	var xs []float64
	for _, r := range s.runs {
		if x := r.get(columnDerived + index); !math.IsNaN(x) {
			xs = append(xs, x)
		}
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	var texts []string
	for _, x := range xs[:min(len(xs), maxValues)] {
		if text, err := json.Marshal(x); err == nil {
			texts = append(texts, string(text))
		}
	}
	if others := s.values(func(m *made) string { return find(m.settings, derived[index]) }); others != "" {
		texts = append(texts, others) // those that are not numbers
	}
	return joined(texts, max(len(xs), len(texts)))
}

// maxValues is how many different values of one side are listed.
const maxValues = 3

// joined returns the first of n texts in one.
func joined(texts []string, n int) string {
	if n > maxValues {
		texts = append(texts[:maxValues:maxValues], fmt.Sprintf("and %d more", n-maxValues))
	}
	return strings.Join(texts, separator)
}

// addSettings adds the engine's settings that differ. They are the treatment if a command
// line names them, or if the sides of vobs ab went to different servers.
func addSettings(base, new side, treatment bool, add func(field, b, n string, s Severity)) {
	names, given := map[string]bool{}, map[string]bool{} // given by a command line or the user
	for _, g := range slices.Concat(base.groups, new.groups) {
		for _, s := range g.settings {
			names[s.name] = true
		}
		for _, name := range g.named {
			given[name] = true
		}
	}
	endpoints := func(m *made) string { return m.endpoints }
	servers := treatment && base.values(endpoints) != new.values(endpoints)
	for _, name := range derived {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		var b, n string
		index := slices.Index(derived[:], name)
		if index >= 0 {
			b, n = base.derived(index), new.derived(index)
		} else {
			of := func(m *made) string { return find(m.settings, name) }
			b, n = base.values(of), new.values(of)
		}
		switch {
		case b == n || b == "" || n == "" || name == "version":
		case index >= 0:
			add("engine.config.values."+name, b, n, Noted)
		case given[name] || servers:
			add("engine.config.values."+name, b, n, Treatment)
		default:
			add("engine.config.values."+name, b, n, Matters)
		}
	}
}

// lengths are the figures of how long prompts and answers were.
var lengths = [...]string{"engine.tokens.prompt_per_request.mean", "engine.tokens.generation_per_request.mean"}

// medianOf returns the median of a value over the runs where it is known; NaN if it is in none.
func medianOf(runs []*Run, value func(*Run) float64) float64 {
	var xs []float64
	for _, r := range runs {
		if x := value(r); !math.IsNaN(x) {
			xs = append(xs, x)
		}
	}
	return median(xs)
}

// addLengths adds the mean lengths of prompts and answers if they differ.
func addLengths(base, new side, add func(field, b, n string, s Severity)) {
	for i, field := range lengths {
		of := func(r *Run) float64 { return r.get(columnLengths + i) }
		if b, n := medianOf(base.runs, of), medianOf(new.runs, of); math.Abs(b-n) > lengthTolerance*math.Max(b, n) {
			add(field, fmt.Sprintf("%.5g tokens", b), fmt.Sprintf("%.5g tokens", n), Matters)
		}
	}
}

// addCodes adds validity notes that runs of one side have, and those of the other side do not.
func addCodes(base, new side, add func(field, b, n string, s Severity)) {
	codes := map[schema.Code]bool{}
	for _, g := range slices.Concat(base.groups, new.groups) {
		for _, c := range g.codes {
			codes[c] = true
		}
	}
	count := func(groups []group, code schema.Code) (with, all int) {
		for _, g := range groups {
			if all += g.runs; slices.Contains(g.codes, code) {
				with += g.runs
			}
		}
		return with, all
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		b, ofBase := count(base.groups, code)
		n, ofNew := count(new.groups, code)
		baseShare, newShare := float64(b)/float64(ofBase), float64(n)/float64(ofNew)
		severity := Noted
		switch {
		case slices.Contains(disqualifying, code), code == schema.CodeWarmPrefixCache && math.Abs(baseShare-newShare) > 0.5:
			severity = Matters
		case baseShare == newShare:
			continue
		}
		field := "validity." + string(code)
		if code == leftovers {
			field = "run.leftovers"
		}
		add(field, fmt.Sprintf("%d of %d runs", b, ofBase), fmt.Sprintf("%d of %d runs", n, ofNew), severity)
	}
}
