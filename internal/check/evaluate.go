package check

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/vobs/vobs/internal/events"
	"github.com/vobs/vobs/internal/quantity"
	"github.com/vobs/vobs/schema"
)

// Options are the limits, and what else makes an event fail.
type Options struct {
	Limits []Limit
	// AllowUndecided and AllowMissing let limits pass that the event does not decide, or
	// whose figure it does not have.
	AllowUndecided, AllowMissing bool
	// StrictValidity makes an event fail that has a warning or an error in `validity`, or that
	// has no `validity`, as the core alone.
	StrictValidity bool
}

// Run evaluates the events of files, which it reads with open. It stops at the first file that
// cannot be read or that holds something else than events.
func Run(o Options, files []string, open func(name string) (io.ReadCloser, error)) (Result, error) {
	r := Result{Events: []Event{}, texts: map[string]string{}}
	for _, name := range files {
		if err := r.addFile(o, name, open); err != nil {
			return Result{}, err
		}
	}
	r.texts = nil
	r.finish()
	return r, nil
}

func (r *Result) addFile(o Options, name string, open func(name string) (io.ReadCloser, error)) error {
	in, err := open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	number, first := 0, len(r.Events)
	for e, err := range events.Read(in) {
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		number++
		r.Events = append(r.Events, o.evaluate(name, number, e))
		r.detach(&r.Events[len(r.Events)-1])
	}
	for i := range r.Events[first:] {
		r.Events[first+i].numbered = number > 1
	}
	return nil
}

// detach copies the texts of an outcome, which are parts of the event's document: otherwise the
// documents of all events would stay in memory.
func (r *Result) detach(e *Event) {
	shared := func(text *string) {
		known, ok := r.texts[*text]
		if !ok {
			known = strings.Clone(*text)
			r.texts[known] = known
		}
		*text = known
	}
	if e.RunID != nil {
		id := strings.Clone(*e.RunID)
		e.RunID = &id
	}
	for i := range e.Checks {
		c := &e.Checks[i]
		shared(&c.Name)
		shared(&c.Path)
		shared(&c.Reason)
	}
	for i := range e.Notes {
		n := &e.Notes[i]
		shared((*string)(&n.Code))
		shared((*string)(&n.Severity))
		shared(&n.Message)
	}
}

// evaluate compares one event with the limits.
func (o Options) evaluate(file string, number int, e *events.Event) Event {
	out := Event{File: file, Number: number, Verdict: Passed, Checks: []Check{}, Notes: notes(e, o.StrictValidity), strict: o.StrictValidity}
	if e.Run.ID != "" {
		out.RunID = &e.Run.ID
	}
	for _, l := range o.Limits {
		t, why := l.target, ""
		if l.instead != nil && l.instead.when(e) {
			t, why = l.instead.target, l.instead.why
		}
		for _, r := range read(e, t) {
			out.Checks = append(out.Checks, o.check(l, t, why, r))
		}
	}
	fails := slices.ContainsFunc(out.Checks, func(c Check) bool { return c.Fails }) ||
		slices.ContainsFunc(out.Notes, func(n Note) bool { return n.Fails })
	if fails {
		out.Verdict = Failed
	}
	return out
}

// speculates reports whether the engine decodes speculatively: a step then yields several
// tokens of a request, so that the time between its outputs is not the time per token.
func speculates(e *events.Event) bool {
	if e.Engine == nil {
		return false
	}
	if s := e.Engine.Speculative; s != nil {
		return s.DraftTokens == nil || *s.DraftTokens > 0
	}
	return e.EngineRuntimeConfig.SpeculativeMethod != nil
}

// hasPipeline reports whether the event has the latencies of whole requests of a vllm-omni
// pipeline. The engine's are those of one stage then.
func hasPipeline(e *events.Event) bool {
	return e.Omni != nil && e.Omni.Pipeline != nil && e.Omni.Pipeline.E2ERequestLatencySeconds != nil
}

// reading is the interval that a figure of an event lies in; low and high are equal if it is
// known exactly.
type reading struct {
	path      string // in this event
	low, high float64
	// buckets of the histogram that the bounds rest on; nil for other figures.
	buckets []schema.Bucket
	isBound bool // of a percentile's bounds
	missing string
}

// possible returns the reading, or one that is missing if the figure cannot have its value.
func (r reading) possible(f schema.Field) reading {
	if r.missing != "" {
		return r
	}
	if r.low > r.high {
		r.missing = fmt.Sprintf("the event has impossible bounds of the percentile: %s is above %s", quantity.Format(r.low, f.Unit), quantity.Format(r.high, f.Unit))
		return r
	}
	for _, x := range []float64{r.low, r.high} {
		if math.IsInf(x, 0) {
			continue // nothing bounds it on that side
		}
		if why := f.Impossible(x); why != "" {
			r.missing = fmt.Sprintf("the event has an impossible value, %s: %s", quantity.Format(x, f.Unit), why)
			break
		}
	}
	return r
}

// read returns the readings of a figure: several if its path has a *.
func read(e *events.Event, t target) []reading {
	if e.CoreOnly && !schema.InCore(t.path) {
		return []reading{{path: t.path, missing: "the event has the keys of the core only"}}
	}
	var out []reading
	if t.percentile == 0 {
		for _, f := range e.Figures(t.path) {
			r := reading{path: f.Path}
			if f.Value == nil {
				r.missing = whyMissing(e, f.Path)
			} else {
				r.low, r.high = *f.Value, *f.Value
			}
			out = append(out, r.possible(t.field))
		}
	} else {
		for _, d := range e.Distributions(t.path) {
			out = append(out, readPercentile(e, d, t.percentile).possible(t.field))
		}
	}
	if len(out) == 0 {
		out = []reading{{path: t.path, missing: "the event has an empty list there"}}
	}
	return out
}

// readPercentile returns the proven bounds of a percentile.
func readPercentile(e *events.Event, d schema.DistributionAt, percentile int) reading {
	r := reading{path: d.Path}
	if d.Distribution == nil {
		r.missing = whyMissing(e, d.Path)
		return r
	}
	b := d.Bounds(percentile)
	if b == nil {
		r.missing = e.Reason(fmt.Sprintf("%s.p%d_bounds", d.Path, percentile))
		if r.missing == "" {
			r.missing = "the event has no bounds of its percentiles: an older vobs wrote it"
		}
		return r
	}
	r.isBound, r.buckets = true, d.Buckets
	var ok bool
	if r.low, ok = b.Low(); !ok {
		r.low = math.Inf(-1)
	}
	if r.high, ok = b.High(); !ok {
		r.high = math.Inf(1)
	}
	return r
}

// whyMissing returns why a figure is null.
func whyMissing(e *events.Event, path string) string {
	if why := e.Reason(path); why != "" {
		return why
	}
	return "the event does not have it, and gives no reason"
}

// judge compares a reading with a limit.
//
// A bucket of a histogram does not include its lower bound: a percentile is above the lower
// of its bounds, unless that is 0. So a limit at the bound of a bucket is always decided,
// if it is a maximum.
func judge(l Limit, r reading) Verdict {
	switch {
	case r.missing != "":
		return Missing
	case l.Bound == Max && r.high <= l.Value, l.Bound == Min && r.low >= l.Value:
		return Passed
	case l.Bound == Max && (r.low > l.Value || r.isBound && r.low == l.Value && r.low > 0), l.Bound == Min && r.high < l.Value:
		return Failed
	}
	return Undecided
}

// check compares one reading of the figure t with a limit. why is the reason for another figure
// than the limit's own.
func (o Options) check(l Limit, t target, why string, r reading) Check {
	c := Check{
		Name: t.name, Path: r.path, Bound: l.Bound, Limit: l.Value, Unit: t.field.Unit,
		Verdict: judge(l, r), figure: t.path,
	}
	if t.path != r.path { // a * stands for several
		c.Name = r.path
	}
	if t.percentile != 0 {
		suffix := fmt.Sprintf(".p%d", t.percentile)
		c.Path += suffix
		if t.path != r.path {
			c.Name += suffix
		}
	}
	c.Fails = c.Verdict == Failed || c.Verdict == Undecided && !o.AllowUndecided || c.Verdict == Missing && !o.AllowMissing
	if r.missing == "" {
		if value := r.low; r.low == r.high {
			c.Value = &value
		}
		if r.isBound {
			c.Low, c.High = finite(r.low), finite(r.high)
		}
	}
	reasons := []string{why, r.missing}
	if c.Verdict == Undecided {
		for _, b := range r.buckets {
			if b[0] != nil && *b[0] > 0 {
				c.buckets = append(c.buckets, *b[0])
			}
		}
		reasons = append(reasons, undecidedReason(c))
	}
	c.Reason = strings.Join(slices.DeleteFunc(reasons, func(s string) bool { return s == "" }), "; ")
	return c
}

// undecidedReason returns why the bounds do not decide.
func undecidedReason(c Check) string {
	switch {
	case c.atUpperBound():
		return "the percentile may be exactly the limit, which is the upper bound of a bucket: choose another limit"
	case hasFixedBuckets(c.figure):
		return "the limit lies between the bounds of the percentile; vLLM does not let users choose the buckets of this histogram"
	}
	return "the limit lies between the bounds of the percentile"
}

func finite(x float64) *float64 {
	if math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// notes returns what casts doubt on an event: its validity notes of severity warning and error,
// and a failure of the command that no note covers.
func notes(e *events.Event, strict bool) []Note {
	out := []Note{}
	add := func(code schema.Code, severity schema.Severity, message string) {
		out = append(out, Note{code, severity, message, strict})
	}
	if e.Validity == nil && strict {
		add(CodeNoValidity, schema.Warning, "the event has no validity notes, so its validity is unknown")
	}
	if e.CoreOnly {
		return out
	}
	if e.Partial {
		add(CodePartial, schema.Warning, "the event is preliminary: it was written while the command was still running")
	}
	ended := slices.ContainsFunc(e.Validity, func(v schema.Validity) bool { return v.Code == schema.CodeNonzeroExit })
	switch r := e.Run; {
	case ended:
	case r.StartError != nil:
		add(schema.CodeNonzeroExit, schema.Warning, "the command could not be started: "+*r.StartError)
	case r.Signal != nil:
		add(schema.CodeNonzeroExit, schema.Warning, "the command was killed by "+*r.Signal)
	case r.ExitCode != nil && *r.ExitCode != 0:
		add(schema.CodeNonzeroExit, schema.Warning, fmt.Sprintf("the command failed with exit code %d", *r.ExitCode))
	}
	for _, v := range e.Validity {
		if v.Severity != schema.Info {
			add(v.Code, v.Severity, v.Message)
		}
	}
	return out
}
