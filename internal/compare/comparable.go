package compare

import (
	"cmp"
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
var derived = []string{"num_gpu_blocks", "kv_cache_size_tokens", "kv_cache_max_concurrency"}

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
func differences(base, new []*Run, treatment bool, ignore []string) []Difference {
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
		of := func(r *Run) string { return r.facts[i] }
		if b, n := values(base, of), values(new, of); b != n && b != "" && n != "" {
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
	command := func(r *Run) string { return r.command }
	switch b, n := values(base, command), values(new, command); {
	case treatment && (strings.Contains(b, separator) || strings.Contains(n, separator)):
		add("run.command", b, n, Matters) // runs of vobs ab with different commands
	case b != n:
		b, n = differing(b, n)
		add("run.command", b, n, Treatment)
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
	for _, r := range runs {
		differs := false
		for i, c := range conditions {
			of := func(r *Run) string { return r.facts[i] }
			differs = differs || c.matters && r.facts[i] != "" && !slices.ContainsFunc(others, func(o *Run) bool { return of(o) == of(r) || of(o) == "" })
		}
		if !differs {
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
func addOutcomes(base, new []*Run, add func(field, b, n string, s Severity)) {
	count := func(r *Run) float64 { return r.requests }
	if b, n := medianOf(base, count), medianOf(new, count); math.Abs(b-n) > lengthTolerance*math.Max(b, n) {
		add(requests, fmt.Sprintf("%.5g", b), fmt.Sprintf("%.5g", n), Noted)
	}
	failed := func(r *Run) float64 { return r.failed }
	if b, n := medianOf(base, failed), medianOf(new, failed); math.Abs(b-n) > failureTolerance {
		add(failures, fmt.Sprintf("%.3g %%", 100*b), fmt.Sprintf("%.3g %%", 100*n), Matters)
	}
}

// addLabels adds the labels of the runs that differ.
func addLabels(base, new []*Run, add func(field, b, n string, s Severity)) {
	names := map[string]bool{}
	for _, r := range slices.Concat(base, new) {
		for name := range r.labels {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		of := func(r *Run) string { return r.labels[name] }
		if b, n := values(base, of), values(new, of); b != n && !strings.Contains(b, separator) && !strings.Contains(n, separator) {
			add("run.labels."+name, cmp.Or(b, "unknown"), cmp.Or(n, "unknown"), Noted)
		}
	}
}

// separator stands between the different values of one side.
const separator = " | "

// values returns the different texts of the runs, at most three of them.
func values(runs []*Run, of func(*Run) string) string {
	var out []string
	for _, r := range runs {
		if s := of(r); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	if len(out) > 3 {
		out = append(out[:3], fmt.Sprintf("and %d more", len(out)-3))
	}
	return strings.Join(out, separator)
}

// addSettings adds the engine's settings that differ. They are the treatment if a command
// line names them, or if the sides of vobs ab went to different servers.
func addSettings(base, new []*Run, treatment bool, add func(field, b, n string, s Severity)) {
	names, given := map[string]bool{}, map[string]bool{} // given by a command line or the user
	for _, r := range slices.Concat(base, new) {
		for name := range r.settings {
			names[name] = true
		}
		for _, name := range r.named {
			given[name] = true
		}
	}
	endpoints := func(r *Run) string { return r.endpoints }
	servers := treatment && values(base, endpoints) != values(new, endpoints)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		of := func(r *Run) string { return r.settings[name] }
		b, n := values(base, of), values(new, of)
		switch {
		case b == n || b == "" || n == "" || name == "version":
		case slices.Contains(derived, name):
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
func addLengths(base, new []*Run, add func(field, b, n string, s Severity)) {
	for i, field := range lengths {
		of := func(r *Run) float64 { return r.lengths[i] }
		if b, n := medianOf(base, of), medianOf(new, of); math.Abs(b-n) > lengthTolerance*math.Max(b, n) {
			add(field, fmt.Sprintf("%.5g tokens", b), fmt.Sprintf("%.5g tokens", n), Matters)
		}
	}
}

// addCodes adds validity notes that runs of one side have, and those of the other side do not.
func addCodes(base, new []*Run, add func(field, b, n string, s Severity)) {
	codes := map[schema.Code]bool{}
	for _, r := range slices.Concat(base, new) {
		for _, c := range r.codes {
			codes[c] = true
		}
	}
	share := func(runs []*Run, code schema.Code) (int, float64) {
		n := 0
		for _, r := range runs {
			if slices.Contains(r.codes, code) {
				n++
			}
		}
		return n, float64(n) / float64(len(runs))
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		b, baseShare := share(base, code)
		n, newShare := share(new, code)
		of := func(k int, runs []*Run) string { return fmt.Sprintf("%d of %d runs", k, len(runs)) }
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
		add(field, of(b, base), of(n, new), severity)
	}
}
