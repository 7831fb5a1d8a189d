package observe

import (
	"slices"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/dcgm"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/schema"
)

// A dcgm-exporter's figures go to the GPU with the same UUID, unless NVML has any of that GPU.
func TestAddActivity(t *testing.T) {
	figure := func(v float64) *schema.MeanMax {
		return &schema.MeanMax{Mean: schema.Float(v), Max: schema.Float(v)}
	}
	reported := map[string]*probe.GPUActivity{
		"GPU-a": {Figures: [dcgm.NumFigures]*schema.MeanMax{figure(0.1), figure(0.2), figure(0.3), figure(0.4)}},
		"GPU-b": {Figures: [dcgm.NumFigures]*schema.MeanMax{dcgm.TensorActive: figure(0.5)}, Reasons: [dcgm.NumFigures]string{"no sm", "no occupancy", "", "no dram"}},
		"GPU-c": {Reasons: [dcgm.NumFigures]string{"c", "c", "c", "c"}},
		"MIG-d": {Reasons: [dcgm.NumFigures]string{"d", "d", "d", "d"}},
	}
	before := func() (r gpu.Readings) {
		r.GPUs = []schema.GPU{
			{UUID: "GPU-a"}, {UUID: "GPU-b"}, {UUID: "GPU-c"}, {UUID: "MIG-d", MIGOf: schema.Ptr("GPU-a")},
			{UUID: "GPU-a", SMActive: figure(0.9), ActivitySource: schema.Ptr("nvml_gpm")},
		}
		for _, i := range []string{"0", "1", "2", "3"} {
			for _, field := range []string{"torch", "sm_active", "sm_occupancy", "tensor_active", "dram_active", "activity_source"} {
				r.Notes.Missing("gpus."+i+"."+field, "no GPM")
			}
		}
		r.Notes.Missing("gpus.4.tensor_active", "no tensor cores")
		return r
	}
	r := before()
	kept := before() // the sampler's own are not changed
	shared := r
	addActivity(&r, func(uuid string) *probe.GPUActivity { return reported[uuid] })
	if testkit.JSON(shared.GPUs) != testkit.JSON(kept.GPUs) || testkit.JSON(shared.Notes) != testkit.JSON(kept.Notes) {
		t.Error("the sampler's readings have changed")
	}
	dcgmOnly := schema.Ptr("dcgm")
	want := []schema.GPU{
		{UUID: "GPU-a", SMActive: figure(0.1), SMOccupancy: figure(0.2), TensorActive: figure(0.3), DRAMActive: figure(0.4), ActivitySource: dcgmOnly},
		{UUID: "GPU-b", TensorActive: figure(0.5), ActivitySource: dcgmOnly},
		{UUID: "GPU-c"},
		{UUID: "MIG-d", MIGOf: schema.Ptr("GPU-a")},
		{UUID: "GPU-a", SMActive: figure(0.9), ActivitySource: schema.Ptr("nvml_gpm")},
	}
	if got := testkit.JSON(r.GPUs); got != testkit.JSON(want) {
		t.Errorf("%s\nwant\n%s", got, testkit.JSON(want))
	}
	reasons := []schema.Unavailable{
		{Field: "gpus.0.torch", Reason: "no GPM"},
		{Field: "gpus.1.torch", Reason: "no GPM"},
		{Field: "gpus.1.sm_active", Reason: "no GPM; no sm"},
		{Field: "gpus.1.sm_occupancy", Reason: "no GPM; no occupancy"},
		{Field: "gpus.1.dram_active", Reason: "no GPM; no dram"},
		{Field: "gpus.2.torch", Reason: "no GPM"},
		{Field: "gpus.2.sm_active", Reason: "no GPM; c"},
		{Field: "gpus.2.sm_occupancy", Reason: "no GPM; c"},
		{Field: "gpus.2.tensor_active", Reason: "no GPM; c"},
		{Field: "gpus.2.dram_active", Reason: "no GPM; c"},
		{Field: "gpus.2.activity_source", Reason: "no GPM; c"},
		{Field: "gpus.3.torch", Reason: "no GPM"},
	}
	for _, field := range []string{"sm_active", "sm_occupancy", "tensor_active", "dram_active", "activity_source"} {
		reasons = append(reasons, schema.Unavailable{Field: "gpus.3." + field, Reason: "no GPM; " + noInstances})
	}
	reasons = append(reasons, schema.Unavailable{Field: "gpus.4.tensor_active", Reason: "no tensor cores"})
	if !slices.Equal(r.Notes.Unavailable, reasons) {
		t.Errorf("%s\nwant\n%s", testkit.JSON(r.Notes.Unavailable), testkit.JSON(reasons))
	}

	// Without an exporter nothing changes.
	r = before()
	addActivity(&r, func(string) *probe.GPUActivity { return nil })
	if testkit.JSON(r.GPUs) != testkit.JSON(kept.GPUs) || testkit.JSON(r.Notes) != testkit.JSON(kept.Notes) {
		t.Errorf("%s", testkit.JSON(r))
	}
}
