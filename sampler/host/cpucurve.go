package host

import (
	"time"

	"github.com/vobs/vobs/internal/curve"
)

const (
	// treeCPUCores is the name of the figure.
	treeCPUCores = "host.tree_cpu_cores"
	// minCPUSpan is the least time between two readings of the tree's CPU time: the kernel
	// counts it in steps of 10 ms per process.
	minCPUSpan = 250 * time.Millisecond
	// cpuCurveShare is the share of one core that these readings may take, which is part of
	// cpuShare.
	cpuCurveShare = 0.0005
)

// cpuCurve follows the CPU time of the command's process tree, which is read in the rounds that
// look for new processes. Times are since the command's start.
type cpuCurve struct {
	curve curve.Curve
	last  cpuReading
	// dip is a reading below the last one; zero if there is none. Either the tree lost the time
	// of a process for good, because its parent ignores SIGCHLD, or a process that had just
	// been reaped was missing in it for a moment.
	dip cpuReading
	// span is the latest one. It is held back, because the end of the command may lengthen it.
	span struct {
		from, to time.Duration
		gain     time.Duration
	}
	cost time.Duration // of a reading, as a running mean
}

// cpuReading is the CPU time that the tree had used at a time.
type cpuReading struct{ at, total time.Duration }

// due reports whether to read the tree's CPU time now.
func (c *cpuCurve) due(now time.Duration) bool {
	last := max(c.last.at, c.dip.at)
	return now-last >= max(minCPUSpan, wallFor(c.cost, cpuCurveShare))
}

// add adds a reading.
func (c *cpuCurve) add(now cpuReading) {
	switch {
	case now.total >= c.last.total:
		c.addSpan(c.last, now)
	case c.dip.at > 0 && now.total >= c.dip.total: // lost for good
		c.flush()
		c.addSpan(c.dip, now)
	default:
		c.dip = now
		return
	}
	c.last, c.dip = now, cpuReading{}
}

func (c *cpuCurve) addSpan(from, to cpuReading) {
	c.flush()
	c.span.from, c.span.to, c.span.gain = from.at, to.at, to.total-from.total
}

// flush adds the span that was held back.
func (c *cpuCurve) flush() {
	if d := c.span.to - c.span.from; d > 0 {
		c.curve.AddSpan(c.span.from, c.span.to, c.span.gain.Seconds()/d.Seconds())
	}
	c.span.from = c.span.to
}

// end returns the curve with its last reading: what the tree had used when the command ended.
// A short time since the reading before it counts together with the span before. total is
// negative if it is unknown.
func (c cpuCurve) end(ended, total time.Duration) curve.Curve {
	c.curve.End(ended)
	if c.span.from < ended {
		c.span.to = min(c.span.to, ended) // what it has used since does not count for less
	}
	if total >= c.last.total && c.dip.at == 0 && ended > c.last.at {
		if ended-c.last.at < minCPUSpan && c.span.to > c.span.from {
			c.span.to, c.span.gain = ended, c.span.gain+total-c.last.total
		} else {
			c.addSpan(c.last, cpuReading{ended, total})
		}
	}
	c.flush()
	return c.curve
}

// readCPU reads the CPU time of the tree if that is due. begin is when the command started.
func (s *Sampler) readCPU(begin time.Time) {
	if s.cfg.WaitedCPU == nil || s.ended.Load() {
		return
	}
	s.mu.Lock()
	due := s.cpu.due(time.Since(begin))
	s.mu.Unlock()
	if !due {
		return
	}
	var reading cpuReading
	valid := false
	s.measure(func() {
		waited := s.cfg.WaitedCPU()
		live, err := s.tree.CPUTime()
		reading = cpuReading{time.Since(begin), waited + live}
		// A process that is reaped meanwhile counts twice, or not at all.
		valid = err == nil && s.cfg.WaitedCPU() == waited
	}, func(cost time.Duration) {
		s.governor.charge(cost)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cpu.cost = average(s.cpu.cost, cost)
	})
	if valid {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cpu.add(reading)
		if s.cfg.Record != nil && s.cpu.last == reading {
			cores := s.cpu.span.gain.Seconds() / (s.cpu.span.to - s.cpu.span.from).Seconds()
			s.cfg.Record(curve.Reading{At: begin.Add(reading.at), Name: treeCPUCores, Value: cores})
		}
	}
}

// CommandEnded tells the sampler that the command has ended, so that the CPU time of its tree is
// no longer followed.
func (s *Sampler) CommandEnded() { s.ended.Store(true) }

// Curves returns the figures of the tree over the run. at is the time since the command's start
// and treeCPU what the tree had used by then; it is negative if it is unknown.
func (s *Sampler) Curves(at, treeCPU time.Duration) []curve.Figure {
	s.mu.Lock()
	c := s.cpu.end(at, treeCPU)
	s.mu.Unlock()
	if c.Empty() {
		return nil
	}
	return []curve.Figure{{Name: treeCPUCores, Group: curve.Group{Curves: []curve.Curve{c}}}}
}
