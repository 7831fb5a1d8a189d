package schema

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Field describes one numeric figure of the event, or a list or map of such
// figures. Text, booleans and values of any type (settings, evidence) are not
// figures.
//
// The descriptions are tags of the event's types:
//
//	PeakBytes *int64 `json:"peak_bytes" kind:"sampled peak" unit:"bytes" better:"lower"`
//
// kind is set on every figure. unit and better may also be set on a group; they
// hold for the figures below that do not set their own, so that a [Distribution]
// of seconds has a mean and quantiles in seconds.
type Field struct {
	// Path of the figure in the event, with * for an index or a map's key, as
	// gpus.*.peak_bytes or engine.requests.finished.*.
	Path   string
	Unit   Unit
	Kind   Kind
	Better Direction
}

// Unit is what a figure is counted in. Most are a plain noun, as tokens, or a
// quotient, as tokens/second. It is "" for a figure that names something.
type Unit string

// The most common units. Others occur in tags only.
const (
	UnitBytes        Unit = "bytes"
	UnitGibibytes    Unit = "GiB" // 2^30 bytes; in the core only
	UnitSeconds      Unit = "seconds"
	UnitMilliseconds Unit = "milliseconds"
	UnitFraction     Unit = "fraction" // of a whole: 0..1
	UnitJoules       Unit = "joules"
	UnitWatts        Unit = "watts"
	UnitCelsius      Unit = "celsius"
)

// Kind is how a figure came about, and so how far it can be trusted.
type Kind string

// The kinds of figures.
const (
	KindCounter       Kind = "counter"       // an exact count or amount, over the run or its window
	KindRatio         Kind = "ratio"         // a counter divided by another one or by a time
	KindMean          Kind = "mean"          // an exact mean: a sum divided by a count
	KindQuantile      Kind = "quantile"      // an estimate from a histogram's buckets
	KindPercentile    Kind = "percentile"    // an exact percentile of the observations
	KindEstimate      Kind = "estimate"      // another figure that rests on polls
	KindSampledMean   Kind = "sampled mean"  // the mean of periodic readings
	KindSampledPeak   Kind = "sampled peak"  // the highest of periodic readings: a lower bound
	KindDifference    Kind = "difference"    // one mean less another; it may be negative
	KindPeak          Kind = "peak"          // an exact maximum, kept by the kernel or an allocator
	KindReading       Kind = "reading"       // one reading, at a fixed moment
	KindDuration      Kind = "duration"      // a time span by the monotonic clock
	KindInstant       Kind = "instant"       // a moment relative to the command's start; negative before it
	KindBound         Kind = "bound"         // a limit of what the figures beside it can express
	KindCoverage      Kind = "coverage"      // how well other figures were measured
	KindConfiguration Kind = "configuration" // set by someone, not measured
	KindIdentity      Kind = "identity"      // names something: an index, a process id, an exit code
)

// Direction is which values of a figure mean a better run, all else being equal.
type Direction string

// The directions of figures.
const (
	HigherIsBetter Direction = "higher"
	LowerIsBetter  Direction = "lower"
	NeitherBetter  Direction = "neither"
)

// Fields returns the description of every figure, in the order of the event.
func Fields() []Field { return slices.Clone(registry().fields) }

// Impossible returns why the figure cannot have a value, as "a fraction is from 0 to 1", or ""
// if it can.
func (f Field) Impossible(x float64) string {
	switch {
	case f.Unit == UnitFraction && (x < 0 || x > 1):
		return "a fraction is from 0 to 1"
	case x < 0 && f.Unit != UnitCelsius && f.Kind != KindInstant && f.Kind != KindDifference:
		return "it cannot be negative"
	}
	return ""
}

// FieldAt returns the description of the figure at path, which may be a pattern
// of [Fields] or a path in a particular event, as gpus.0.peak_bytes. It reports
// false if there is no figure at path.
func FieldAt(path string) (Field, bool) { return fieldAt(strings.Split(path, ".")) }

func fieldAt(steps []string) (Field, bool) {
	n := &registry().root
	for i, step := range steps {
		if n = n.step(step); n == nil {
			return Field{}, false
		}
		// A map's key may hold dots, so that the rest of the path is one key.
		if n.inMap && i < len(steps)-1 && n.field != nil {
			break
		}
	}
	if n.field == nil {
		return Field{}, false
	}
	return *n.field, true
}

// isIndex reports whether a step of a path is the index of a list.
func isIndex(step string) bool {
	i, err := strconv.Atoi(step)
	return err == nil && i >= 0
}

// fieldNode is one step in the paths of figures.
type fieldNode struct {
	children map[string]*fieldNode
	field    *Field // nil for a group
	inMap    bool   // the step is a map's key
}

// step returns the node below n for one step of a path, or nil if there is none.
func (n *fieldNode) step(step string) *fieldNode {
	if n == nil {
		return nil
	}
	if next := n.children[step]; next != nil {
		return next
	}
	if next := n.children["*"]; next != nil && (next.inMap || isIndex(step)) {
		return next
	}
	return nil
}

// index returns the node below n for any index of a list, or nil if n is not one.
func (n *fieldNode) index() *fieldNode {
	if n == nil {
		return nil
	}
	return n.children["*"]
}

type fieldRegistry struct {
	fields []Field
	root   fieldNode
}

// registry is built at first use: vobs starts with every command, and most runs
// need no description of a figure.
var registry = sync.OnceValue(func() *fieldRegistry {
	r := &fieldRegistry{}
	r.addStruct(&r.root, "", reflect.TypeFor[GenerationObservability](), Field{})
	return r
})

// addStruct adds the figures of a struct. Its fields inherit the unit and the
// direction of group.
func (r *fieldRegistry) addStruct(at *fieldNode, prefix string, t reflect.Type, group Field) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			r.addStruct(at, prefix, f.Type, group)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		d := Field{Kind: Kind(f.Tag.Get("kind")), Unit: group.Unit, Better: group.Better}
		if unit, ok := f.Tag.Lookup("unit"); ok {
			d.Unit = Unit(unit)
		}
		if better, ok := f.Tag.Lookup("better"); ok {
			d.Better = Direction(better)
		}
		r.add(at.child(name), prefix+name, f.Type, d)
	}
}

// add adds the figures of a value of type t at path.
func (r *fieldRegistry) add(at *fieldNode, path string, t reflect.Type, d Field) {
	switch t.Kind() {
	case reflect.Pointer:
		r.add(at, path, t.Elem(), d)
	case reflect.Struct:
		r.addStruct(at, path+".", t, d)
	case reflect.Slice, reflect.Array, reflect.Map:
		child := at.child("*")
		child.inMap = t.Kind() == reflect.Map
		r.add(child, path+".*", t.Elem(), d)
	case reflect.Int, reflect.Int64, reflect.Float64:
		d.Path = path
		if d.Better == "" {
			d.Better = NeitherBetter
		}
		r.fields = append(r.fields, d)
		at.field = &d
	}
}

func (n *fieldNode) child(step string) *fieldNode {
	if n.children == nil {
		n.children = map[string]*fieldNode{}
	}
	if n.children[step] == nil {
		n.children[step] = &fieldNode{}
	}
	return n.children[step]
}

// ShortName is a name for a figure or a [Distribution] that is often looked for.
type ShortName struct {
	Name string
	// Path of the figure or the distribution; a pattern of [Fields] if every GPU has one.
	Path string
}

// ShortNames returns all short names, by subject.
func ShortNames() []ShortName {
	const latency = "engine.latency_seconds."
	return []ShortName{
		{"peak_vram", "peak_vram_gb"},
		{"gpu_memory", "gpus.*.peak_bytes"},
		{"job_memory", "gpus.*.job_peak_bytes"},
		{"gpu_utilization", "gpus.*.utilization.mean"},
		{"gpu_power", "gpus.*.power_watts.mean"},
		{"gpu_temperature", "gpus.*.temperature_celsius_max"},
		{"gpu_throttled", "gpus.*.throttled_fraction"},

		{"ttft", latency + "time_to_first_token"},
		{"itl", latency + "inter_token_latency"},
		{"tpot", latency + "time_per_output_token"},
		{"e2e", latency + "e2e_request_latency"},
		{"queue_time", latency + "request_queue_time"},
		{"prefill_time", latency + "request_prefill_time"},
		{"decode_time", latency + "request_decode_time"},
		{"inference_time", latency + "request_inference_time"},

		{"generation_tokens_per_second", "engine.throughput.generation_tokens_per_second"},
		{"prompt_tokens_per_second", "engine.throughput.prompt_tokens_per_second"},
		{"requests_per_second", "engine.throughput.requests_per_second"},
		{"generation_tokens_per_second_per_gpu", "efficiency.generation_tokens_per_second_per_gpu"},
		{"joules_per_generation_token", "efficiency.joules_per_generation_token"},
		{"joules_per_request", "efficiency.joules_per_request"},

		{"generation_tokens", "engine.tokens.generation"},
		{"prompt_tokens", "engine.tokens.prompt"},
		{"preemptions", "engine.requests.preemptions"},
		{"running_peak", "engine.requests.running.peak"},
		{"waiting_peak", "engine.requests.waiting.peak"},
		{"batch_utilization", "engine.requests.batch_utilization"},
		{"kv_cache_peak", "engine.kv_cache.usage.peak"},
		{"kv_cache_mean", "engine.kv_cache.usage.mean"},
		{"prefix_cache_hit_rate", "prefix_cache_hit_rate"},
		{"spec_accept_rate", "spec_accept_rate"},

		{"duration", "run.duration_seconds"},
		{"cpu_seconds", "host.tree_cpu_seconds"},
		{"peak_rss", "host.tree_peak_rss_bytes"},
	}
}

// Field returns the description of the figure, or of a distribution's quantiles.
func (n ShortName) Field() Field {
	f, ok := FieldAt(n.Path)
	if !ok {
		f, _ = FieldAt(n.Path + ".p95_est")
	}
	return f
}

// ExpandShortName returns the path that begins with a short name, as ttft.p95, with the short
// name replaced by its own path. Other paths are returned unchanged.
func ExpandShortName(path string) string {
	name, rest, more := strings.Cut(path, ".")
	for _, n := range ShortNames() {
		if n.Name == name {
			if more {
				return n.Path + "." + rest
			}
			return n.Path
		}
	}
	return path
}
