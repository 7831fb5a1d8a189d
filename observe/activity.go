package observe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/dcgm"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/schema"
)

// activityFields are the fields of the event that a dcgm-exporter's figures go to.
var activityFields = [dcgm.NumFigures]struct {
	name string
	of   func(*schema.GPU) **schema.MeanMax
}{
	dcgm.SMActive:     {"sm_active", func(g *schema.GPU) **schema.MeanMax { return &g.SMActive }},
	dcgm.SMOccupancy:  {"sm_occupancy", func(g *schema.GPU) **schema.MeanMax { return &g.SMOccupancy }},
	dcgm.TensorActive: {"tensor_active", func(g *schema.GPU) **schema.MeanMax { return &g.TensorActive }},
	dcgm.DRAMActive:   {"dram_active", func(g *schema.GPU) **schema.MeanMax { return &g.DRAMActive }},
}

// noInstances is why a MIG instance has no figures of a dcgm-exporter.
const noInstances = "a MIG instance is not matched with one of a dcgm-exporter, which names it by the UUID of its GPU and GPU_I_ID"

// addActivity adds to each device whose activity NVML did not report what a dcgm-exporter reports
// about the GPU with the same UUID: activity returns that, or nil if there is no dcgm-exporter. A
// device has one source for all four figures.
func addActivity(r *gpu.Readings, activity func(uuid string) *probe.GPUActivity) {
	cloned := false
	for i := range r.GPUs {
		if r.GPUs[i].ActivitySource != nil {
			continue
		}
		a := activity(r.GPUs[i].UUID)
		if a == nil {
			return
		}
		if !cloned { // the sampler's own
			r.GPUs, r.Notes.Unavailable = slices.Clone(r.GPUs), slices.Clone(r.Notes.Unavailable)
			cloned = true
		}
		if r.GPUs[i].MIGOf != nil {
			for f := range a.Reasons {
				a.Figures[f], a.Reasons[f] = nil, noInstances
			}
		}
		fillActivity(r, i, a)
	}
}

// fillActivity sets the figures of device i. What is still missing has both reasons.
func fillActivity(r *gpu.Readings, i int, a *probe.GPUActivity) {
	g := &r.GPUs[i]
	reasons := map[string]string{} // by field; "" if it is known now
	for f, field := range activityFields {
		*field.of(g) = a.Figures[f]
		reasons[field.name] = a.Reasons[f]
		if a.Figures[f] != nil {
			g.ActivitySource = schema.Ptr("dcgm")
		}
	}
	reasons["activity_source"] = ""
	if g.ActivitySource == nil {
		reasons["activity_source"] = a.Reasons[dcgm.SMActive]
	}
	prefix := fmt.Sprintf("gpus.%d.", i)
	unavailable := r.Notes.Unavailable[:0]
	for _, u := range r.Notes.Unavailable {
		name, ok := strings.CutPrefix(u.Field, prefix)
		why, affected := reasons[name]
		switch {
		case ok && affected && why == "":
			continue
		case ok && affected:
			u.Reason += "; " + why
		}
		unavailable = append(unavailable, u)
	}
	r.Notes.Unavailable = unavailable
}
