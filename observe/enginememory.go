package observe

import (
	"sync"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/sampler/proc"
)

const (
	// engineRSS is the name of the figure.
	engineRSS = "host.engine_rss_bytes"
	// engineRSSInterval is the least time between two readings of the engines' memory.
	engineRSSInterval = 5 * time.Second
	// processRSSCost is about what reading one process takes, and engineRSSShare the share of one
	// core that these readings may take: with many processes they are less frequent.
	processRSSCost = 40 * time.Microsecond
	engineRSSShare = 0.0005
)

// engineMemory follows the resident memory of the engines' processes on this host.
type engineMemory struct {
	next time.Time // of the next reading; for the goroutine of discovery

	mu    sync.Mutex
	curve curve.Curve
}

// readEngineMemory reads the resident memory of the engines' processes if that is due: of the
// front ends among the command's processes and their descendants, and of the servers that are not
// the command's.
func (d *discovery) readEngineMemory(now time.Time, frontEnds, processes []proc.Process) {
	if now.Before(d.memory.next) {
		return
	}
	read := map[int]bool{}
	var sum int64
	add := func(p proc.Process, bytes int64) {
		if !read[p.PID] {
			read[p.PID] = true
			sum += bytes
		}
	}
	for _, frontEnd := range frontEnds {
		for _, p := range append(descendantsOf(frontEnd.PID, processes), frontEnd) {
			if bytes := d.tree.MemberRSS(p); bytes != nil {
				add(p, *bytes)
			}
		}
	}
	for _, p := range d.outsideEngines() {
		if bytes, err := proc.RSS(d.procRoot, p); err == nil {
			add(p, bytes)
		}
	}
	if len(read) == 0 { // the next look reads those that it finds
		d.memory.mu.Lock()
		d.memory.curve.Break()
		d.memory.mu.Unlock()
		return
	}
	wait := time.Duration(float64(len(read)) * float64(processRSSCost) / engineRSSShare)
	d.memory.next = now.Add(max(engineRSSInterval, wait))
	d.memory.mu.Lock()
	d.memory.curve.Add(now.Sub(d.started), float64(sum))
	d.memory.mu.Unlock()
	if d.record != nil {
		d.record(curve.Reading{At: now, Name: engineRSS, Value: float64(sum)})
	}
}

// outsideEngines returns the processes of the servers that are not the command's.
func (d *discovery) outsideEngines() (all []proc.Process) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.engines {
		if !e.inTree && mayServe(e.server.Comm) {
			all = append(all, e.processes...)
		}
	}
	return all
}

// memoryCurves returns the engines' memory over the run, which ended, or has lasted so far, at a
// time since the command's start.
func (d *discovery) memoryCurves(ended time.Duration) []curve.Figure {
	d.memory.mu.Lock()
	c := d.memory.curve
	d.memory.mu.Unlock()
	c.End(ended)
	if c.Empty() {
		return nil
	}
	return []curve.Figure{{Name: engineRSS, Group: curve.Group{Curves: []curve.Curve{c}}}}
}
