package trace

import (
	"maps"
	"slices"
	"strings"
)

// maxKernels is the number of kernels in a result.
const maxKernels = 20

// Result is the analysis of one trace or of several.
type Result struct {
	// Devices is empty if the trace has no kernels; Notes then has the reason.
	Devices []*Device `json:"devices"`
	// Steps is nil if the trace has no annotations of vLLM's steps.
	Steps []StepGroup `json:"steps"`
	// Document is nil without kernels.
	Document *Document `json:"document"`
	Notes    []string  `json:"notes"`

	document documentSums
	kernels  map[string]*kernelSum
}

// Device is what one device of one file did.
type Device struct {
	File string `json:"file"`
	// Rank is of the process that was traced; nil if the trace does not have it.
	Rank   *int64 `json:"rank"`
	Device int    `json:"device"`
	// Name is empty if the trace does not have it.
	Name string `json:"name"`
	// SpanSeconds is the time from the start of the first kernel, copy or set to the end of the last.
	SpanSeconds float64 `json:"span_seconds"`
	// KernelBusySeconds is the time in which at least one kernel ran, BusySeconds the one in which a
	// kernel, a copy or a set did.
	KernelBusySeconds float64 `json:"kernel_busy_seconds"`
	BusySeconds       float64 `json:"busy_seconds"`
	// IdleFraction is 1 - busy/span.
	IdleFraction float64 `json:"idle_fraction"`
	// Classes has all of [AllClasses].
	Classes map[string]ClassTime `json:"classes"`
	// OverlapSeconds is the time in which communication and computation ran at the same time, and
	// ExposedCommunicationSeconds the one in which communication ran without computation.
	OverlapSeconds              float64 `json:"overlap_seconds"`
	ExposedCommunicationSeconds float64 `json:"exposed_communication_seconds"`
	// TopKernels has the 20 with the longest sum of times.
	TopKernels []Kernel `json:"top_kernels"`
	Streams    int      `json:"streams"`
	Gaps       Gaps     `json:"gaps"`

	timeline    [numTracks][columns]float64 // shares of each column
	kernelSpan  int64                       // ns
	computation int64
}

// ClassTime is the time in which at least one kernel of a class ran, and the number of them.
type ClassTime struct {
	Seconds float64 `json:"seconds"`
	Kernels int64   `json:"kernels"`
}

// Kernel sums up the kernels of one name on a device. Those that run at the same time all count.
type Kernel struct {
	Name        string  `json:"name"`
	Class       Class   `json:"class"`
	Seconds     float64 `json:"seconds"`
	Count       int64   `json:"count"`
	MeanSeconds float64 `json:"mean_seconds"`
}

// A kernelSum sums up the kernels of one name on all devices.
type kernelSum struct {
	class           Class
	duration, count int64
}

// NewResult returns a result without devices.
func NewResult() *Result {
	return &Result{Devices: []*Device{}, Notes: []string{}, kernels: map[string]*kernelSum{}}
}

// Add adds what a file has, and returns the file's devices.
func (r *Result) Add(c *Collector) []*Device {
	var added []*Device
	var onDevice []StepGroup
	for _, id := range slices.Sorted(maps.Keys(c.devices)) {
		d := c.devices[id]
		if len(d.chunks) == 0 {
			continue
		}
		s := &sweep{d: d, windows: windowsOf(d.steps)}
		s.run(c.names)
		device := s.result(c)
		added = append(added, device)
		onDevice = append(onDevice, groupSteps(c.file, &device.Device, s.windows)...)
		r.addKernels(d, c.names)
		d.chunks = nil
	}
	r.Devices = append(r.Devices, added...)
	if len(onDevice) == 0 {
		onDevice = groupSteps(c.file, nil, windowsOf(c.steps))
		if len(onDevice) > 0 && len(added) > 0 {
			c.Note("the steps are those of the CPU, which may run ahead of the device")
		}
	}
	r.Steps = append(r.Steps, onDevice...)
	if len(added) == 0 {
		switch {
		case c.events > 0:
			c.Note("no kernels: the trace has %d events of the CPU alone", c.events)
		default:
			c.Note("no kernels and no events of the CPU")
		}
	}
	for _, note := range c.notes {
		(*notes)(&r.Notes).add(c.file + ": " + note)
	}
	r.Document = r.document.figures()
	return added
}

func (r *Result) addKernels(d *deviceOps, names []kernelName) {
	for id, t := range d.totals {
		k := &names[id]
		if t.count == 0 || k.memory {
			continue
		}
		r.document.add(k.text, t.duration)
		sum := r.kernels[k.text]
		if sum == nil {
			sum = &kernelSum{class: k.class}
			r.kernels[k.text] = sum
		}
		sum.duration += t.duration
		sum.count += t.count
	}
}

// result returns what the sweep has found.
func (s *sweep) result(c *Collector) *Device {
	d := s.d
	t := func(track int) int64 { return s.tracks[track].total }
	out := &Device{
		File: c.file, Rank: c.rank, Device: d.id, Name: c.labels[d.id], Streams: len(d.streams),
		SpanSeconds: seconds(d.last - d.first), KernelBusySeconds: seconds(t(allKernels)), BusySeconds: seconds(t(anything)),
		Classes: map[string]ClassTime{},
		// Of two sets, both = one + other - either.
		OverlapSeconds:              seconds(t(int(Communication)) + t(computation) - t(allKernels)),
		ExposedCommunicationSeconds: seconds(t(allKernels) - t(computation)),
		TopKernels:                  d.top(c.names, maxKernels),
		Gaps:                        s.gaps.result(d.first, c.names),
		kernelSpan:                  s.kernelLast - s.kernelFirst,
		computation:                 t(computation),
	}
	if span := d.last - d.first; span > 0 {
		out.IdleFraction = 1 - float64(t(anything))/float64(span)
	}
	for _, class := range AllClasses() {
		out.Classes[class.String()] = ClassTime{seconds(t(int(class))), s.ops[class]}
	}
	for track := range out.timeline {
		for column := range out.timeline[track] {
			if width := s.edge(column+1) - s.edge(column); width > 0 {
				out.timeline[track][column] = float64(s.timeline[track][column]) / float64(width)
			}
		}
	}
	return out
}

// Document has the five figures of the production document's analyze_profile, which it
// computes from sums of kernel times: kernels that run at the same time count twice, a kernel
// whose name fits twice counts twice, and what it calls idle is the share of all other kernels.
type Document struct {
	TotalSeconds          float64 `json:"total_seconds"`
	AttentionFraction     float64 `json:"attention_fraction"`
	GEMMFraction          float64 `json:"gemm_fraction"`
	CommunicationFraction float64 `json:"communication_fraction"`
	GPUIdleFraction       float64 `json:"gpu_idle_fraction"`
}

// documentSums are times of kernels of all devices, in ns.
type documentSums struct {
	kernels                               bool
	total, attention, gemm, communication float64
}

func (s *documentSums) add(name string, duration int64) {
	s.kernels = true
	name = strings.ToLower(name)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(name, p) })
	}
	ns := float64(duration)
	s.total += ns
	if has("attention", "flash") {
		s.attention += ns
	}
	if has("gemm", "mm") {
		s.gemm += ns
	}
	if has("nccl", "all_reduce") {
		s.communication += ns
	}
}

func (s *documentSums) figures() *Document {
	if !s.kernels || s.total == 0 {
		return nil
	}
	return &Document{
		s.total / 1e9, s.attention / s.total, s.gemm / s.total, s.communication / s.total,
		1 - (s.attention+s.gemm+s.communication)/s.total,
	}
}

// Computation returns the seconds in which a device ran at least one kernel other than
// communication.
func Computation(d *Device) float64 { return seconds(d.computation) }

// KernelSpan returns the seconds from the start of the first kernel of a device to the end of
// the last, without copies and sets.
func KernelSpan(d *Device) float64 { return seconds(d.kernelSpan) }
