package trace

import (
	"cmp"
	"container/heap"
	"slices"
	"sort"
)

// maxGaps is the number of gaps of a device that are explained: its longest.
const maxGaps = 100

// A gap is a time in which a device did nothing, between two kernels or copies.
type gap struct {
	start, end    int64
	after, before uint32 // names
	correlation   uint32 // of the call that launched what ended the gap
}

func (g *gap) duration() int64 { return g.end - g.start }

// gapCollector counts gaps and keeps the longest.
type gapCollector struct {
	count, total int64
	longest      gapHeap
}

func (c *gapCollector) add(g gap) {
	c.count++
	c.total += g.duration()
	if len(c.longest) < maxGaps {
		heap.Push(&c.longest, g)
	} else if g.duration() > c.longest[0].duration() {
		c.longest[0] = g
		heap.Fix(&c.longest, 0)
	}
}

// A gapHeap has the shortest gap on top.
type gapHeap []gap

func (h gapHeap) Len() int           { return len(h) }
func (h gapHeap) Less(i, j int) bool { return h[i].duration() < h[j].duration() }
func (h gapHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *gapHeap) Push(x any)        { *h = append(*h, x.(gap)) }
func (h *gapHeap) Pop() any          { panic("never removed") }

// GapCause is why a device did nothing.
type GapCause string

// The causes of gaps.
const (
	// LateLaunch: the CPU launched the next kernel after the gap had begun: the device waited for the CPU.
	LateLaunch GapCause = "late_launch"
	// Queued: the next kernel was launched before the gap began: it waited for another stream, another
	// device, a copy, or its turn in a CUDA graph.
	Queued GapCause = "queued"
	// Unknown: the trace does not have the call that launched the next kernel.
	Unknown GapCause = "unknown"
)

// Gaps are the times in which a device did nothing, from its first kernel or copy to its last.
type Gaps struct {
	Count   int64   `json:"count"`
	Seconds float64 `json:"seconds"`
	// Causes has the seconds of the longest gaps by cause. It is nil if they were not looked for.
	Causes map[GapCause]float64 `json:"causes"`
	// Longest has at most 100 gaps, the longest first.
	Longest []Gap `json:"longest"`
}

// Gap is one of the longest gaps of a device.
type Gap struct {
	// StartSeconds is counted from the device's first kernel or copy.
	StartSeconds float64  `json:"start_seconds"`
	Seconds      float64  `json:"seconds"`
	After        string   `json:"after"`  // what ended last
	Before       string   `json:"before"` // what ended the gap
	Cause        GapCause `json:"cause"`
	// CPU is what the thread that launched the next kernel did: the innermost event that takes at
	// least half of the gap, otherwise the one that takes most of it. Nil if there is none.
	CPU *GapCPU `json:"cpu"`

	gap gap
}

// GapCPU is what a thread did during a gap.
type GapCPU struct {
	Name string `json:"name"`
	// Seconds is how much of the gap it took.
	Seconds float64 `json:"seconds"`
}

func (c *gapCollector) result(first int64, names []kernelName) Gaps {
	out := Gaps{Count: c.count, Seconds: seconds(c.total), Longest: []Gap{}}
	for _, g := range c.longest {
		out.Longest = append(out.Longest, Gap{
			StartSeconds: seconds(g.start - first), Seconds: seconds(g.duration()),
			After: names[g.after].text, Before: names[g.before].text, Cause: Unknown, gap: g,
		})
	}
	slices.SortFunc(out.Longest, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(b.gap.duration(), a.gap.duration()), cmp.Compare(a.gap.start, b.gap.start))
	})
	return out
}

// Thread is a thread of a process in a trace.
type Thread struct{ Process, Thread int64 }

// CPUEvent is what a thread did for a while: a call of the CUDA or HIP runtime, an operator of
// PyTorch, a Python function, an annotation.
type CPUEvent struct {
	Thread      Thread
	Start, End  int64 // ns
	Name        []byte
	Correlation uint32 // of a call that launches, otherwise 0
}

// GapFinder finds what the CPUs did in the longest gaps of the devices of one file.
type GapFinder struct {
	devices       []*Device
	gaps          []*gapSearch // by start
	latest        []int64      // of the ends of gaps up to each
	byCorrelation map[uint32][]*gapSearch
}

// A gapSearch is the search for the cause of one gap.
type gapSearch struct {
	*Gap
	launched    bool
	launchStart int64
	thread      Thread
	did         map[Thread]*candidate
}

// A candidate is the event that explains a gap best so far.
type candidate struct {
	name             []byte
	overlap, length  int64
	atLeastHalf, set bool
}

// maxThreads bounds the threads whose events are kept for one gap.
const maxThreads = 1024

// NewGapFinder returns a finder for the gaps of devices, which are of one file. It is nil if
// there are none.
func NewGapFinder(devices []*Device) *GapFinder {
	f := &GapFinder{devices: devices, byCorrelation: map[uint32][]*gapSearch{}}
	for _, d := range devices {
		for i := range d.Gaps.Longest {
			f.gaps = append(f.gaps, &gapSearch{Gap: &d.Gaps.Longest[i], did: map[Thread]*candidate{}})
		}
	}
	if len(f.gaps) == 0 {
		return nil
	}
	slices.SortStableFunc(f.gaps, func(a, b *gapSearch) int { return cmp.Compare(a.gap.start, b.gap.start) })
	for i, g := range f.gaps {
		f.latest = append(f.latest, g.gap.end)
		if i > 0 {
			f.latest[i] = max(f.latest[i], f.latest[i-1])
		}
		if c := g.gap.correlation; c != 0 {
			f.byCorrelation[c] = append(f.byCorrelation[c], g)
		}
	}
	return f
}

// Add adds an event. It keeps nothing of e.
func (f *GapFinder) Add(e *CPUEvent) {
	if e.Correlation != 0 {
		for _, g := range f.byCorrelation[e.Correlation] {
			if !g.launched || e.Start < g.launchStart {
				g.launched, g.launchStart, g.thread = true, e.Start, e.Thread
			}
		}
	}
	i := sort.Search(len(f.latest), func(i int) bool { return f.latest[i] > e.Start })
	for ; i < len(f.gaps) && f.gaps[i].gap.start < e.End; i++ {
		if f.gaps[i].gap.end > e.Start {
			f.gaps[i].consider(e)
		}
	}
}

// consider keeps the event if it explains the gap better than those before.
func (g *gapSearch) consider(e *CPUEvent) {
	c := g.did[e.Thread]
	if c == nil {
		if len(g.did) == maxThreads {
			return
		}
		c = &candidate{}
		g.did[e.Thread] = c
	}
	overlap := min(e.End, g.gap.end) - max(e.Start, g.gap.start)
	length := e.End - e.Start
	half := 2*overlap >= g.gap.duration()
	better := !c.set || half && !c.atLeastHalf
	if !better && half == c.atLeastHalf {
		if half {
			better = length < c.length
		} else {
			better = overlap > c.overlap
		}
	}
	if better {
		c.name = append(c.name[:0], e.Name[:min(len(e.Name), 200)]...)
		c.overlap, c.length, c.atLeastHalf, c.set = overlap, length, half, true
	}
}

// Finish stores the causes in the devices' gaps.
func (f *GapFinder) Finish() {
	for _, g := range f.gaps {
		if !g.launched {
			continue
		}
		g.Cause = Queued
		if g.launchStart > g.gap.start {
			g.Cause = LateLaunch
		}
		if c := g.did[g.thread]; c != nil {
			g.CPU = &GapCPU{Name: string(c.name), Seconds: seconds(c.overlap)}
		}
	}
	for _, d := range f.devices {
		d.Gaps.Causes = map[GapCause]float64{LateLaunch: 0, Queued: 0, Unknown: 0}
		for _, g := range d.Gaps.Longest {
			d.Gaps.Causes[g.Cause] += g.Seconds
		}
	}
}
