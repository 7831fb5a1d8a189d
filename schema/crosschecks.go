package schema

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// notes checks the paths in `unavailable` and `validity`. A path that does not
// exist in the event is a typo, and readers would not find the reason for the
// figure that was meant.
func (c *checker) notes(root *node, event *value) {
	if u := event.get("unavailable"); u != nil {
		for i, e := range u.elems {
			c.path = []string{"unavailable", strconv.Itoa(i)}
			field := e.get("field")
			if field == nil || field.kind != kindString {
				continue
			}
			found := false
			for v := range resolvePath(root, event, field.text) {
				found = true
				if v != nil && (v.kind == kindNumber || v.kind == kindString) {
					c.in("field", func() { c.warn(field.line, "%s is not null: found %s", clip(field.text), v.describe()) })
				}
				break
			}
			if !found {
				c.in("field", func() { c.warn(field.line, "%q does not exist in the event", clip(field.text)) })
			}
			if reason := e.get("reason"); reason != nil && reason.kind == kindString && strings.TrimSpace(reason.text) == "" {
				c.in("reason", func() { c.warn(reason.line, "empty: expected the reason why the figure is missing") })
			}
		}
	}
	if n := event.get("validity"); n != nil {
		for i, e := range n.elems {
			field := e.get("evidence").get("field")
			if field == nil || field.kind != kindString {
				continue
			}
			found := false
			for range resolvePath(root, event, field.text) {
				found = true
				break
			}
			if !found {
				c.path = []string{"validity", strconv.Itoa(i), "evidence", "field"}
				c.warn(field.line, "%q does not exist in the event", clip(field.text))
			}
		}
	}
	c.path = nil
}

// resolvePath yields what a path such as gpus.0.uuid refers to: the value, or nil
// for a key that the schema knows but that is absent or in a group that is null.
// Keys may contain dots (labels do), so a path can refer to several values.
func resolvePath(n *node, v *value, path string) func(yield func(*value) bool) {
	return func(yield func(*value) bool) {
		if path != "" {
			walkPath(n, v, path, yield)
		}
	}
}

func walkPath(n *node, v *value, path string, yield func(*value) bool) bool {
	if path == "" {
		return yield(v)
	}
	if n = n.resolve(); n != nil && n.isAny() {
		n = nil
	}
	if v != nil && v.kind == kindArray {
		i, rest, ok := index(path)
		if !ok || i >= len(v.elems) {
			return true
		}
		var items *node
		if n != nil {
			items = n.Items
		}
		return walkPath(items, v.elems[i], rest, yield)
	}
	if v != nil && v.kind == kindObject {
		present := false
		for _, m := range v.members {
			rest, ok := after(path, m.key)
			if ok && !walkPath(n.child(m.key), m.value, rest, yield) {
				return false
			}
			present = present || ok
		}
		if present {
			return true
		}
	} else if v.given() {
		return true // a scalar has no parts
	}
	return walkSchema(n, path, yield)
}

// walkSchema follows a path through the schema, where the event has no value.
func walkSchema(n *node, path string, yield func(*value) bool) bool {
	if path == "" {
		return yield(nil)
	}
	if n = n.resolve(); n == nil {
		return true
	}
	if n.isAny() {
		return yield(nil)
	}
	if n.Items != nil {
		_, rest, ok := index(path)
		return !ok || walkSchema(n.Items, rest, yield)
	}
	for key, p := range n.Properties {
		if rest, ok := after(path, key); ok && !walkSchema(p, rest, yield) {
			return false
		}
	}
	if n.Additional != nil && n.Additional.schema != nil {
		return yield(nil) // any key of a map
	}
	return true
}

// index cuts the first step off a path if it is an array index.
func index(path string) (i int, rest string, ok bool) {
	step, rest, more := strings.Cut(path, ".")
	i, err := strconv.Atoi(step)
	return i, rest, err == nil && i >= 0 && more == (rest != "")
}

// after cuts the first step off a path if it is key.
func after(path, key string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, key)
	if !ok || rest == "" {
		return "", ok
	}
	rest, ok = strings.CutPrefix(rest, ".")
	return rest, ok && rest != ""
}

// crossChecks warns about figures in different groups of a full event that
// contradict each other.
func (c *checker) crossChecks(event *value) {
	engaged := event.get("flag_did_not_engage")
	mismatches := event.get("flag_mismatches")
	if engaged != nil && engaged.kind == kindBool && mismatches != nil {
		checked := 0 // of the settings that flag_did_not_engage covers
		for _, m := range mismatches.elems {
			name, _, _ := strings.Cut(m.text, ":")
			if slices.Contains(CheckedFields[:], name) {
				checked++
			}
		}
		if (engaged.text == "true") != (checked > 0) {
			c.in("flag_did_not_engage", func() {
				c.warn(engaged.line, "%s, but flag_mismatches has %d entries for the settings that it covers", engaged.text, checked)
			})
		}
	}
	c.peak(event)
	run := event.get("run")
	for _, name := range []string{"started_at", "ended_at"} {
		c.in("run", func() { c.in(name, func() { c.time(run.get(name)) }) })
	}
}

// peak checks the core's peak against those of the devices.
func (c *checker) peak(event *value) {
	peak, ok := event.get("peak_vram_gb").float()
	gpus := event.get("gpus")
	if !ok || gpus == nil || len(gpus.elems) == 0 {
		return
	}
	const gib = 1 << 30
	var highest float64
	for _, g := range gpus.elems {
		x, ok := g.get("peak_bytes").float()
		if !ok {
			return // the core's peak may be that of this device
		}
		highest = math.Max(highest, x/gib)
	}
	if peak > highest+1e-6 {
		c.in("peak_vram_gb", func() {
			c.warn(event.get("peak_vram_gb").line, "greater than the highest peak of any device, %s GiB", strconv.FormatFloat(highest, 'f', -1, 64))
		})
	}
}

// time warns about a time that is not in UTC or not in the format of RFC 3339.
func (c *checker) time(v *value) {
	if v == nil || v.kind != kindString {
		return
	}
	if t, err := time.Parse(time.RFC3339Nano, v.text); err != nil {
		c.warn(v.line, "expected a time such as 2026-11-21T10:00:00.123Z, found %s", v.describe())
	} else if _, offset := t.Zone(); offset != 0 {
		c.warn(v.line, "expected a time in UTC, found %s", v.describe())
	}
}
