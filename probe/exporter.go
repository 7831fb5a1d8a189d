package probe

import (
	"errors"
	"time"

	"github.com/vobs/vobs/probe/dcgm"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// An address of --metrics-url may be a dcgm-exporter's. It is not an engine: it is in no figure or
// note about engines, and its processes are not the engine's. A page that has samples of both is an
// engine's.

var errNoActivity = errors.New("the dcgm-exporter's page no longer has the activity of a GPU")

// wantedFrom returns which samples the parser keeps of the pages at a target.
func wantedFrom(t scrape.Target) func(name string) bool {
	if t.Origin != scrape.FromFlag {
		return wantedOnPage
	}
	return func(name string) bool { return wantedOnPage(name) || dcgm.IsWanted(name) }
}

// isExporter reports whether the endpoint is a dcgm-exporter. The Prober's lock, or the endpoint's
// semaphore, is held.
func (e *endpoint) isExporter() bool { return e.exporter != nil && !e.up }

// ingestExporter adds a page of a dcgm-exporter that was rendered at a time. The Prober's lock is
// held.
func (e *endpoint) ingestExporter(at time.Time, page dcgm.Page, ph phase) error {
	if e.exporter == nil {
		e.exporter = &dcgm.Activity{}
	}
	e.notVLLM, e.silent = false, false
	e.exporter.Add(at, page, ph == phaseDuring || ph == phaseBeforeSignal)
	if page.Empty() {
		return e.scrapeError(errNoActivity)
	}
	return nil
}

// GPUActivity is what dcgm-exporters report about a GPU.
type GPUActivity struct {
	// Figures has the mean and the maximum of each figure over the run; nil if unknown.
	Figures [dcgm.NumFigures]*schema.MeanMax
	// Reasons is why a figure is unknown.
	Reasons [dcgm.NumFigures]string
}

// GPUActivity returns what the dcgm-exporter among the targets reports about the GPU with this UUID;
// of several, the one that has most figures. It is nil if no target is a dcgm-exporter. ended is when
// the command ended, or for a partial event, now.
func (p *Prober) GPUActivity(uuid string, ended time.Time) *GPUActivity {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *GPUActivity
	bestRank := -1
	for _, e := range p.endpoints {
		if !e.isExporter() {
			continue
		}
		a, known := e.gpuActivity(uuid, ended)
		rank := 2 * known
		if e.exporter.Has(uuid) {
			rank++
		}
		if rank > bestRank {
			best, bestRank = a, rank
		}
	}
	return best
}

// gpuActivity returns what this dcgm-exporter reports about a GPU, and how many figures are known.
// The Prober's lock is held.
func (e *endpoint) gpuActivity(uuid string, ended time.Time) (a *GPUActivity, known int) {
	a = &GPUActivity{}
	for f := range dcgm.NumFigures {
		mean, highest, why := e.exporter.Summary(uuid, f, ended.Sub(e.p.started))
		if why == "" {
			a.Figures[f] = &schema.MeanMax{Mean: schema.Float(mean), Max: schema.Float(highest)}
			known++
			continue
		}
		a.Reasons[f] = "the dcgm-exporter at " + e.target.Name() + ": " + why
		if !e.exporter.Read() && e.lastError != nil {
			a.Reasons[f] += " (" + e.lastError.Error() + ")"
		}
	}
	return a, known
}
