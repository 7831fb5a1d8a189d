package host

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// readings is everything that the event's group host is made of.
type readings struct {
	procRoot  string
	hasProcFS bool
	static    staticInfo
	samples   treeSamples

	pressureBefore, pressureAfter pressureReading

	waitedCPU time.Duration // of processes that were waited for; negative: unknown
	liveCPU   time.Duration // of descendants that are alive
	liveErr   error

	energy    float64 // joules
	energyErr error   // why it is unknown
}

// Readings returns the event's group host as known so far, for a partial event, with a
// reason for each missing figure. treeCPU is as for [Sampler.Stop]. A file that does not
// respond is given up after half a second.
func (s *Sampler) Readings(treeCPU time.Duration) (schema.Host, schema.Notes) {
	return s.readings(treeCPU, readTimeout, false)
}

// readings returns what is known, at the end or so far.
func (s *Sampler) readings(treeCPU, limit time.Duration, end bool) (schema.Host, schema.Notes) {
	r := readings{
		procRoot: s.cfg.ProcRoot, hasProcFS: s.hasProcFS,
		pressureBefore: s.pressure, waitedCPU: treeCPU, liveErr: proc.ErrNoProc,
		energyErr: errors.New("the counters are read again when the command has ended"),
	}
	if s.hasProcFS {
		var wg sync.WaitGroup
		wg.Go(func() { r.pressureAfter = readPressure(s.cfg.ProcRoot, limit) })
		if end {
			wg.Go(func() { r.energy, r.energyErr = s.energy.end(limit) })
		}
		if treeCPU >= 0 {
			r.liveCPU, r.liveErr = bounded.Call("the CPU time of the processes in "+s.cfg.ProcRoot, limit, s.tree.CPUTime)
		}
		wg.Wait()
	}
	s.mu.Lock()
	r.static, r.samples = s.static, s.samples
	s.mu.Unlock()

	var notes schema.Notes
	return r.report(&notes), notes
}

// report turns the readings into the event's group host and adds the reasons for
// missing figures to notes.
func (r *readings) report(notes *schema.Notes) schema.Host {
	var host schema.Host
	host.TreeCPUSeconds = r.treeCPU(notes)
	if !r.hasProcFS {
		reason := fmt.Sprintf("comes from %s, which this system does not have; only Linux has it", r.procRoot)
		for _, field := range []string{"cpu_count", "cpu_limit", "memory_total_bytes", "memory_limit_bytes",
			"tree_peak_rss_bytes", "pressure_some_seconds", "energy_joules", "sampling"} {
			notes.Missing("host."+field, reason)
		}
		return host
	}
	r.static.report(&host, notes)
	host.PressureSomeSeconds = pressureDelta(r.pressureBefore, r.pressureAfter, notes)
	r.samples.report(&host, notes)
	r.reportEnergy(&host, notes)
	return host
}

// treeCPU adds the CPU time of living descendants to that of processes waited for.
func (r *readings) treeCPU(notes *schema.Notes) *schema.Float {
	const field = "host.tree_cpu_seconds"
	if r.waitedCPU < 0 {
		notes.Missing(field, "the command's CPU time was not reported: it was not started, or not waited for")
		return nil
	}
	if r.liveErr != nil {
		notes.Doubt(schema.CodeTreeCPUIncomplete, schema.Info, "host.tree_cpu_seconds lacks the CPU time of descendants that outlived the command: "+r.liveErr.Error(), nil)
	}
	return schema.F((r.waitedCPU + r.liveCPU).Seconds())
}

// report fills in the host's CPUs and memory, and the cgroup's limits.
func (s *staticInfo) report(host *schema.Host, notes *schema.Notes) {
	if s.cpusErr == nil {
		host.CPUCount = schema.Ptr(s.cpus)
	} else {
		notes.Missing("host.cpu_count", s.cpusErr.Error())
	}
	if s.memErr == nil {
		host.MemoryTotalBytes = schema.Ptr(s.memory)
	} else {
		notes.Missing("host.memory_total_bytes", s.memErr.Error())
	}
	const noLimit = "the cgroup sets no limit"
	l := s.limits
	switch {
	case l.cpuErr != nil:
		notes.Missing("host.cpu_limit", l.cpuErr.Error())
	case math.IsInf(l.cpus, 1):
		notes.Missing("host.cpu_limit", noLimit)
	default:
		host.CPULimit = schema.F(l.cpus)
	}
	switch {
	case l.bytesErr != nil:
		notes.Missing("host.memory_limit_bytes", l.bytesErr.Error())
	case l.bytes == math.MaxInt64:
		notes.Missing("host.memory_limit_bytes", noLimit)
	default:
		host.MemoryLimitBytes = schema.Ptr(l.bytes)
	}
}

// report fills in the tree's peak memory and how it was sampled.
func (t *treeSamples) report(host *schema.Host, notes *schema.Notes) {
	sampling := &schema.Sampling{Samples: t.count, Errors: t.errors}
	if t.count >= 2 {
		sampling.PeriodSeconds = schema.F(t.last.Sub(t.first).Seconds() / float64(t.count-1))
		sampling.MaxGapSeconds = schema.F(t.maxGap.Seconds())
	} else {
		const reason = "fewer than two readings of the process tree"
		notes.Missing("host.sampling.period_seconds", reason)
		notes.Missing("host.sampling.max_gap_seconds", reason)
	}
	host.Sampling = sampling
	switch {
	case t.peak > 0:
		host.TreePeakRSSBytes = schema.Ptr(t.peak)
	case t.lastErr != nil:
		notes.Missing("host.tree_peak_rss_bytes", "the process tree could not be read: "+t.lastErr.Error())
	case t.count == 0:
		notes.Missing("host.tree_peak_rss_bytes", "the command was not started")
	default:
		notes.Missing("host.tree_peak_rss_bytes", "the command ended before its processes could be read")
	}
}
