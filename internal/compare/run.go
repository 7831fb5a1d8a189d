package compare

import (
	"fmt"
	"hash/fnv"
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

// Run is what a comparison needs of an event. It is small, so that 100,000 runs take little
// memory: its numbers are in the table of its [Reader], and runs that were made alike share what
// describes that.
type Run struct {
	*made
	table    *table
	row      int32
	duration float32 // in seconds
	source   *string // the name of the file that the event comes from
	started  int64   // in microseconds since 1970
	pair     uint64  // a hash of the label of the run's pair in vobs ab; 0 without one
}

func (r *Run) get(column int) float64 { return r.table.get(int(r.row), column) }

func (r *Run) set(column int, x float64) { r.table.set(int(r.row), column, x) }

// value returns the value of a metric, NaN if it is null.
func (r *Run) value(metric int) float64 { return r.get(valueOf(metric)) }

func (r *Run) startTime() time.Time { return time.UnixMicro(r.started) }

// after returns the time from the end of another run to the start of this one.
func (r *Run) after(other *Run) time.Duration {
	return time.Duration(r.started-other.started)*time.Microsecond - time.Duration(float64(other.duration)*float64(time.Second))
}

// whyNull returns why a metric is null.
func (r *Run) whyNull(metric int) string {
	if r.get(lowOf(metric)) != r.get(highOf(metric)) && !math.IsNaN(r.get(highOf(metric))) {
		return "the limit lies within a bucket of the engine's histogram: use the bound of a bucket, or serve with one there"
	}
	return r.why[metric]
}

// maxReasons is how many different reasons for null metrics a [Reader] keeps. Some have numbers
// of the run in them.
const maxReasons = 1000

// Reader reduces events to runs of the metrics.
type Reader struct {
	Metrics []Metric

	table    *table             // of its own: the runs keep it, and not the rest of the reader
	ids      map[digest]*string // where the event of a run was read, by the run's id
	made     map[madeKey]*made
	setups   map[digest]*setup
	strings  map[string]*string // that runs share
	settings map[setting]*setting
	reasons  map[string]bool
}

// Read reduces one event; source names where it comes from. It is an error if an event of the
// same run was read before: a run counts once.
func (r *Reader) Read(e *schema.GenerationObservability, source string) (*Run, error) {
	if r.ids == nil {
		r.ids = map[digest]*string{}
	}
	id := digestOf([]byte(e.Run.ID))
	if before := r.ids[id]; before != nil {
		return nil, fmt.Errorf("%s: run %s was read from %s already: a run counts once", source, e.Run.ID, *before)
	}
	r.ids[id] = r.shared(source)
	return r.Run(e, source), nil
}

// Run reduces one event, as Read does, of a run that is known to be another one.
func (r *Reader) Run(e *schema.GenerationObservability, source string) *Run {
	if r.table == nil {
		r.table = &table{}
	}
	run := &Run{table: r.table, row: int32(r.table.addRow()), source: r.shared(source), duration: float32(e.Run.DurationSeconds)}
	if pair := e.Run.Labels[LabelPair]; pair != "" {
		hash := fnv.New64a()
		hash.Write([]byte(pair))
		run.pair = max(1, hash.Sum64())
	}
	started, _ := time.Parse(time.RFC3339Nano, e.Run.StartedAt)
	run.started = started.UnixMicro()
	for i, path := range lengths {
		if x, ok := figure(e, path); ok {
			run.set(columnLengths+i, x)
		}
	}
	requests, failed := outcomes(e)
	run.set(columnRequests, requests)
	run.set(columnFailed, failed)
	m := madeOf(e)
	m.settings = r.settingsOf(e, run)
	m.labels = r.labelsOf(e)
	m.why = make([]string, len(r.Metrics))
	m.isBound = make([]bool, len(r.Metrics))
	for i := range r.Metrics {
		metric := &r.Metrics[i]
		known := false
		if metric.limit > 0 {
			var s share
			if s, known = metric.shareOf(e); known {
				m.isBound[i] = s.isBound
				run.set(lowOf(i), s.low)
				run.set(highOf(i), s.high)
			}
		} else {
			var x float64
			if x, known = figure(e, metric.path); known {
				run.set(valueOf(i), x)
			}
			if metric.count != "" && known {
				if rate, ok := metric.windowRate(e); ok {
					run.set(lowOf(i), rate)
				}
			}
		}
		if !known {
			m.why[i] = r.reason(e.Reason(metric.path))
		}
	}
	run.made = r.sharedMade(m)
	return run
}

// reason returns why, or "" if there were too many different reasons already.
func (r *Reader) reason(why string) string {
	switch {
	case why == "" || r.reasons[why]:
		return why
	case len(r.reasons) == maxReasons:
		return ""
	case r.reasons == nil:
		r.reasons = map[string]bool{}
	}
	why = strings.Clone(why)
	r.reasons[why] = true
	return why
}

// outcomes returns the number of requests that finished, and the share of failed ones: of those
// that were aborted or ended in an error, or of the responses with an error.
func outcomes(e *schema.GenerationObservability) (requests, failed float64) {
	requests, failed = math.NaN(), math.NaN()
	if e.Engine == nil {
		return requests, failed
	}
	if q := e.Engine.Requests; q != nil && q.Finished != nil {
		requests = 0
		for _, n := range q.Finished {
			requests += float64(n)
		}
		if requests > 0 {
			failed = float64(q.Finished["abort"]+q.Finished["error"]) / requests
		}
	}
	var responses, errors float64
	for class, n := range e.Engine.HTTP {
		responses += float64(n)
		if class == "4xx" || class == "5xx" {
			errors += float64(n)
		}
	}
	if responses > 0 && !(failed > errors/responses) {
		failed = errors / responses
	}
	return requests, failed
}

// FromAB reports whether all runs are part of a vobs ab.
func FromAB(runs []*Run) bool {
	return !slices.ContainsFunc(runs, func(r *Run) bool { return !r.ab })
}

// over is the condition of what the rates are over: the active time or the whole window.
const over = "engine.throughput.over"

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
	{over, false, func(e *schema.GenerationObservability) string {
		if e.Engine == nil || e.Engine.Throughput == nil {
			return ""
		}
		return text(e.Engine.Throughput.Over)
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
