// Package dcgm reads how much of each GPU was used from the pages of a dcgm-exporter, NVIDIA's
// exporter of DCGM's fields for Prometheus.
//
// A page has one sample of each field and GPU, such as
//
//	DCGM_FI_PROF_SM_ACTIVE{gpu="0",UUID="GPU-…",device="nvidia0",modelName="…",Hostname="…"} 0.932123
//
// with the labels of pods and jobs, if the exporter knows them. A MIG instance has the UUID of its
// GPU and the labels GPU_I_PROFILE and GPU_I_ID (dcgm-exporter, internal/pkg/rendermetrics;
// expcollector.go before 4.0).
//
// DCGM aggregates a profiling field over the interval at which it is collected
// (dcgmProfWatchFields_v1, updateFreq), which is 30 s unless the exporter is started with
// --collect-interval. Between two updates a page shows the same value again and again, and the
// first update within a run covers time before it. So what counts are the updates, seen by a change
// of values between two pages, from the second one within the run on.
//
// The package is pure: it has no clock and no network.
package dcgm

import (
	"fmt"
	"time"

	"github.com/vobs/vobs/probe/exposition"
)

// Figure is one of the fields that are read.
type Figure int

// The fields that are read.
const (
	SMActive Figure = iota
	SMOccupancy
	TensorActive
	DRAMActive
	NumFigures
)

var fieldNames = [NumFigures]string{
	"DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_SM_OCCUPANCY", "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_DRAM_ACTIVE",
}

// Name returns the name of the field, which is also that of its metric.
func (f Figure) Name() string { return fieldNames[f] }

// figureOf returns the figure of a metric.
func figureOf(name string) (f Figure, ok bool) {
	for f, n := range fieldNames {
		if n == name {
			return Figure(f), true
		}
	}
	return 0, false
}

// IsWanted reports whether a metric is read.
func IsWanted(name string) bool {
	_, ok := figureOf(name)
	return ok
}

const (
	// maxGPUs bounds the GPUs of one exporter: their UUIDs may change with every page.
	maxGPUs = 1024
	// minUpdates is how many updates a mean has to rest on: one or two describe single
	// moments, not the run.
	minUpdates = 3
	// minCovered is the part of the run that they must cover.
	minCovered = 0.5
)

// state is what is known of a value.
type state uint8

const (
	absent state = iota
	// invalid: not a fraction, such as DCGM's blank values (dcgm_structs.h, DCGM_FP64_BLANK
	// is 2^47, DCGM_INT64_BLANK is 2^63 - 16), or not the same in all of the GPU's series.
	invalid
	valid
)

// value is one field of a GPU.
type value struct {
	state    state
	fraction float64 // if valid
	raw      float64 // if invalid; it may be NaN
}

// values are the fields of a GPU on one page.
type values [NumFigures]value

// Page is what one page shows.
type Page struct {
	gpus      map[string]*values // whole GPUs, by UUID
	instances map[string]bool    // UUIDs of GPUs with MIG instances on the page
}

// Empty reports whether the page has none of the fields.
func (p Page) Empty() bool { return len(p.gpus)+len(p.instances) == 0 }

// Take removes the samples of the wanted fields from a page and returns them.
func Take(page *exposition.Page) Page {
	var out Page
	rest := page.Samples[:0]
	for i := range page.Samples {
		s := &page.Samples[i]
		f, ok := figureOf(s.Name)
		if !ok {
			rest = append(rest, *s)
			continue
		}
		out.add(f, s)
	}
	page.Samples = rest
	return out
}

func (p *Page) add(f Figure, s *exposition.Sample) {
	uuid := s.Labels.Get("UUID")
	if uuid == "" {
		uuid = s.Labels.Get("uuid") // with --use-old-namespace
	}
	switch {
	case uuid == "":
		return
	case s.Labels.Get("GPU_I_ID") != "" || s.Labels.Get("GPU_I_PROFILE") != "":
		if p.instances == nil {
			p.instances = map[string]bool{}
		}
		if len(p.instances) < maxGPUs {
			p.instances[uuid] = true
		}
		return
	}
	g := p.gpus[uuid]
	if g == nil {
		if len(p.gpus) >= maxGPUs {
			return
		}
		if p.gpus == nil {
			p.gpus = map[string]*values{}
		}
		g = &values{}
		p.gpus[uuid] = g
	}
	v := value{state: valid, fraction: s.Value}
	if !(s.Value >= 0 && s.Value <= 1) {
		v = value{state: invalid, raw: s.Value}
	}
	// A GPU that several pods share has one series for each of them.
	if before := g[f]; before.state == invalid || before.state == valid && before != v {
		v = value{state: invalid, raw: s.Value}
	}
	g[f] = v
}

// Activity accumulates the pages of one exporter over a run. The zero value is ready for use.
type Activity struct {
	pages     int                // read while the command ran
	previous  map[string]*values // of the page before
	gpus      map[string]*gpuActivity
	instances map[string]bool
	// first is when the first update was seen while the command ran. It is not counted: it
	// covers time before the start.
	first time.Time
}

// gpuActivity is what is known of one GPU.
type gpuActivity [NumFigures]struct {
	updates  int
	sum, max float64
	last     time.Time // the latest update
	seen     value     // the latest value that was not absent
}

// Add adds a page that was read at a time. during reports whether the command was running then.
func (a *Activity) Add(at time.Time, page Page, during bool) {
	updated := changed(a.previous, page.gpus)
	a.previous = page.gpus
	for uuid := range page.instances {
		if a.instances == nil {
			a.instances = map[string]bool{}
		}
		if len(a.instances) < maxGPUs {
			a.instances[uuid] = true
		}
	}
	if during {
		a.pages++
	}
	counts := updated && during && !a.first.IsZero()
	if updated && during && a.first.IsZero() {
		a.first = at
	}
	for uuid, values := range page.gpus {
		g := a.gpus[uuid]
		if g == nil {
			if len(a.gpus) >= maxGPUs {
				continue
			}
			if a.gpus == nil {
				a.gpus = map[string]*gpuActivity{}
			}
			g = &gpuActivity{}
			a.gpus[uuid] = g
		}
		for f, v := range values {
			if v.state != absent {
				g[f].seen = v
			}
			if counts && v.state == valid {
				g[f].updates++
				g[f].sum += v.fraction
				g[f].max = max(g[f].max, v.fraction)
				g[f].last = at
			}
		}
	}
}

// changed reports whether a value differs between two pages. The fields are updated together, so
// that one of them shows an update of all.
func changed(before, after map[string]*values) bool {
	for uuid, values := range after {
		old := before[uuid]
		if old == nil {
			continue
		}
		for f, v := range values {
			if v.state == valid && old[f].state == valid && v.fraction != old[f].fraction {
				return true
			}
		}
	}
	return false
}

// Has reports whether a page had a whole GPU.
func (a *Activity) Has(uuid string) bool { return a.gpus[uuid] != nil }

// Read reports whether a page was read while the command ran.
func (a *Activity) Read() bool { return a.pages > 0 }

// Summary returns the mean and the maximum of a GPU's figure over the updates within a run of this
// length, or why there is none.
func (a *Activity) Summary(uuid string, f Figure, run time.Duration) (mean, highest float64, why string) {
	switch {
	case a.pages == 0:
		return 0, 0, "it was not read while the command ran"
	case a.gpus[uuid] == nil && a.instances[uuid]:
		return 0, 0, "it has only MIG instances of this GPU"
	case a.gpus[uuid] == nil:
		return 0, 0, "it does not have this GPU"
	}
	figure := &a.gpus[uuid][f]
	covered := time.Duration(0)
	if figure.updates > 0 {
		covered = figure.last.Sub(a.first)
	}
	switch {
	case figure.seen.state == absent:
		return 0, 0, "its page has no " + f.Name() + " of this GPU: enable it in the file of --collectors"
	case figure.updates == 0 && figure.seen.state == invalid:
		return 0, 0, fmt.Sprintf("its %s of this GPU is not a fraction, or differs between series: %v", f.Name(), figure.seen.raw)
	case figure.updates < minUpdates:
		return 0, 0, fmt.Sprintf("%d of its updates of %s lie within the run, and %d are needed: it collects every 30 s unless --collect-interval is set", figure.updates, f.Name(), minUpdates)
	case covered.Seconds() < minCovered*run.Seconds():
		return 0, 0, fmt.Sprintf("its updates of %s cover %.1f of the run's %.1f s, and half of them is needed", f.Name(), covered.Seconds(), run.Seconds())
	}
	return figure.sum / float64(figure.updates), figure.max, ""
}
