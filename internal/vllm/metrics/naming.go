package metrics

import (
	"iter"
	"slices"
	"strings"
	"sync"
)

// Naming is how a page writes vLLM's metric names.
//
// Under Ray, vLLM's metrics go through ray.util.metrics, whose names have no colon:
// RayPrometheusStatLogger (vllm/v1/metrics/ray_wrappers.py) replaces every character
// except letters, digits and _ by _, and Ray's agent on the node prepends the namespace
// ray_ (python/ray/_private/metrics_agent.py; the panels of Ray's own Grafana dashboard
// have ray_vllm:… from before that change and ray_vllm_… since). Other collectors rename
// in the same way, without the namespace. So does prometheus_client 0.26.0 in
// OpenMetrics, but only for sample names.
//
// A page under Ray is the node's:
//   - it has the series of all workers, which the label WorkerId distinguishes;
//   - it exports counters a second time as gauges, under the name without _total
//     (RAY_EXPORT_COUNTER_AS_GAUGE); those are not read;
//   - a counter appears with its first increment (RayCounterWrapper.inc skips 0);
//   - a worker's counts arrive every 10 s (metrics_report_interval_ms in
//     src/ray/common/ray_config_def.h).
type Naming int

// The namings, best first. If a page has several, only the best one is read.
const (
	Native      Naming = iota // vllm:x
	Ray                       // ray_vllm_x
	RayColon                  // ray_vllm:x
	Underscored               // vllm_x
	NumNamings                // the number of namings
)

// Format returns how a page with the naming writes one of vLLM's names.
func (n Naming) Format(name string) string {
	switch n {
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

// DescID identifies a [Desc] in one naming. It is the index into descs plus len(descs)
// for every better naming, so that of two IDs of a metric the lower one is the newer or
// better name.
type DescID int

// NumDescs returns the number of DescIDs, from 0.
func NumDescs() int { return int(NumNamings) * len(descs) }

// Desc returns the description of the name.
func (id DescID) Desc() *Desc { return &descs[int(id)%len(descs)] }

// Metric returns the metric that the name is of.
func (id DescID) Metric() ID { return id.Desc().Metric }

// Naming returns the naming that the name is in.
func (id DescID) Naming() Naming { return Naming(int(id) / len(descs)) }

// Name returns the name as a page with that naming writes it.
func (id DescID) Name() string { return id.Desc().nameIn(id.Naming()) }

// IsVLLM reports whether the metric is the engine's. The others are those of a process or of
// its HTTP front end, which any process may export.
func (id DescID) IsVLLM() bool { return id.Metric().isVLLM() }

func (m ID) isVLLM() bool { return m != ProcessStart && !m.IsServer() }

// nameIn returns the desc's name in a naming. The metrics that are not vLLM's have the same
// name in each.
func (d *Desc) nameIn(n Naming) string {
	if !d.Metric.isVLLM() {
		return d.name
	}
	return n.Format(d.name)
}

// Descs yields the metric's names in every naming, the best naming and in it the newest
// name first.
func (m ID) Descs() iter.Seq[DescID] {
	return func(yield func(DescID) bool) {
		for n := range NumNamings {
			for _, i := range descsByMetric()[m] {
				if !yield(DescID(int(n)*len(descs) + i)) {
					return
				}
			}
		}
	}
}

// descsByMetric returns the indices into descs of every metric.
var descsByMetric = sync.OnceValue(func() [][]int {
	indices := make([][]int, NumMetrics)
	for i := range descs {
		indices[descs[i].Metric] = append(indices[descs[i].Metric], i)
	}
	return indices
})

// Lookup returns what a sample or family name refers to; ok is false if the name is not
// read.
func Lookup(name string) (m Match, ok bool) {
	if m, ok = nativeNames()[name]; ok {
		return m, true
	}
	naming := Underscored
	rest, ray := strings.CutPrefix(name, "ray_")
	if ray {
		naming = Ray
	}
	if !strings.HasPrefix(rest, "vllm") {
		return Match{}, false
	}
	if m, ok = underscoredNames()[rest]; !ok && ray {
		m, ok = nativeNames()[rest]
		naming = RayColon
	}
	if !ok || !m.Desc.IsVLLM() {
		return Match{}, false
	}
	m.Desc += DescID(int(naming) * len(descs))
	return m, true
}

// IsWanted reports whether the samples and TYPE lines of a name are kept: because it is read,
// or because its presence is noted, see [UnreadFamily].
func IsWanted(name string) bool {
	if _, ok := Lookup(name); ok {
		return true
	}
	_, ok := UnreadFamily(name)
	return ok
}

// The tables are built when the first page is read: most runs need only one, and a run
// without an engine needs neither.
var (
	nativeNames      = sync.OnceValue(func() map[string]Match { return matchTable(Native) })
	underscoredNames = sync.OnceValue(func() map[string]Match { return matchTable(Underscored) })
)

// PollNamesIn returns PollNames, and with omni OmniPollNames too, as a page with the
// naming writes them.
func PollNamesIn(n Naming, omni bool) []string {
	out := slices.Clone(PollNames)
	if omni {
		out = append(out, OmniPollNames...)
	}
	for i, name := range out {
		if name != ProcessStartName {
			out[i] = n.Format(name)
		}
	}
	return out
}
