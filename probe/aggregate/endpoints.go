package aggregate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/schema"
)

// maxUnix is the end of the year 9999 in Unix time: the event cannot show later times.
const maxUnix = 253402300800

func (v view) endpointList() []schema.Endpoint {
	var out []schema.Endpoint
	sameRole := v.split == nil // otherwise the settings are those of one role's servers
	for i, e := range v.endpoints {
		entry := schema.Endpoint{URL: e.Name, Source: e.source(), GaugesFrom: schema.Ptr(e.gaugesFrom())}
		path := fmt.Sprintf("engine.endpoints.%d.", i)
		if e.Version != "" {
			entry.Version = schema.Ptr(e.Version)
		} else if version, ok := v.settings.common["vllm_version"].Value.(string); ok && sameRole {
			entry.Version = &version
		} else if e.Files {
			v.Notes.Missing(path+"version", "the engine's metric files do not include it")
		} else {
			v.Notes.Missing(path+"version", cmp.Or(e.whyNotQueryable(), e.Answers.Version.Reason, "the server was gone before /version could be queried"))
		}
		if seconds, ok := e.Counters.ProcessStart(); ok && seconds < maxUnix {
			started := time.UnixMilli(int64(math.Round(seconds * 1e3))).UTC().Format("2006-01-02T15:04:05.999Z07:00")
			entry.ProcessStartTime = &started
		} else {
			why := "the page has no process_start_time_seconds (prometheus_client omits it in multiprocess mode)"
			switch n := len(e.Counters.ProcessStarts()); {
			case e.Counters.Naming != metrics.Native || e.Counters.Collector:
				why = "the page is not the engine's own but a metrics collector's"
			case n > 1:
				why = fmt.Sprintf("the page has the process_start_time_seconds of %d processes (merged pages, as by Istio's agent?), and which one is the engine's is unknown", n)
			case n == 1:
				why = "the page's process_start_time_seconds is not a date"
			}
			v.Notes.Missing(path+"process_start_time", why)
		}
		out = append(out, entry)
	}
	return out
}

// models returns the served model names of all endpoints, sorted.
func (v view) models() []string {
	var out []string
	for _, e := range v.endpoints {
		out = append(out, e.Counters.Models()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
