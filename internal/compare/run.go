package compare

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vobs/vobs/schema"
)

// Labels that vobs ab puts on its events.
const (
	LabelSide     = "ab.side"     // A or B
	LabelPair     = "ab.pair"     // the number of the pair, from 1
	LabelPosition = "ab.position" // the position of the run in the whole sequence, from 1
	LabelSession  = "session"     // runs of one session share what drifts between sessions
)

// Run is what a comparison needs of an event. It is small, so that many thousands fit into
// memory.
type Run struct {
	// Source names the file and the line that the event comes from.
	Source string
	// Started is when the command was started.
	Started time.Time
	// Duration is how long the command ran.
	Duration time.Duration
	// Pair is the run's pair in vobs ab; "" without one.
	Pair string

	ab        bool                  // the run is part of a vobs ab
	values    []value               // of the metrics, in their order
	facts     []string              // of the conditions, in their order; "" if unknown
	lengths   [len(lengths)]float64 // NaN if unknown
	settings  map[string]string
	named     []string // settings that the command line or the user named
	codes     []schema.Code
	endpoints string
	command   string
	session   string // its label; "" without one
	host      string
}

func (r *Run) ended() time.Time { return r.Started.Add(r.Duration) }

// Reader reduces events to runs. It shares what many of them have in common. The zero value
// of strings is ready to use.
type Reader struct {
	Metrics []Metric
	strings map[string]string
}

// Run reduces one event; source names where it comes from.
func (r *Reader) Run(e *schema.GenerationObservability, source string) *Run {
	run := &Run{
		Source: source, Pair: r.intern(e.Run.Labels[LabelPair]), command: r.intern(strings.Join(e.Run.Command, " ")),
		session: r.intern(e.Run.Labels[LabelSession]), host: r.intern(e.Run.Hostname),
		Duration: time.Duration(float64(e.Run.DurationSeconds) * float64(time.Second)),
		values:   make([]value, len(r.Metrics)), facts: make([]string, len(conditions)),
	}
	_, run.ab = e.Run.Labels[LabelSide]
	run.Started, _ = time.Parse(time.RFC3339Nano, e.Run.StartedAt)
	for i := range r.Metrics {
		run.values[i] = r.Metrics[i].valueOf(e)
		run.values[i].why = r.intern(run.values[i].why)
	}
	for i, c := range conditions {
		run.facts[i] = r.intern(c.of(e))
	}
	for i, path := range lengths {
		run.lengths[i] = math.NaN()
		if x, ok := figure(e, path); ok {
			run.lengths[i] = x
		}
	}
	for _, v := range e.Validity {
		if code := schema.Code(r.intern(string(v.Code))); !slices.Contains(run.codes, code) {
			run.codes = append(run.codes, code)
		}
	}
	if e.Partial {
		run.codes = append(run.codes, partial)
	}
	if e.Engine != nil {
		for _, endpoint := range e.Engine.Endpoints {
			run.endpoints += endpoint.URL + " "
		}
		run.endpoints = r.intern(run.endpoints)
		if e.Engine.Config != nil {
			run.settings = r.settings(e.Engine.Config.Values)
		}
	}
	for _, name := range e.FlagsChecked {
		run.named = append(run.named, r.intern(name))
	}
	for _, f := range e.FlagsUnchecked {
		run.named = append(run.named, r.intern(f.Flag))
	}
	return run
}

// settings returns the settings as JSON texts.
func (r *Reader) settings(values map[string]any) map[string]string {
	out := make(map[string]string, len(values))
	for name, v := range values {
		if b, err := json.Marshal(v); err == nil {
			out[r.intern(name)] = r.intern(string(b))
		}
	}
	return out
}

func (r *Reader) intern(s string) string {
	if r.strings == nil {
		r.strings = map[string]string{}
	}
	if known, ok := r.strings[s]; ok {
		return known
	}
	s = strings.Clone(s)
	r.strings[s] = s
	return s
}

// FromAB reports whether all runs are part of a vobs ab.
func FromAB(runs []*Run) bool {
	return !slices.ContainsFunc(runs, func(r *Run) bool { return !r.ab })
}

// A condition must be alike on both sides.
type condition struct {
	field string
	// matters reports whether a difference makes the sides incomparable.
	matters bool
	of      func(*schema.GenerationObservability) string
}

// conditions are compared as texts. Settings, lengths and validity are compared apart.
var conditions = []condition{
	{"gpus", true, gpuModels},
	{"gpus.driver_version", true, func(e *schema.GenerationObservability) string {
		return distinct(usedGPUs(e), func(g *schema.GPU) string { return text(g.DriverVersion) })
	}},
	{"engine.version", true, func(e *schema.GenerationObservability) string {
		if e.Engine == nil {
			return ""
		}
		return distinct(pointers(e.Engine.Endpoints), func(p *schema.Endpoint) string { return text(p.Version) })
	}},
	{"engine.models", true, func(e *schema.GenerationObservability) string {
		if e.Engine == nil {
			return ""
		}
		return strings.Join(slices.Sorted(slices.Values(e.Engine.Models)), ", ")
	}},
	{"engine.instances", true, func(e *schema.GenerationObservability) string {
		if e.Engine == nil || len(e.Engine.Instances) == 0 {
			return ""
		}
		return strconv.Itoa(len(e.Engine.Instances))
	}},
	{"host.hostname", false, func(e *schema.GenerationObservability) string { return e.Run.Hostname }},
	{"host.cpu_count", true, func(e *schema.GenerationObservability) string {
		if e.Host == nil || e.Host.CPUCount == nil {
			return ""
		}
		return strconv.Itoa(*e.Host.CPUCount)
	}},
	{"run.vobs_version", false, func(e *schema.GenerationObservability) string { return e.Run.VobsVersion }},
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// distinct returns the different texts of a list, but for empty ones.
func distinct[T any](list []*T, of func(*T) string) string {
	var out []string
	for _, x := range list {
		if s := of(x); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// usedGPUs returns the GPUs that the command used, or all if that is unknown.
func usedGPUs(e *schema.GenerationObservability) []*schema.GPU {
	var used, all []*schema.GPU
	for _, g := range pointers(e.GPUs) {
		all = append(all, g)
		if g.UsedByJob != nil && *g.UsedByJob {
			used = append(used, g)
		}
	}
	if len(used) > 0 {
		return used
	}
	return all
}

// gpuModels returns how many GPUs of which model, as 2 x NVIDIA H100.
func gpuModels(e *schema.GenerationObservability) string {
	count := map[string]int{}
	for _, g := range usedGPUs(e) {
		count[g.Name]++
	}
	var out []string
	for name, n := range count {
		out = append(out, strconv.Itoa(n)+" x "+name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
