package metrics

import (
	"iter"
	"slices"
	"strings"
	"sync"
)

// Naming is how a page writes vLLM's names.
//
// Under Ray, vLLM's metrics go through ray.util.metrics, whose names have no colon:
// RayPrometheusStatLogger (vllm/v1/metrics/ray_wrappers.py) writes _ for every
// character but letters, digits and _, and Ray's agent on the node puts the namespace
// ray_ in front (python/ray/_private/metrics_agent.py; the panels of Ray's own Grafana
// dashboard have ray_vllm:… of before that and ray_vllm_… since). Other collectors on
// the way rename the same way, without the namespace; so does prometheus_client 0.26.0
// in OpenMetrics, with the samples' names alone.
//
// A page under Ray is the node's: it has the series of all its workers, told apart by
// WorkerId; counters are exported once more as gauges of the name without _total
// (RAY_EXPORT_COUNTER_AS_GAUGE), which are no samples of any figure; a counter is there
// from its first increment on (RayCounterWrapper.inc leaves out 0); and what a worker
// counts is passed on every 10 s (metrics_report_interval_ms in src/ray/common/
// ray_config_def.h).
type Naming int

// The spellings, best first: where a page has several, only the first is read.
const (
	Native Naming = iota // vllm:x
	Ray                  // ray_vllm_x
	RayColon
	Underscored // vllm_x
	NumNamings  // how many they are
)

// Spell spells one of vLLM's names.
func (s Naming) Spell(name string) string {
	switch s {
	case Ray:
		return "ray_" + underscored(name)
	case RayColon:
		return "ray_" + name
	case Underscored:
		return underscored(name)
	}
	return name
}

func underscored(name string) string { return strings.ReplaceAll(name, ":", "_") }

// DescID is a row in one spelling: its place in rows, and len(rows) more for every
// better spelling, so that a better one is a newer name.
type DescID int

func (id DescID) Desc() *Desc    { return &Descs[int(id)%len(Descs)] }
func (id DescID) Metric() ID     { return id.Desc().Metric }
func (id DescID) Naming() Naming { return Naming(int(id) / len(Descs)) }

// Name is the row's name as a page with that spelling has it.
func (id DescID) Name() string { return nameIn(id.Naming(), id.Desc()) }

// IsVLLM says whether a row is of the engine's figures, not of its process.
func (id DescID) IsVLLM() bool { return id.Metric() != ProcessStart }

// nameIn spells a row's name. What prometheus_client tells of whatever process is
// spelled alike everywhere.
func nameIn(s Naming, r *Desc) string {
	if r.Metric == ProcessStart {
		return r.name
	}
	return s.Spell(r.name)
}

// NumDescs is how many rows there are, in all spellings.
func NumDescs() int { return int(NumNamings) * len(Descs) }

// DescsOf gives the rows of a figure in every spelling, the newest first.
func DescsOf(f ID) iter.Seq[DescID] {
	return func(yield func(DescID) bool) {
		for s := range NumNamings {
			for _, i := range DescsByMetric()[f] {
				if !yield(DescID(int(s)*len(Descs) + i)) {
					return
				}
			}
		}
	}
}

// DescsByMetric tells every figure's places in rows.
var DescsByMetric = sync.OnceValue(func() [][]int {
	places := make([][]int, NumMetrics)
	for i := range Descs {
		places[Descs[i].Metric] = append(places[Descs[i].Metric], i)
	}
	return places
})

// Lookup tells what a sample's or family's name is of; ok is false for one that
// is not read.
func Lookup(name string) (w Match, ok bool) {
	if w, ok = nativeNames()[name]; ok {
		return w, true
	}
	s := Underscored
	rest, ray := strings.CutPrefix(name, "ray_")
	if ray {
		s = Ray
	}
	if !strings.HasPrefix(rest, "vllm") {
		return Match{}, false
	}
	if w, ok = underscoredNames()[rest]; !ok && ray {
		w, ok = nativeNames()[rest]
		s = RayColon
	}
	if !ok || !w.Desc.IsVLLM() {
		return Match{}, false
	}
	w.Desc += DescID(int(s) * len(Descs))
	return w, true
}

func IsWanted(name string) bool {
	_, ok := Lookup(name)
	return ok
}

// Built when the first page is read, for most runs have one spelling, and some no
// engine at all.
var (
	nativeNames      = sync.OnceValue(func() map[string]Match { return matchTable(Native) })
	underscoredNames = sync.OnceValue(func() map[string]Match { return matchTable(Underscored) })
)

// PollNamesIn are PollNames, and vllm-omni's where it is one, as a page with that
// spelling has them.
func PollNamesIn(s Naming, omni bool) []string {
	out := slices.Clone(PollNames)
	if omni {
		out = append(out, OmniPollNames...)
	}
	for i, name := range out {
		if name != ProcessStartName {
			out[i] = s.Spell(name)
		}
	}
	return out
}
