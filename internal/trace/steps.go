package trace

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"
)

// StepKind is what an engine step computes.
type StepKind string

// The kinds of steps.
const (
	Prefill StepKind = "prefill" // prompts alone
	Decode  StepKind = "decode"  // one token, or a few, of each request
	Mixed   StepKind = "mixed"   // both, by chunked prefill
)

// A step is one annotation of the engine.
type step struct {
	start, end       int64
	id               int64  // of the annotation, 0 if unknown
	context          counts // requests whose prompt is computed
	generation       counts
	hasTokens, valid bool
}

// counts are the requests of a step and their tokens.
type counts struct{ requests, tokens int64 }

func (s *step) kind() StepKind {
	switch {
	case s.generation.requests == 0:
		return Prefill
	case s.context.requests == 0:
		return Decode
	}
	return Mixed
}

// IsStep reports whether an annotation may be one of an engine step.
func IsStep(name []byte) bool { return bytes.HasPrefix(name, []byte("execute_")) }

// parseStep reads vLLM's annotation of an engine step (annotate_profile in
// vllm/v1/worker/gpu_worker.py), which vLLM 0.32 writes as
//
//	execute_context_REQUESTS(TOKENS)_generation_REQUESTS(TOKENS)
//
// with (sqTOKENSsk…) in place of (TOKENS) if detailed_trace_annotation is set. Older
// versions write execute_new_REQUESTS_cached_REQUESTS, where new requests are those scheduled for
// the first time.
func parseStep(name []byte) (s step) {
	read := func(prefix string, c *counts) bool {
		rest, ok := bytes.CutPrefix(name, []byte(prefix))
		if !ok {
			return false
		}
		if c.requests, rest, ok = leadingInt(rest); !ok {
			return false
		}
		if inside, found := bytes.CutPrefix(rest, []byte("(")); found {
			inside, after, closed := bytes.Cut(inside, []byte(")"))
			inside = bytes.TrimPrefix(inside, []byte("sq"))
			if c.tokens, _, ok = leadingInt(inside); !ok || !closed {
				return false
			}
			s.hasTokens = true
			rest = after
		}
		name = rest
		return true
	}
	s.valid = read("execute_context_", &s.context) && read("_generation_", &s.generation) && len(name) == 0 ||
		read("execute_new_", &s.context) && read("_cached_", &s.generation) && len(name) == 0
	s.valid = s.valid && s.context.requests+s.generation.requests > 0
	return s
}

func leadingInt(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && i < 18 && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	n, err := strconv.ParseInt(string(b[:i]), 10, 64)
	return n, b[i:], err == nil
}

// AddStep adds an annotation of the engine on the timeline of the CPU. Others are ignored.
func (c *Collector) AddStep(start, end int64, name []byte) {
	addStep(c, &c.steps, start, end, 0, name)
}

// AddDeviceStep adds an annotation of the engine on the timeline of a device: from the first
// to the last of what was launched in it. There may be one for each stream, with the same id; 0 is
// an unknown id.
func (c *Collector) AddDeviceStep(device int, start, end, id int64, name []byte) {
	if d := c.devices[device]; d != nil {
		addStep(c, &d.steps, start, end, id, name)
		return
	}
	if IsStep(name) && len(c.devices) < maxDevices {
		d := &deviceOps{id: device, streams: map[int64]bool{}, first: math.MaxInt64, last: math.MinInt64}
		c.devices[device] = d
		addStep(c, &d.steps, start, end, id, name)
	}
}

func addStep(c *Collector, steps *[]step, start, end, id int64, name []byte) {
	s := parseStep(name)
	if !s.valid || end < start {
		return
	}
	if len(*steps) == maxSteps {
		c.Note("the trace has more than %d steps: the others are left out", maxSteps)
		return
	}
	s.start, s.end, s.id = start, end, id
	*steps = append(*steps, s)
}

// A window is the time from the start of a step to that of the next one.
type window struct {
	step
	until  int64 // the start of the next step, or the end of the last one
	last   bool
	tracks [numTracks]int64 // ns
}

// windowsOf returns the windows of steps. Annotations with the same id are one step, on several
// streams of a device; without ids those that overlap and are alike.
func windowsOf(steps []step) []window {
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.start, b.start) })
	var out []window
	byID := map[int64]int{}
	for _, s := range steps {
		n := len(out) - 1
		same, known := byID[s.id]
		if s.id == 0 {
			same, known = n, n >= 0 && s.start < out[n].end && s.context == out[n].context && s.generation == out[n].generation
		}
		if known {
			out[same].end = max(out[same].end, s.end)
			continue
		}
		byID[s.id] = len(out)
		if n >= 0 {
			out[n].until = s.start
		}
		out = append(out, window{step: s})
	}
	if n := len(out) - 1; n >= 0 {
		out[n].until, out[n].last = out[n].end, true
	}
	return out
}

// StepGroup has the steps of one kind on one timeline.
type StepGroup struct {
	File string `json:"file"`
	// Device is nil for the timeline of the CPU.
	Device *int     `json:"device"`
	Kind   StepKind `json:"kind"`
	Count  int      `json:"count"`
	// PeriodSeconds is the time from the start of a step to the start of the next one.
	PeriodSeconds *Distribution `json:"period_seconds"`
	// Seconds is the length of the annotation: on a device from the first to the last kernel.
	Seconds *Distribution `json:"seconds"`
	// Requests and tokens are means over the steps. Tokens are nil if the annotations do not have them.
	ContextRequests    float64  `json:"context_requests"`
	ContextTokens      *float64 `json:"context_tokens"`
	GenerationRequests float64  `json:"generation_requests"`
	GenerationTokens   *float64 `json:"generation_tokens"`
	// BusyFraction is the share of the periods in which the device did something, and
	// ClassSeconds the mean time of each class in a period. Nil on the timeline of the CPU.
	BusyFraction *float64           `json:"busy_fraction"`
	ClassSeconds map[string]float64 `json:"class_seconds"`
}

// Distribution summarizes times in seconds.
type Distribution struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// distributionOf returns nil if there are no values. A quantile is the smallest value that at
// least this share of the values does not exceed.
func distributionOf(ns []int64) *Distribution {
	if len(ns) == 0 {
		return nil
	}
	slices.Sort(ns)
	sum := 0.0
	for _, x := range ns {
		sum += seconds(x)
	}
	at := func(q float64) float64 {
		return seconds(ns[min(max(int(math.Ceil(q*float64(len(ns))))-1, 0), len(ns)-1)])
	}
	return &Distribution{sum / float64(len(ns)), at(0.5), at(0.99), seconds(ns[len(ns)-1])}
}

// groupSteps returns the steps by kind. device is nil for the timeline of the CPU.
func groupSteps(file string, device *int, windows []window) (out []StepGroup) {
	for _, kind := range []StepKind{Prefill, Mixed, Decode} {
		g := StepGroup{File: file, Device: device, Kind: kind}
		var periods, lengths []int64
		var context, generation counts
		var busy, period int64
		var classes [numClasses]int64
		tokens := true
		for i := range windows {
			w := &windows[i]
			if w.kind() != kind {
				continue
			}
			g.Count++
			tokens = tokens && w.hasTokens
			lengths = append(lengths, w.end-w.start)
			context.requests += w.context.requests
			context.tokens += w.context.tokens
			generation.requests += w.generation.requests
			generation.tokens += w.generation.tokens
			if w.last {
				continue
			}
			periods = append(periods, w.until-w.start)
			period += w.until - w.start
			busy += w.tracks[anything]
			for c := range classes {
				classes[c] += w.tracks[c]
			}
		}
		if g.Count == 0 {
			continue
		}
		mean := func(sum int64) float64 { return float64(sum) / float64(g.Count) }
		g.ContextRequests, g.GenerationRequests = mean(context.requests), mean(generation.requests)
		if tokens {
			c, t := mean(context.tokens), mean(generation.tokens)
			g.ContextTokens, g.GenerationTokens = &c, &t
		}
		g.Seconds, g.PeriodSeconds = distributionOf(lengths), distributionOf(periods)
		if device != nil && period > 0 {
			fraction := float64(busy) / float64(period)
			g.BusyFraction = &fraction
			g.ClassSeconds = map[string]float64{}
			for c, ns := range classes {
				g.ClassSeconds[Class(c).String()] = seconds(ns) / float64(len(periods))
			}
		}
		out = append(out, g)
	}
	return out
}
