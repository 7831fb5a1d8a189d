package schema

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// checker checks a value against a schema and collects all problems.
type checker struct {
	strict    bool // unknown keys are errors everywhere
	path      []string
	at        *fieldNode // what package schema knows of the figures at path; nil if nothing
	problems  []Problem
	nulls     []place // nulls that the schema allows
	forbidden []place // nulls that it does not allow
}

// place is a value's path and line.
type place struct {
	path []string
	line int
}

func paths(places []place) []string {
	var out []string
	for _, p := range places {
		out = append(out, strings.Join(p.path, "."))
	}
	return out
}

func (c *checker) add(line int, format string, args ...any) { c.report(line, false, format, args...) }

func (c *checker) warn(line int, format string, args ...any) { c.report(line, true, format, args...) }

func (c *checker) report(line int, warning bool, format string, args ...any) {
	c.problems = append(c.problems, Problem{
		Line: line, Path: strings.Join(c.path, "."), Message: fmt.Sprintf(format, args...), Warning: warning,
	})
}

// in runs f with step appended to the path.
func (c *checker) in(step string, f func()) {
	c.path = append(c.path, step)
	f()
	c.path = c.path[:len(c.path)-1]
}

func (c *checker) place(v *value) place { return place{slices.Clone(c.path), v.line} }

// check checks v against n. Its errors are those that JSON Schema defines. Its
// warnings go beyond JSON Schema: they are about implausible values.
func (c *checker) check(n *node, v *value) {
	if n.isAny() {
		return // null is a value here: a setting that is None, or no threshold
	}
	if v.kind == kindNull && n.nullable() {
		c.nulls = append(c.nulls, c.place(v))
		return
	}
	orNull := n.nullable()
	n = n.resolve()
	orNull = orNull || n.nullable()
	if !n.allows(v) {
		if v.kind == kindNull {
			c.forbidden = append(c.forbidden, c.place(v))
		}
		c.add(v.line, "expected %s, found %s", expected(n, orNull), v.describe())
		return
	}
	if n.Enum != nil && !slices.ContainsFunc(n.Enum, func(s *string) bool { return s != nil && *s == v.text }) {
		var names []string
		for _, s := range n.Enum {
			if s != nil {
				names = append(names, *s)
			}
		}
		c.add(v.line, "expected one of %s, found %s", list(names, orNull), v.describe())
	}
	if n.Const != nil {
		if x, ok := v.float(); !ok || x != float64(*n.Const) {
			c.add(v.line, "expected %d, found %s", *n.Const, v.describe())
		}
	}
	switch v.kind {
	case kindNumber:
		c.plausible(v)
	case kindArray:
		c.array(n, v)
	case kindObject:
		c.object(n, v)
	}
}

// allows reports whether the value's type is one of the schema's.
func (n *node) allows(v *value) bool {
	if len(n.Type) == 0 {
		return true
	}
	return n.kinds[v.kind] || n.isInteger && v.kind == kindNumber && isInteger(v.text)
}

func expected(n *node, orNull bool) string {
	var names []string
	for _, t := range n.Type {
		if t != "null" {
			names = append(names, t)
		}
	}
	return list(names, orNull)
}

// list joins alternatives, as "a, b or c".
func list(names []string, orNull bool) string {
	if orNull {
		names = append(names, "null")
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func (c *checker) array(n *node, v *value) {
	if len(v.elems) < n.MinItems || n.MaxItems != nil && len(v.elems) > *n.MaxItems {
		want := "at least " + strconv.Itoa(n.MinItems)
		if n.MaxItems != nil {
			want = strconv.Itoa(*n.MaxItems)
		}
		c.add(v.line, "expected %s elements, found %d", want, len(v.elems))
	}
	if n.Items == nil {
		return
	}
	group := c.at
	c.at = group.index()
	for i, e := range v.elems {
		c.in(strconv.Itoa(i), func() { c.check(n.Items, e) })
	}
	c.at = group
}

func (c *checker) object(n *node, v *value) {
	next := 0 // vobs writes the keys in the order of the schema
	for _, key := range n.Required {
		for next < len(v.members) && v.members[next].key != key && !slices.Contains(n.Required, v.members[next].key) {
			next++
		}
		switch {
		case next < len(v.members) && v.members[next].key == key:
			next++
		case v.get(key) == nil:
			c.in(key, func() { c.add(v.line, "the key is missing") })
		}
	}
	group := c.at
	defer func() { c.at = group }()
	for i := range v.members {
		m := &v.members[i]
		if m.hidden {
			continue
		}
		c.at = group.step(m.key)
		c.in(m.key, func() {
			switch known := n.child(m.key); {
			case known != nil:
				c.check(known, m.value)
			case n.Additional == nil && !c.strict:
				c.warn(m.line, "unknown key, ignored: this version of vobs does not know it")
			case n.name == "Core":
				c.add(m.line, "unknown key: the core has eight keys, and consumers reject any other; a full event has a schema_version")
			default:
				c.add(m.line, "unknown key")
			}
		})
	}
	c.consistent(n.name, v)
}

// unexplained returns the nulls that no entry of event's `unavailable` explains,
// except those that mean "does not apply".
func unexplained(event *value, nulls []place) []place {
	reasons := map[string]bool{}
	if u := event.get("unavailable"); u != nil {
		for _, e := range u.elems {
			if field := e.get("field"); field != nil && field.kind == kindString {
				reasons[field.text] = true
			}
		}
	}
	var out []place
	for _, n := range nulls {
		if !isExplained(n.path, reasons) && !notApplicable(event, n.path) {
			out = append(out, n)
		}
	}
	return out
}

// isExplained reports whether there is a reason for a path or for a group above it.
func isExplained(path []string, reasons map[string]bool) bool {
	full, end := strings.Join(path, "."), -1
	for _, step := range path {
		if end += 1 + len(step); reasons[full[:end]] {
			return true
		}
	}
	return false
}

// notApplicable reports whether a null at path means that the key does not apply
// to this event, rather than that it could not be measured.
func notApplicable(event *value, path []string) bool {
	var pattern []string
	for _, step := range path {
		if _, err := strconv.Atoi(step); err == nil {
			step = "*"
		}
		pattern = append(pattern, step)
	}
	run := event.get("run")
	partial := event.get("partial")
	running := partial != nil && partial.kind == kindBool && partial.text == "true"
	switch strings.Join(pattern, ".") {
	case "engine.requests.running.mean_bounds", "engine.requests.waiting.mean_bounds":
		return true
	case "diagnosis", "client": // not asked for
		return true
	case "client.slo", "client.goodput", "client.find_max", "client.warmup": // not asked for
		return true
	case "client.find_max.rate", "client.find_max.proven.*": // there is none
		return true
	case "run.signal", "run.start_error", "gpus.*.mig_of", "engine.stage", "engine.instances.*.stage",
		"engine.instances.*.replica", "validity.*.evidence",
		"series.curves.*.max.*", "series.curves.*.mean.*":
		return true
	case "run.ended_at":
		return running
	case "run.exit_code":
		return running || run.get("signal").given() || run.get("start_error").given()
	}
	n := len(path)
	switch {
	case path[n-1] == "above":
		return true
	case n > 1 && path[n-1] == "1" && (strings.HasSuffix(path[n-2], "_bounds") || path[n-2] == "p99_interval"):
		return true // nothing bounds the figure from above
	}
	return n > 2 && path[n-1] == "0" && path[n-3] == "buckets" // the bucket's bound is +Inf
}

// plausible warns about numbers that are impossible for the figure.
func (c *checker) plausible(v *value) {
	if len(c.path) == 0 {
		return
	}
	x, ok := v.float()
	if !ok {
		if math.IsInf(x, 0) {
			c.warn(v.line, "%s does not fit a 64-bit float", clip(v.text))
		}
		return
	}
	if c.at == nil || c.at.field == nil {
		return
	}
	switch f := c.at.field; {
	case f.Impossible(x) == "":
	case f.Unit == UnitFraction:
		c.warn(v.line, "expected a fraction from 0 to 1, found %s", v.text)
	default:
		c.warn(v.line, "expected no negative number, found %s", v.text)
	}
}

// consistent warns about figures within one object that contradict each other.
// name is the name of the object's definition.
func (c *checker) consistent(name string, v *value) {
	switch name {
	case "CacheHits", "KVTier":
		c.atMost(v, "hits", "queries")
	case "Speculative":
		c.atMost(v, "accepted_tokens", "draft_tokens")
	case "Gauge", "RequestGauge":
		c.atMost(v, "last", "peak")
		if method := v.get("method"); !method.given() || method.text == "polled" {
			c.atMost(v, "mean", "peak")
		}
		c.withinBounds(v, "mean", "mean_bounds")
	case "MeanMax":
		c.atMost(v, "mean", "max")
	case "GPU":
		c.atMost(v, "peak_bytes", "memory_total_bytes")
		c.atMost(v, "baseline_bytes", "peak_bytes")
	case "Distribution":
		c.quantiles(v)
	case "ClientDistribution":
		for i, name := range []string{"p90", "p95", "p99", "max"} {
			c.atMost(v, []string{"p50", "p90", "p95", "p99"}[i], name)
		}
		c.withinBounds(v, "p99", "p99_interval")
	case "ClientRequests":
		c.atMost(v, "completed", "started")
	case "Run":
		if v.get("exit_code").given() && (v.get("signal").given() || v.get("start_error").given()) {
			c.in("exit_code", func() {
				c.warn(v.get("exit_code").line, "expected null: a signal killed the command, or it never started")
			})
		}
	}
}

// quantiles checks a distribution's estimates against each other and against
// `above`.
func (c *checker) quantiles(v *value) {
	estimates := []string{"p50_est", "p90_est", "p95_est", "p99_est"}
	given := 0
	for i, name := range estimates {
		if v.get(name).given() {
			given++
		}
		if i > 0 {
			c.atMost(v, estimates[i-1], name)
		}
	}
	for i, name := range estimates {
		c.withinBounds(v, name, []string{"p50_bounds", "p90_bounds", "p95_bounds", "p99_bounds"}[i])
	}
	if above := v.get("above"); above.given() && given == len(estimates) {
		c.in("above", func() { c.warn(above.line, "expected null: no estimate lies beyond the highest bucket bound") })
	}
}

// withinBounds warns if the member name lies outside the interval in the member bounds, or
// if the interval is empty.
func (c *checker) withinBounds(v *value, name, bounds string) {
	b := v.get(bounds)
	if b == nil || b.kind != kindArray || len(b.elems) != 2 {
		return
	}
	low, hasLow := b.elems[0].float()
	high, hasHigh := b.elems[1].float()
	if hasLow && hasHigh && low > high {
		c.in(bounds, func() {
			c.warn(b.line, "the lower end is greater than the upper one: %s > %s", b.elems[0].text, b.elems[1].text)
		})
		return
	}
	x, ok := v.get(name).float()
	if !ok {
		return
	}
	slack := 1e-9 * math.Abs(x)
	if hasLow && x < low-slack || hasHigh && x > high+slack {
		c.in(name, func() { c.warn(v.get(name).line, "outside %s: %s", bounds, v.get(name).text) })
	}
}

// atMost warns if the member low is greater than the member high. Numbers with a
// fraction may differ by rounding errors.
func (c *checker) atMost(v *value, low, high string) {
	a, ok := v.get(low).float()
	b, ok2 := v.get(high).float()
	if !ok || !ok2 {
		return
	}
	slack := 1e-9 * math.Abs(b)
	if isInteger(v.get(low).text) && isInteger(v.get(high).text) {
		slack = 0
	}
	if a > b+slack {
		c.in(low, func() { c.warn(v.get(low).line, "greater than %s: %s > %s", high, v.get(low).text, v.get(high).text) })
	}
}
