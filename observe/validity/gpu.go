package validity

import (
	"fmt"
	"strings"

	"github.com/vobs/vobs/schema"
)

const (
	// minForeignBytes is how much memory makes a process worth a note: a desktop's display
	// server holds a few MiB on each GPU.
	minForeignBytes = 64 << 20
	// dirtyBytes is how much memory may be in use before the command: the driver's own use
	// and small services stay below it.
	dirtyBytes = 512 << 20
	// throttledShare is the share of readings with reduced clocks that is noted.
	throttledShare = 0.01
)

// gpuNote is a note about one GPU, by its index in the event.
func gpuNote(i int, key string, value, threshold any) *schema.Evidence {
	return &schema.Evidence{Field: fmt.Sprintf("gpus.%d.%s", i, key), Value: value, Threshold: threshold}
}

// isOurs reports whether the command used the GPU.
func isOurs(g *schema.GPU) bool { return g.UsedByJob != nil && *g.UsedByJob }

// ours returns the indices of the GPUs that the command used.
func (in Input) ours() (indices []int) {
	for i := range in.Event.GPUs {
		if isOurs(&in.Event.GPUs[i]) {
			indices = append(indices, i)
		}
	}
	return indices
}

// foreignProcesses notes other processes on the command's GPUs. The memory of a process that
// the driver does not report is unknown, and such a process is not noted.
func foreignProcesses(in Input, n *schema.Notes) {
	for _, i := range in.ours() {
		g := &in.Event.GPUs[i]
		var names []string
		largest := int64(0)
		for _, p := range g.ForeignProcesses {
			if p.PeakBytes == nil || *p.PeakBytes < minForeignBytes {
				continue
			}
			name := fmt.Sprintf("%d", p.PID)
			if p.Name != nil {
				name += " (" + *p.Name + ")"
			}
			names = append(names, name)
			largest = max(largest, *p.PeakBytes)
		}
		if len(names) > 0 {
			n.Doubt(schema.CodeForeignProcesses, schema.Warning,
				fmt.Sprintf("processes other than the command's had memory on GPU %d: %s: its peak, power and energy include theirs", g.Index, list(names)),
				gpuNote(i, "foreign_processes", largest, int64(minForeignBytes)))
		}
	}
}

// maxListed bounds the names in one message.
const maxListed = 5

// list returns names as a list, which ends with the number of those left out.
func list(names []string) string {
	if more := len(names) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), more)
	}
	return strings.Join(names, ", ")
}

// dirtyVRAMBaseline notes memory that was in use before the command. None of it is the
// engine's: there is no baseline if one of the engine's processes is on the GPU at the first
// reading. The first version of the memory call counts the driver's own reserve, hundreds of
// MiB, as used.
func dirtyVRAMBaseline(in Input, n *schema.Notes) {
	for _, i := range in.ours() {
		g := &in.Event.GPUs[i]
		if g.BaselineBytes == nil || *g.BaselineBytes <= dirtyBytes || g.MemoryAPI == nil || *g.MemoryAPI != "v2" {
			continue
		}
		n.Doubt(schema.CodeDirtyVRAMBaseline, schema.Warning,
			fmt.Sprintf("%.2f GiB of GPU %d's memory were in use before the command: its peak includes them", float64(*g.BaselineBytes)/(1<<30), g.Index),
			gpuNote(i, "baseline_bytes", *g.BaselineBytes, int64(dirtyBytes)))
	}
}

// throttled notes reduced clocks.
func throttled(in Input, n *schema.Notes) {
	for _, i := range in.ours() {
		g := &in.Event.GPUs[i]
		if i >= len(in.Throttling) || g.ThrottledFraction == nil {
			continue
		}
		t := in.Throttling[i]
		if t.Readings <= 0 {
			continue
		}
		hardware, powerCap := float64(t.Hardware)/float64(t.Readings), float64(t.PowerCap)/float64(t.Readings)
		switch {
		case hardware > throttledShare:
			n.Doubt(schema.CodeThrottled, schema.Warning,
				fmt.Sprintf("heat, a power brake or a hardware slowdown reduced the clocks of GPU %d in %.1f %% of the readings (%s)", g.Index, 100*hardware, strings.Join(g.ThrottleReasons, ", ")),
				gpuNote(i, "throttled_fraction", schema.Float(hardware), schema.Float(throttledShare)))
		case powerCap > throttledShare:
			n.Doubt(schema.CodeThrottled, schema.Info,
				fmt.Sprintf("the software power cap reduced the clocks of GPU %d in %.1f %% of the readings, as is usual under full load", g.Index, 100*powerCap),
				gpuNote(i, "throttled_fraction", schema.Float(powerCap), schema.Float(throttledShare)))
		}
	}
}
