package schema

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Figure is a figure of one event.
type Figure struct {
	// Path in the event, as gpus.0.peak_bytes. A * of the pattern remains if the event
	// has null instead of the list or map.
	Path string
	// Value is nil if the figure is null, absent, or in a group that is null.
	Value *float64
}

// Figures returns the figures of e at a path, which may be a pattern of [Fields]: * stands
// for every index or key, in order. An index or key that the event does not have is a null
// figure; a * for an empty list or map yields nothing. The path must be one that [FieldAt]
// accepts.
func (e *GenerationObservability) Figures(path string) []Figure {
	var out []Figure
	e.walk(path, func(path string, v reflect.Value) {
		f := Figure{Path: path}
		switch {
		case !v.IsValid():
		case v.CanInt():
			f.Value = Ptr(float64(v.Int()))
		case v.CanFloat():
			f.Value = Ptr(v.Float())
		}
		out = append(out, f)
	})
	return out
}

// DistributionAt is a distribution of one event.
type DistributionAt struct {
	// Path in the event, as for [Figure].
	Path string
	// Distribution is nil if it is null, absent, or in a group that is null.
	*Distribution
}

// Distributions returns the distributions of e at a path, as [GenerationObservability.Figures]
// does for figures.
func (e *GenerationObservability) Distributions(path string) []DistributionAt {
	var out []DistributionAt
	e.walk(path, func(path string, v reflect.Value) {
		d := DistributionAt{Path: path}
		if v.IsValid() && v.CanAddr() {
			d.Distribution, _ = v.Addr().Interface().(*Distribution)
		}
		out = append(out, d)
	})
	return out
}

// IsDistribution reports whether path, which may be a pattern, is that of a [Distribution].
func IsDistribution(path string) bool {
	f, ok := FieldAt(path + ".p95_est")
	return ok && f.Kind == KindQuantile
}

// Bounds returns the proven bounds of the 50th, 90th, 95th or 99th percentile. They are nil
// for other percentiles, and in events of versions of vobs that did not write bounds.
func (d *Distribution) Bounds(percentile int) *Bounds {
	switch percentile {
	case 50:
		return d.P50Bounds
	case 90:
		return d.P90Bounds
	case 95:
		return d.P95Bounds
	case 99:
		return d.P99Bounds
	}
	return nil
}

// InCore reports whether the figure at path belongs to the core.
func InCore(path string) bool {
	key, _, _ := strings.Cut(path, ".")
	_, ok := jsonField(reflect.TypeFor[Core](), key)
	return ok
}

// Reason returns why the figure at path is null: the entry of `unavailable` for the path or
// for the nearest group above it, or "" if there is none.
func (e *GenerationObservability) Reason(path string) string {
	for path != "" {
		for _, u := range e.Unavailable {
			if u.Field == path {
				return u.Reason
			}
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return ""
}

// walk calls yield for every value at a path, with the zero Value for what is null.
func (e *GenerationObservability) walk(path string, yield func(path string, v reflect.Value)) {
	walkSteps(reflect.ValueOf(e).Elem(), nil, strings.Split(path, "."), yield)
}

// walkSteps follows steps from v, which is at the path done.
func walkSteps(v reflect.Value, done, steps []string, yield func(string, reflect.Value)) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	isNull := !v.IsValid() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.IsNil()
	if isNull || len(steps) == 0 {
		if isNull {
			v = reflect.Value{}
		}
		yield(strings.Join(slices.Concat(done, steps), "."), v)
		return
	}
	into := func(v reflect.Value, step string, rest []string) {
		walkSteps(v, append(slices.Clone(done), step), rest, yield)
	}
	step, rest := steps[0], steps[1:]
	switch v.Kind() {
	case reflect.Struct:
		var field reflect.Value
		if f, ok := jsonField(v.Type(), step); ok {
			field = v.FieldByIndex(f.Index)
		}
		into(field, step, rest)
	case reflect.Slice, reflect.Array:
		if step == "*" {
			for i := range v.Len() {
				into(v.Index(i), strconv.Itoa(i), rest)
			}
			return
		}
		var element reflect.Value
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < v.Len() {
			element = v.Index(i)
		}
		into(element, step, rest)
	case reflect.Map:
		if step == "*" {
			keys := map[string]reflect.Value{}
			for _, key := range v.MapKeys() {
				keys[key.String()] = v.MapIndex(key)
			}
			for _, key := range slices.Sorted(maps.Keys(keys)) {
				into(keys[key], key, rest)
			}
			return
		}
		if kind := v.Type().Elem().Kind(); kind != reflect.Struct && kind != reflect.Map && kind != reflect.Slice {
			step, rest = strings.Join(steps, "."), nil // a key may hold dots
		}
		into(v.MapIndex(reflect.ValueOf(step)), step, rest)
	default: // nothing is below a number
		yield(strings.Join(slices.Concat(done, steps), "."), reflect.Value{})
	}
}

// jsonFields holds the fields of each struct type by their JSON keys, those of embedded structs
// included: a map[string]reflect.StructField for each reflect.Type that was looked at.
var jsonFields sync.Map

// jsonField returns the field of a struct with a JSON key.
func jsonField(t reflect.Type, key string) (reflect.StructField, bool) {
	known, ok := jsonFields.Load(t)
	if !ok {
		fields := map[string]reflect.StructField{}
		for _, f := range reflect.VisibleFields(t) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && !f.Anonymous {
				fields[name] = f
			}
		}
		known, _ = jsonFields.LoadOrStore(t, fields)
	}
	f, ok := known.(map[string]reflect.StructField)[key]
	return f, ok
}
