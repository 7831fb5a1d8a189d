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
			case e.isCopied():
				why = copiedPage
			case n > 1:
				why = fmt.Sprintf("the page has the process_start_time_seconds of %d processes (merged pages, as by Istio's agent?), and which one is the engine's is unknown", n)
			case n == 1:
				why = "the page's process_start_time_seconds is not a date"
			}
			v.Notes.Missing(path+"process_start_time", why)
		}
		if seconds, why := e.cpuSeconds(); why == "" {
			entry.CPUSeconds = schema.F(math.Round(seconds*1e6) / 1e6) // a difference of two floats
		} else {
			v.Notes.Missing(path+"cpu_seconds", why)
		}
		out = append(out, entry)
	}
	return out
}

// copiedPage is the reason why a page shows nothing of the process that it comes from.
const copiedPage = "the page is not the engine's own but a metrics collector's"

// isCopied reports whether the page was copied from the engine by another program.
func (e *endpoint) isCopied() bool {
	return e.Counters.Naming != metrics.Native || e.Counters.Collector
}

// cpuSeconds returns the CPU time that the process behind the page used.
func (e *endpoint) cpuSeconds() (seconds float64, why string) {
	name := metrics.ProcessCPU.CanonicalName()
	switch {
	case e.Files:
		return 0, "the engine's metric files do not include it"
	case e.isCopied():
		return 0, copiedPage
	case !e.Counters.EverExported(metrics.ProcessCPU):
		return 0, "the page has no " + name + " (prometheus_client omits it in multiprocess mode)"
	}
	desc, why := e.Counters.SelectDesc(metrics.ProcessCPU)
	if why != "" {
		return 0, why
	}
	found := 0
	for _, m := range e.Counters.Metrics() {
		if m.Desc != desc {
			continue
		}
		if why := e.whyUnusable(m); why != "" {
			return 0, why
		}
		found++
		seconds = m.Gain()
	}
	switch found {
	case 0:
		return 0, "the page declares " + name + " but has no sample of it"
	case 1:
		return seconds, ""
	}
	return 0, fmt.Sprintf("the page has the %s of %d processes, and which one is the engine's is unknown", name, found)
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
