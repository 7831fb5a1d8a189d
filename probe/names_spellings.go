package probe

import (
	"slices"
	"strings"
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

// withSpellings gives all rows in every spelling, one spelling after the other, so
// that a better one is a newer name.
func withSpellings(own []row) []row {
	out := make([]row, 0, int(spellings)*len(own))
	for s := range spellings {
		for _, r := range own {
			if r.figure != processStart { // prometheus_client's name, of whatever process
				r.name = s.of(r.name)
			}
			out = append(out, r)
		}
	}
	return out
}

// spellingOf tells a row's spelling.
func spellingOf(row int) spelling { return spelling(row / (len(rows) / int(spellings))) }

// isVLLM says whether a row is of the engine's figures, not of its process.
func isVLLM(row int) bool { return rows[row].figure != processStart }

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
