package compare

import (
	"encoding/json"
	"fmt"
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
// memory: runs that were made alike share what describes that.
type Run struct {
	// Source names the file that the event comes from.
	Source string
	// Started is when the command was started.
	Started time.Time
	// Duration is how long the command ran.
	Duration time.Duration
	// Pair is the run's pair in vobs ab; "" without one.
	Pair string

	ab      bool                  // the run is part of a vobs ab
	session string                // its label; "" without one
	values  []float64             // of the metrics, in their order; NaN if null
	shares  map[int]share         // of the metrics that are shares of requests
	rates   map[int]float64       // over the whole window, of the metrics that are rates
	lengths [len(lengths)]float64 // NaN if unknown
	// requests is the number of requests that finished, and failed the share of those, and of
	// the responses, that failed; NaN if unknown.
	requests, failed float64
	*made
}

// made describes how a run was made.
type made struct {
	host      string
	command   string
	endpoints string
	facts     []string          // of the conditions, in their order; "" if unknown
	settings  map[string]string // of the engine, as JSON
	named     []string          // settings that the command line or the user named
	codes     []schema.Code
	labels    map[string]string // but those of vobs ab and of the session
	why       []string          // why each metric is null, in their order
}

func (r *Run) ended() time.Time { return r.Started.Add(r.Duration) }

// whyNull returns why a metric is null.
func (r *Run) whyNull(metric int) string {
	if s, ok := r.shares[metric]; ok && s.low != s.high {
		return "the limit lies within a bucket of the engine's histogram: use the bound of a bucket, or serve with one there"
	}
	return r.why[metric]
}

// Reader reduces events to runs of the metrics.
type Reader struct {
	Metrics []Metric

	ids     map[string]string // where the event of a run was read, by the run's id
	made    map[string]*made  // by their own text
	strings map[string]string // that runs share
}

// Read reduces one event; source names where it comes from. It is an error if an event of the
// same run was read before: a run counts once.
func (r *Reader) Read(e *schema.GenerationObservability, source string) (*Run, error) {
	if r.ids == nil {
		r.ids = map[string]string{}
	}
	if before, ok := r.ids[e.Run.ID]; ok {
		return nil, fmt.Errorf("%s: run %s was read from %s already: a run counts once", source, e.Run.ID, before)
	}
	r.ids[strings.Clone(e.Run.ID)] = source
	return r.Run(e, source), nil
}

// Run reduces one event, as Read does, of a run that is known to be another one.
func (r *Reader) Run(e *schema.GenerationObservability, source string) *Run {
	run := &Run{
		Source: source, Pair: r.shared(e.Run.Labels[LabelPair]), session: r.shared(e.Run.Labels[LabelSession]),
		Duration: time.Duration(float64(e.Run.DurationSeconds) * float64(time.Second)),
		values:   make([]float64, len(r.Metrics)),
	}
	_, run.ab = e.Run.Labels[LabelSide]
	run.Started, _ = time.Parse(time.RFC3339Nano, e.Run.StartedAt)
	for i, path := range lengths {
		run.lengths[i] = math.NaN()
		if x, ok := figure(e, path); ok {
			run.lengths[i] = x
		}
	}
	run.requests, run.failed = outcomes(e)
	m := madeOf(e)
	for i := range r.Metrics {
		x, why := math.NaN(), ""
		if metric := &r.Metrics[i]; metric.limit > 0 {
			if s, ok := metric.shareOf(e); ok {
				if run.shares == nil {
					run.shares = map[int]share{}
				}
				run.shares[i] = s
			} else {
				why = e.Reason(metric.path)
			}
		} else if value, ok := figure(e, metric.path); ok {
			x = value
			if metric.count != "" {
				if rate, ok := metric.windowRate(e); ok {
					if run.rates == nil {
						run.rates = map[int]float64{}
					}
					run.rates[i] = rate
				}
			}
		} else {
			why = e.Reason(metric.path)
		}
		run.values[i] = x
		m.why = append(m.why, why)
	}
	run.made = r.sharedMade(m)
	return run
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

// madeOf returns how a run was made, but for why metrics are null.
func madeOf(e *schema.GenerationObservability) *made {
	m := &made{host: e.Run.Hostname, command: strings.Join(e.Run.Command, " ")}
	for _, c := range conditions {
		m.facts = append(m.facts, c.of(e))
	}
	for _, v := range e.Validity {
		if !slices.Contains(m.codes, v.Code) {
			m.codes = append(m.codes, v.Code)
		}
	}
	if e.Partial {
		m.codes = append(m.codes, partial)
	}
	if len(e.Run.Leftovers) > 0 {
		m.codes = append(m.codes, leftovers)
	}
	for name, value := range e.Run.Labels {
		if name != LabelSide && name != LabelPair && name != LabelPosition && name != LabelSession {
			if m.labels == nil {
				m.labels = map[string]string{}
			}
			m.labels[name] = value
		}
	}
	if e.Engine != nil {
		for _, endpoint := range e.Engine.Endpoints {
			m.endpoints += endpoint.URL + " "
		}
		if e.Engine.Config != nil {
			m.settings = make(map[string]string, len(e.Engine.Config.Values))
			for name, v := range e.Engine.Config.Values {
				if b, err := json.Marshal(v); err == nil {
					m.settings[name] = string(b)
				}
			}
		}
	}
	m.named = append(m.named, e.FlagsChecked...)
	for _, f := range e.FlagsUnchecked {
		m.named = append(m.named, f.Flag)
	}
	return m
}

// sharedMade returns what is equal to m and known already, or m.
func (r *Reader) sharedMade(m *made) *made {
	key := fmt.Sprintf("%q", *m)
	if known := r.made[key]; known != nil {
		return known
	}
	if r.made == nil {
		r.made = map[string]*made{}
	}
	r.made[key] = m
	return m
}

// shared returns a copy of s that runs share.
func (r *Reader) shared(s string) string {
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
