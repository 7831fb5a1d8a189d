package probe

import (
	"iter"
	"slices"
	"strings"
	"sync"
)

// spelling is how a page writes vLLM's names.
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
type spelling int

// The spellings, best first: where a page has several, only the first is read.
const (
	ownSpelling spelling = iota // vllm:x
	raySpelling                 // ray_vllm_x
	rayColonSpelling
	plainSpelling // vllm_x
	spellings     // how many they are
)

// of spells one of vLLM's names.
func (s spelling) of(name string) string {
	switch s {
	case raySpelling:
		return "ray_" + underscored(name)
	case rayColonSpelling:
		return "ray_" + name
	case plainSpelling:
		return underscored(name)
	}
	return name
}

func underscored(name string) string { return strings.ReplaceAll(name, ":", "_") }

// rowID is a row in one spelling: its place in rows, and len(rows) more for every
// better spelling, so that a better one is a newer name.
type rowID int

func (id rowID) row() *row          { return &rows[int(id)%len(rows)] }
func (id rowID) figure() figure     { return id.row().figure }
func (id rowID) spelling() spelling { return spelling(int(id) / len(rows)) }

// name is the row's name as a page with that spelling has it.
func (id rowID) name() string { return spelledIn(id.spelling(), id.row()) }

// isVLLM says whether a row is of the engine's figures, not of its process.
func (id rowID) isVLLM() bool { return id.figure() != processStart }

// spelledIn spells a row's name. What prometheus_client tells of whatever process is
// spelled alike everywhere.
func spelledIn(s spelling, r *row) string {
	if r.figure == processStart {
		return r.name
	}
	return s.of(r.name)
}

// rowIDs is how many rows there are, in all spellings.
func rowIDs() int { return int(spellings) * len(rows) }

// rowsOf gives the rows of a figure in every spelling, the newest first.
func rowsOf(f figure) iter.Seq[rowID] {
	return func(yield func(rowID) bool) {
		for s := range spellings {
			for _, i := range placesOf()[f] {
				if !yield(rowID(int(s)*len(rows) + i)) {
					return
				}
			}
		}
	}
}

// placesOf tells every figure's places in rows.
var placesOf = sync.OnceValue(func() [][]int {
	places := make([][]int, figureCount)
	for i := range rows {
		places[rows[i].figure] = append(places[rows[i].figure], i)
	}
	return places
})

// lookup tells what a sample's or family's name is of; ok is false for one that
// is not read.
func lookup(name string) (w wanted, ok bool) {
	if w, ok = ownNames()[name]; ok {
		return w, true
	}
	s := plainSpelling
	rest, ray := strings.CutPrefix(name, "ray_")
	if ray {
		s = raySpelling
	}
	if !strings.HasPrefix(rest, "vllm") {
		return wanted{}, false
	}
	if w, ok = underscoredNames()[rest]; !ok && ray {
		w, ok = ownNames()[rest]
		s = rayColonSpelling
	}
	if !ok || !w.row.isVLLM() {
		return wanted{}, false
	}
	w.row += rowID(int(s) * len(rows))
	return w, true
}

func isWanted(name string) bool {
	_, ok := lookup(name)
	return ok
}

// Built when the first page is read, for most runs have one spelling, and some no
// engine at all.
var (
	ownNames         = sync.OnceValue(func() map[string]wanted { return wantedNames(ownSpelling) })
	underscoredNames = sync.OnceValue(func() map[string]wanted { return wantedNames(plainSpelling) })
)

// pollNamesIn are pollNames, and vllm-omni's where it is one, as a page with that
// spelling has them.
func pollNamesIn(s spelling, omni bool) []string {
	out := slices.Clone(pollNames)
	if omni {
		out = append(out, omniPollNames...)
	}
	for i, name := range out {
		if name != processStartName {
			out[i] = s.of(name)
		}
	}
	return out
}
