package trace

import (
	"cmp"
	"container/heap"
	"fmt"
	"iter"
	"slices"
)

// Op is a kernel, a copy or a set as a reader finds it.
type Op struct {
	Device      int
	Stream      int64
	Start, End  int64 // ns
	Name        []byte
	Memory      bool   // a copy or a set
	Correlation uint32 // of the call that launched it, 0 if unknown
}

// Bounds that a damaged or malicious trace cannot exceed.
const (
	maxDevices   = 1024
	maxNameBytes = 16 << 20 // of all names together
	maxStreams   = 1 << 16
	maxSteps     = 1 << 20
)

// Layout of record.span: the duration in ns, and the name.
const (
	nameBits    = 22
	maxNames    = 1<<nameBits - 1
	maxDuration = 1<<(64-nameBits) - 1 // 73 minutes
)

// A record is an [Op] in 24 bytes.
type record struct {
	start       int64
	span        uint64 // duration << nameBits | name
	correlation uint32
}

func (r *record) end() int64   { return r.start + int64(r.span>>nameBits) }
func (r *record) name() uint32 { return uint32(r.span & maxNames) }

// chunkLen is the number of records that are sorted together: 1.5 MB.
const chunkLen = 1 << 16

// A deviceOps has the records of one device.
type deviceOps struct {
	id      int
	chunks  [][]record
	first   int64
	last    int64
	streams map[int64]bool
	totals  []total // by name
	steps   []step  // annotations on the device's own timeline
}

// total sums up the kernels of one name.
type total struct{ duration, count int64 }

// kernelName is a name that kernels have in common.
type kernelName struct {
	text   string
	class  Class
	memory bool
}

// Collector keeps what a reader finds in one file.
type Collector struct {
	file    string
	classes *Classes
	names   []kernelName
	ids     [2]map[string]uint32 // of kernels; of copies and sets
	bytes   int
	devices map[int]*deviceOps
	labels  map[int]string
	rank    *int64
	steps   []step // annotations on the timeline of the CPU
	events  int64  // of the CPU
	notes   notes
}

// NewCollector returns a collector for one file, which is named so in the result.
func NewCollector(file string, classes *Classes) *Collector {
	return &Collector{
		file: file, classes: classes, devices: map[int]*deviceOps{}, labels: map[int]string{},
		ids: [2]map[string]uint32{{}, {}},
	}
}

// Note adds a note on the file to the result. It is kept once.
func (c *Collector) Note(format string, args ...any) { c.notes.add(fmt.Sprintf(format, args...)) }

// NameDevice sets a device's name, such as "NVIDIA H100".
func (c *Collector) NameDevice(id int, name string) {
	if len(c.labels) < maxDevices {
		c.labels[id] = name
	}
}

// SetRank sets the rank of the process that the trace is of.
func (c *Collector) SetRank(rank int64) { c.rank = &rank }

// CountCPU counts an event of the CPU.
func (c *Collector) CountCPU() { c.events++ }

// Add adds a kernel, a copy or a set.
func (c *Collector) Add(op *Op) {
	d := c.devices[op.Device]
	if d == nil {
		if len(c.devices) == maxDevices {
			c.Note("the trace has more than %d devices: the others are left out", maxDevices)
			return
		}
		d = &deviceOps{id: op.Device, streams: map[int64]bool{}, first: op.Start, last: op.Start}
		c.devices[op.Device] = d
	}
	duration := op.End - op.Start
	if duration < 0 {
		c.Note("some kernels end before they start: they count with a duration of 0")
		duration = 0
	}
	if duration > maxDuration {
		c.Note("some kernels take more than 73 minutes: they count with 73")
		duration = maxDuration
	}
	name := c.nameID(op.Name, op.Memory)
	for len(d.totals) <= int(name) {
		d.totals = append(d.totals, total{})
	}
	d.totals[name].duration += duration
	d.totals[name].count++
	d.first, d.last = min(d.first, op.Start), max(d.last, op.Start+duration)
	if len(d.streams) < maxStreams {
		d.streams[op.Stream] = true
	}
	n := len(d.chunks) - 1
	if n < 0 || len(d.chunks[n]) == chunkLen {
		size := chunkLen
		if n < 0 {
			size = 256 // many devices of a trace have no kernels of note
		}
		d.chunks = append(d.chunks, make([]record, 0, size))
		n++
	}
	d.chunks[n] = append(d.chunks[n], record{op.Start, uint64(duration)<<nameBits | uint64(name), op.Correlation})
}

// nameID returns the number of a name.
func (c *Collector) nameID(name []byte, memory bool) uint32 {
	kind := 0
	if memory {
		kind = 1
	}
	if id, ok := c.ids[kind][string(name)]; ok {
		return id
	}
	if c.bytes+len(name) > maxNameBytes || len(c.names) >= maxNames-2 {
		c.Note("the kernels have more names than can be kept: the others are counted together, as %q", unkept)
		if id, ok := c.ids[kind][unkept]; ok {
			return id
		}
		name = []byte(unkept)
	}
	k := kernelName{text: string(name), class: Memory, memory: memory}
	if !memory {
		k.class = c.classes.Of(name)
	}
	id := uint32(len(c.names))
	c.bytes += len(name)
	c.names = append(c.names, k)
	c.ids[kind][k.text] = id
	return id
}

const unkept = "(other names)"

// sorted returns a device's records in the order of their start. It sorts each chunk and
// merges them.
func (d *deviceOps) sorted() iter.Seq[*record] {
	h := make(chunkHeap, 0, len(d.chunks))
	for _, chunk := range d.chunks {
		slices.SortStableFunc(chunk, func(a, b record) int { return cmp.Compare(a.start, b.start) })
		h = append(h, chunk)
	}
	return func(yield func(*record) bool) {
		heap.Init(&h)
		for len(h) > 0 {
			if !yield(&h[0][0]) {
				return
			}
			if h[0] = h[0][1:]; len(h[0]) == 0 {
				heap.Pop(&h)
			} else {
				heap.Fix(&h, 0)
			}
		}
	}
}

// A chunkHeap has the chunk with the earliest record on top.
type chunkHeap [][]record

func (h chunkHeap) Len() int           { return len(h) }
func (h chunkHeap) Less(i, j int) bool { return h[i][0].start < h[j][0].start }
func (h chunkHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *chunkHeap) Push(x any)        { *h = append(*h, x.([]record)) }
func (h *chunkHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// notes are kept in order, each once.
type notes []string

func (n *notes) add(note string) {
	if !slices.Contains(*n, note) {
		*n = append(*n, note)
	}
}
