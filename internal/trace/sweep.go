package trace

import (
	"cmp"
	"slices"
	"sort"
)

// Tracks of a sweep: the classes come first.
const (
	allKernels  = int(numClasses) + iota
	computation // kernels other than communication
	anything    // kernels, copies and sets
	numTracks
)

// columns is the width of the timeline.
const columns = 66

// A union adds up the length of intervals that come in the order of their start.
type union struct {
	open       bool
	start, end int64 // of the interval that may still grow
	total      int64
}

// A sweep walks through the records of one device.
type sweep struct {
	d        *deviceOps
	tracks   [numTracks]union
	timeline [numTracks][columns]int64 // ns in each column
	windows  []window                  // of the steps on this device, in order
	gaps     gapCollector
	ops      [numClasses]int64
	// The kernels alone.
	kernels                 int64
	kernelFirst, kernelLast int64

	lastName uint32 // of the record that ended last
}

// run walks through the records.
func (s *sweep) run(names []kernelName) {
	for r := range s.d.sorted() {
		k := &names[r.name()]
		s.ops[k.class]++
		start, end := r.start, r.end()
		busy := &s.tracks[anything]
		if busy.open && start > busy.end {
			s.gaps.add(gap{start: busy.end, end: start, after: s.lastName, before: r.name(), correlation: r.correlation})
		}
		if !busy.open || end >= busy.end {
			s.lastName = r.name()
		}
		s.add(int(k.class), start, end)
		s.add(anything, start, end)
		if k.memory {
			continue
		}
		if s.kernels == 0 {
			s.kernelFirst, s.kernelLast = start, end
		}
		s.kernels++
		s.kernelLast = max(s.kernelLast, end)
		s.add(allKernels, start, end)
		if k.class != Communication {
			s.add(computation, start, end)
		}
	}
	for track := range s.tracks {
		if s.tracks[track].open {
			s.close(track)
		}
	}
}

func (s *sweep) add(track int, start, end int64) {
	u := &s.tracks[track]
	if u.open && start <= u.end {
		u.end = max(u.end, end)
		return
	}
	if u.open {
		s.close(track)
	}
	u.open, u.start, u.end = true, start, end
}

// close counts a track's interval, which cannot grow any more.
func (s *sweep) close(track int) {
	u := &s.tracks[track]
	u.total += u.end - u.start
	s.draw(track, u.start, u.end)
	// The first window that ends behind the interval's start.
	i := sort.Search(len(s.windows), func(i int) bool { return s.windows[i].until > u.start })
	for ; i < len(s.windows) && s.windows[i].start < u.end; i++ {
		w := &s.windows[i]
		w.tracks[track] += min(w.until, u.end) - max(w.start, u.start)
	}
}

// draw adds an interval to the columns of the timeline.
func (s *sweep) draw(track int, start, end int64) {
	span := s.d.last - s.d.first
	if span == 0 {
		return
	}
	for column := s.column(start); column < columns; column++ {
		from, to := s.edge(column), s.edge(column+1)
		if from >= end {
			break
		}
		s.timeline[track][column] += max(0, min(to, end)-max(from, start))
	}
}

// edge returns the time at which a column begins.
func (s *sweep) edge(column int) int64 {
	span := uint64(s.d.last - s.d.first)
	n := uint64(column)
	return s.d.first + int64(span/columns*n+span%columns*n/columns)
}

// column returns a column that begins at or before t.
func (s *sweep) column(t int64) int {
	i := sort.Search(columns, func(i int) bool { return s.edge(i+1) > t })
	return min(i, columns-1)
}

// top returns the kernels with the longest total time, at most n.
func (d *deviceOps) top(names []kernelName, n int) []Kernel {
	kernels := []Kernel{}
	for id, t := range d.totals {
		if t.count > 0 && !names[id].memory {
			kernels = append(kernels, Kernel{Name: names[id].text, Class: names[id].class, Seconds: seconds(t.duration), Count: t.count, MeanSeconds: seconds(t.duration) / float64(t.count)})
		}
	}
	slices.SortFunc(kernels, func(a, b Kernel) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Name, b.Name))
	})
	return kernels[:min(n, len(kernels))]
}

// seconds converts from ns.
func seconds(ns int64) float64 { return float64(ns) / 1e9 }
