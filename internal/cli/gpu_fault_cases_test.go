package cli

import (
	"fmt"
	"maps"
	"os"
)

// The beginning of most scripts: devices that the command uses, with all figures.
const (
	oneGPU  = "devices 1\n" + usualGPU
	twoGPUs = "devices 2\n" + usualGPU

	usualGPU = `
		used file used
		process pid=child mem=2GiB
		power 250
		util 0.75
		temp 61
		throttle sw_power_cap
	`
)

// undisturbedGPU is what the event contains about a device without any fault.
func undisturbedGPU(i int, peak string) map[string]string {
	out := map[string]string{}
	for field, value := range map[string]string{
		"peak_bytes": peak, "memory_api": "v2", "used_by_job": "true", "job_peak_bytes": "2147483648",
		"power_watts.max": "250.0", "power_watts.mean": "250.0", "utilization.mean": "0.75",
		"temperature_celsius_max": "61", "throttled_fraction": "1.0", "throttle_reasons": `["sw_power_cap"]`,
	} {
		out[fmt.Sprintf("gpus.%d.%s", i, field)] = value
	}
	return out
}

func merge(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

const (
	gib3 = "3221225472"
	gib5 = "5368709120"
)

var gpuFaults = map[string]gpuFault{
	// What this test finds for a driver without a fault.
	"none": {
		script:  twoGPUs,
		command: "until-sampled 2; echo 5GiB >used; until-sampled 2; echo 1GiB >used",
		want:    merge(undisturbedGPU(0, gib5), undisturbedGPU(1, gib5), map[string]string{"peak_vram_gb": "5.0", "gpus.0.sampling.errors": "0", "gpus.1.sampling.errors": "0"}),
	},

	// Lost devices.
	"lost in the middle": {
		script:  twoGPUs + "rule nvmlDevice* device=1 code=GPU_IS_LOST when=fault",
		command: "until-sampled 2; fault nvmlDevice; echo 5GiB >used; until-sampled 2; sleep 2",
		want: merge(undisturbedGPU(0, gib5), undisturbedGPU(1, gib3), map[string]string{
			"peak_vram_gb": "5.0", "gpus.0.sampling.errors": "0", "gpus.1.sampling.errors": "/^[1-9]/", "gpus.1.energy_joules": "null",
		}),
		reasons: map[string]string{"gpus.1.energy_joules": "the GPU is lost"},
		doubts:  map[string]string{"gpu_sampling_broke": "GPU 1's memory .* in the last [0-9.]+ s.*the GPU is lost.*: a later peak is unknown"},
	},
	"all lost in the middle": {
		script:  oneGPU + "rule nvml* code=GPU_IS_LOST when=fault",
		command: "until-sampled 1; fault nvmlDeviceGetComputeRunningProcesses; echo 5GiB >used; sleep 2",
		want:    merge(undisturbedGPU(0, gib3), map[string]string{"peak_vram_gb": "3.0", "gpus.0.sampling.errors": "/^[1-9]/"}),
		reasons: map[string]string{"gpus.0.energy_joules": "the GPU is lost"},
		doubts:  map[string]string{"gpu_sampling_broke": "GPU 0's memory .* in the last [0-9.]+ s.*the GPU is lost.*: a later peak is unknown"},
	},
	"lost before": {
		script:  twoGPUs + "rule nvmlDeviceGetUUID device=1 code=GPU_IS_LOST",
		command: "until-sampled 1",
		want:    merge(undisturbedGPU(0, gib3), map[string]string{"gpus.len": "1"}),
		reasons: map[string]string{"gpus": "GPU 1 cannot be sampled: .*lost"},
	},

	// Calls that never return.
	"memory hangs": {
		script:  twoGPUs + "rule nvmlDeviceGetMemoryInfo_v2 device=1 hang when=fault",
		command: "until-sampled 2; fault nvmlDeviceGetMemoryInfo_v2; echo 5GiB >used",
		want:    merge(undisturbedGPU(0, gib3), undisturbedGPU(1, gib3), map[string]string{"peak_vram_gb": "3.0"}),
		doubts:  map[string]string{"gpu_driver_stuck": "reading the memory, called [0-9.]+ s after the command's start"},
	},
	"memory hangs from the start": {
		script:  oneGPU + "rule nvmlDeviceGetMemoryInfo_v2 hang",
		command: "fault nvmlDeviceGetMemoryInfo_v2; until-called nvmlDeviceGetPowerUsage 4",
		want:    map[string]string{"gpus.len": "1", "peak_vram_gb": "null", "gpus.0.peak_bytes": "null", "gpus.0.power_watts.max": "250.0"},
		reasons: map[string]string{
			"gpus.0.memory_api": ".", "gpus.0.memory_total_bytes": ".", "gpus.0.memory_reserved_bytes": ".",
			"gpus.0.peak_bytes": "no reading of its memory succeeded", "gpus.0.peak_at_seconds": ".", "peak_vram_gb": "no reading",
		},
		doubts: map[string]string{"gpu_driver_stuck": "reading the memory"},
	},
	"power hangs": {
		script:  oneGPU + "rule nvmlDeviceGetPowerUsage hang when=fault",
		command: "until-sampled 1; fault nvmlDeviceGetPowerUsage; echo 5GiB >used; until-called nvmlDeviceGetMemoryInfo_v2 3",
		want:    merge(undisturbedGPU(0, gib5), map[string]string{"peak_vram_gb": "5.0"}),
		reasons: map[string]string{"gpus.0.energy_joules": "did not return"},
		doubts:  map[string]string{"gpu_driver_stuck": "reading power, energy or processes"},
	},
	"process list hangs": {
		script:  oneGPU + "rule nvmlDeviceGetComputeRunningProcesses* hang when=fault",
		command: "until-sampled 1; fault nvmlDeviceGetComputeRunningProcesses; echo 5GiB >used; until-called nvmlDeviceGetMemoryInfo_v2 3",
		want:    merge(undisturbedGPU(0, gib5), map[string]string{"peak_vram_gb": "5.0"}),
		reasons: map[string]string{"gpus.0.energy_joules": "did not return"},
		doubts:  map[string]string{"gpu_driver_stuck": "reading power, energy or processes"},
	},
	"process list hangs from the start": {
		script:  oneGPU + "rule nvmlDeviceGetComputeRunningProcesses* hang",
		command: "fault nvmlDeviceGetComputeRunningProcesses; until-called nvmlDeviceGetMemoryInfo_v2 3",
		want:    map[string]string{"gpus.0.peak_bytes": gib3, "peak_vram_gb": "3.0", "gpus.0.used_by_job": "null"},
		reasons: map[string]string{
			"gpus.0.used_by_job": "did not list processes", "gpus.0.job_peak_bytes": ".", "gpus.0.foreign_processes": ".", "gpus.0.energy_joules": "did not return",
			"gpus.0.power_watts": "no reading", "gpus.0.utilization": ".", "gpus.0.temperature_celsius_max": ".", "gpus.0.throttled_fraction": ".", "gpus.0.throttle_reasons": ".",
		},
		doubts: map[string]string{"gpu_driver_stuck": "reading power, energy or processes", "devices_not_matched": "."},
	},
	"the last reading hangs": { // nothing before it does
		script:  oneGPU + "rule nvmlDeviceGetTotalEnergyConsumption hang when=fault",
		command: "until-sampled 1; touch fault",
		want:    merge(undisturbedGPU(0, gib3), map[string]string{"peak_vram_gb": "3.0"}),
		reasons: map[string]string{"gpus.0.energy_joules": "did not return"},
		doubts:  map[string]string{"gpu_driver_stuck": "reading power, energy or processes"},
	},
	"everything hangs": {
		script:  twoGPUs + "rule nvml* hang when=fault",
		command: "until-sampled 2; fault nvmlDeviceGetMemoryInfo_v2; echo 5GiB >used",
		want:    merge(undisturbedGPU(0, gib3), undisturbedGPU(1, gib3), map[string]string{"peak_vram_gb": "3.0"}),
		reasons: map[string]string{"gpus.0.energy_joules": "did not return", "gpus.1.energy_joules": "did not return"},
		doubts:  map[string]string{"gpu_driver_stuck": "."},
	},
	"everything hangs and TERM comes": {
		script:  oneGPU + "rule nvml* hang when=fault",
		command: "trap ': >ended; exit 3' TERM; until-sampled 1; fault nvmlDeviceGetMemoryInfo_v2; kill -TERM $PPID; for i in $(seq 600); do sleep 0.1; done; exit 1",
		want:    merge(undisturbedGPU(0, gib3), map[string]string{"peak_vram_gb": "3.0"}),
		reasons: map[string]string{"gpus.0.energy_joules": "did not return"},
		doubts:  map[string]string{"gpu_driver_stuck": "."},
	},

	// Initialization.
	"init hangs": {
		script:  "rule nvmlInit_v2 hang",
		command: "fault nvmlInit_v2",
		want:    map[string]string{"gpus": "null", "peak_vram_gb": "null"},
		reasons: map[string]string{"gpus": "still initializing", "peak_vram_gb": "still initializing"},
	},
	"naming the devices hangs": {
		script:  "devices 1\nrule nvmlDeviceGetName hang",
		command: "fault nvmlDeviceGetName",
		want:    map[string]string{"gpus": "null", "peak_vram_gb": "null"},
		reasons: map[string]string{"gpus": "still initializing", "peak_vram_gb": "still initializing"},
	},
	"an init of 3 s under 1 s": {
		script:  "rule nvmlInit_v2 sleep=3s",
		command: "sleep 1",
		want:    map[string]string{"gpus": "null", "peak_vram_gb": "null"},
		reasons: map[string]string{"gpus": "still initializing", "peak_vram_gb": "still initializing"},
	},
	"an init that ends after the command": {
		script:  oneGPU + "rule nvmlInit_v2 sleep=1200ms",
		command: "sleep 0.8",
		want:    map[string]string{"gpus.0.peak_bytes": gib3, "peak_vram_gb": "3.0"},
		doubts:  map[string]string{"gpu_sampling_late": "an earlier peak is unknown", "devices_not_matched": "."},
		loose:   true,
	},

	// Temporary errors.
	"transient errors": {
		script: oneGPU + `
			rule nvmlDeviceGetMemoryInfo_v2 code=TIMEOUT every=3
			rule nvmlDeviceGetPowerUsage code=UNKNOWN nth=1
			rule nvmlDeviceGetTotalEnergyConsumption code=UNKNOWN nth=1
			rule nvmlDeviceGetComputeRunningProcesses* code=TIMEOUT nth=2`,
		command: "until-sampled 1; echo 5GiB >used; until-sampled 1",
		want:    merge(undisturbedGPU(0, gib5), map[string]string{"peak_vram_gb": "5.0", "gpus.0.sampling.errors": "/^[1-9]/"}),
	},
	"the memory fails always": {
		script:  oneGPU + "rule nvmlDeviceGetMemoryInfo* code=UNKNOWN",
		command: "until-sampled 1",
		want:    map[string]string{"gpus.0.peak_bytes": "null", "peak_vram_gb": "null", "gpus.0.used_by_job": "true", "gpus.0.power_watts.max": "250.0", "gpus.0.sampling.samples": "0", "gpus.0.sampling.errors": "/^[1-9]/"},
		reasons: map[string]string{
			"gpus.0.memory_api": ".", "gpus.0.memory_total_bytes": ".", "gpus.0.memory_reserved_bytes": ".",
			"gpus.0.peak_bytes": "unknown error.*NVML error 999", "gpus.0.peak_at_seconds": ".", "peak_vram_gb": "no reading",
		},
	},

	// Features that a device does not have.
	"energy not supported": {
		script:  oneGPU + "energy unsupported",
		command: "until-sampled 1",
		want:    merge(undisturbedGPU(0, gib3), map[string]string{"gpus.0.sampling.errors": "0"}),
		reasons: map[string]string{"gpus.0.energy_joules": "does not support"},
	},
	"utilization not supported": {
		script:  oneGPU + "util unsupported",
		command: "until-sampled 1",
		want:    map[string]string{"gpus.0.peak_bytes": gib3, "gpus.0.power_watts.mean": "250.0", "gpus.0.sampling.errors": "0"},
		reasons: map[string]string{"gpus.0.utilization": "does not support"},
	},
	"the process list not permitted": {
		script:  oneGPU + "rule nvmlDeviceGetComputeRunningProcesses* code=NO_PERMISSION",
		command: "until-sampled 1",
		want:    map[string]string{"gpus.0.peak_bytes": gib3, "peak_vram_gb": "3.0", "gpus.0.sampling.errors": "0"},
		reasons: map[string]string{"gpus.0.used_by_job": "no permission", "gpus.0.job_peak_bytes": ".", "gpus.0.foreign_processes": "."},
		doubts:  map[string]string{"devices_not_matched": "."},
	},

	// Impossible values.
	"energy decreases": {
		script:  oneGPU + "energy 0 file energy",
		command: "until-sampled 1; echo 2000 >energy",
		want:    undisturbedGPU(0, gib3),
		reasons: map[string]string{"gpus.0.energy_joules": "decreased from 5000.000 to 2000.000 J"},
	},
	"more used than there is": {
		script:  oneGPU + "overfull",
		command: "until-sampled 1; echo 90GiB >used; until-sampled 1; echo 1GiB >used",
		want:    merge(undisturbedGPU(0, gib3), map[string]string{"peak_vram_gb": "3.0", "gpus.0.sampling.errors": "/^[1-9]/"}),
	},
	"all ones": {
		script:  oneGPU + "used unknown\npower unknown\nenergy unknown\nutil unknown\ntemp unknown",
		command: "until-sampled 1",
		want:    map[string]string{"gpus.0.peak_bytes": "null", "peak_vram_gb": "null", "gpus.0.throttled_fraction": "1.0", "gpus.0.sampling.errors": "/^[1-9]/"},
		reasons: map[string]string{
			"gpus.0.memory_api": ".", "gpus.0.memory_total_bytes": ".", "gpus.0.memory_reserved_bytes": ".",
			"gpus.0.peak_bytes": "no plausible value", "gpus.0.peak_at_seconds": "no plausible value", "peak_vram_gb": "no reading",
			"gpus.0.power_watts": "no plausible value", "gpus.0.energy_joules": "no plausible value",
			"gpus.0.utilization": "no plausible value", "gpus.0.temperature_celsius_max": "no plausible value",
		},
	},
	"a process with more than the device has": {
		script:  oneGPU + "process pid=child mem=200GiB\nprocess pid=parent mem=90GiB",
		command: "until-sampled 1",
		want:    map[string]string{"gpus.0.peak_bytes": gib3, "gpus.0.used_by_job": "true", "gpus.0.job_peak_bytes": "null", "gpus.0.foreign_processes.0.peak_bytes": "null"},
		reasons: map[string]string{"gpus.0.job_peak_bytes": "no plausible value", "gpus.0.foreign_processes.0.peak_bytes": "no plausible value"},
	},

	// Symbols that the loaded driver lacks.
	"no nvmlDeviceGetMemoryInfo_v2": {
		without: []string{"nvmlDeviceGetMemoryInfo_v2"},
		script:  oneGPU + "reserved 1GiB",
		command: "until-sampled 1",
		want:    merge(undisturbedGPU(0, "4294967296"), map[string]string{"gpus.0.memory_api": "v1", "peak_vram_gb": "4.0"}),
		reasons: map[string]string{"gpus.0.memory_reserved_bytes": "first version"},
	},
	"no memory at all": {
		without: []string{"nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"},
		script:  oneGPU,
		command: "until-called nvmlDeviceGetUUID",
		want:    map[string]string{"gpus": "null", "peak_vram_gb": "null"},
		reasons: map[string]string{"gpus": "nvmlDeviceGetMemoryInfo: .*newer driver", "peak_vram_gb": "nvmlDeviceGetMemoryInfo"},
	},
	"no energy, no reasons": {
		without: []string{"nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"},
		script:  oneGPU,
		command: "until-sampled 1",
		want:    map[string]string{"gpus.0.peak_bytes": gib3, "gpus.0.power_watts.max": "250.0"},
		reasons: map[string]string{
			"gpus.0.energy_joules":      "nvmlDeviceGetTotalEnergyConsumption: .*newer driver",
			"gpus.0.throttled_fraction": "nvmlDeviceGetCurrentClocksEventReasons: .*newer driver", "gpus.0.throttle_reasons": "newer driver",
		},
	},
	"no nvmlDeviceGetCurrentClocksEventReasons": { // its older name exists
		without: []string{"nvmlDeviceGetCurrentClocksEventReasons", "nvmlErrorString"},
		script:  oneGPU,
		command: "until-sampled 1",
		want:    undisturbedGPU(0, gib3),
	},
	"no nvmlDeviceGetCount": {
		without: []string{"nvmlDeviceGetCount", "nvmlDeviceGetCount_v2"},
		script:  oneGPU,
		command: "until-called nvmlSystemGetDriverVersion",
		want:    map[string]string{"gpus": "null", "peak_vram_gb": "null"},
		reasons: map[string]string{"gpus": "counting the GPUs: nvmlDeviceGetCount: .*newer driver", "peak_vram_gb": "counting the GPUs"},
	},
	"no nvmlDeviceGetHandleByIndex": {
		without: []string{"nvmlDeviceGetHandleByIndex", "nvmlDeviceGetHandleByIndex_v2"},
		script:  oneGPU,
		command: "until-called nvmlDeviceGetCount",
		want:    map[string]string{"gpus": "[]", "peak_vram_gb": "null"},
		reasons: map[string]string{"gpus": "GPU 0 cannot be sampled: nvmlDeviceGetHandleByIndex: .*newer driver", "peak_vram_gb": "nvmlDeviceGetHandleByIndex"},
	},

	// Slow drivers.
	"500 us a call": {
		script:  "devices 8\n" + usualGPU + "rule nvml* busy=500us",
		command: "until-called 'nvmlDeviceGetMemoryInfo_v2 7' 2",
		want:    map[string]string{"gpus.7.peak_bytes": gib3, "gpus.0.peak_bytes": gib3, "peak_vram_gb": "3.0", "gpus.0.sampling.errors": "0"},
		loose:   true, // a listing from before the command may be the only one
	},
	"20 ms of work a call": {
		script:  oneGPU + "rule nvml* busy=20ms",
		command: "until-called nvmlDeviceGetMemoryInfo_v2 2",
		want:    map[string]string{"gpus.0.peak_bytes": gib3, "peak_vram_gb": "3.0", "gpus.0.sampling.errors": "0"},
		loose:   true,
	},
	"20 ms a call": {
		script:  oneGPU + "rule nvml* sleep=20ms",
		command: "until-sampled 1; echo 5GiB >used; until-called nvmlDeviceGetMemoryInfo_v2 3",
		want:    merge(undisturbedGPU(0, gib5), map[string]string{"peak_vram_gb": "5.0", "gpus.0.sampling.errors": "0"}),
	},

	// Which devices, and whose.
	"no devices": {
		script:  "devices 0",
		command: "until-called nvmlDeviceGetCount",
		want:    map[string]string{"gpus": "[]", "peak_vram_gb": "null"},
		reasons: map[string]string{"peak_vram_gb": "shows no GPU"},
	},
	"an entry that names no device": {
		script:  twoGPUs,
		env:     []string{"CUDA_VISIBLE_DEVICES=1,GPU-nothing,0", "CUDA_DEVICE_ORDER=PCI_BUS_ID"},
		command: "until-sampled 1",
		want:    merge(undisturbedGPU(0, gib3), map[string]string{"gpus.len": "1", "gpus.0.index": "1"}),
		reasons: map[string]string{"gpus": `"GPU-nothing".*the list ends there`},
	},
	"a first entry that names no device": {
		script:  twoGPUs,
		env:     []string{"CUDA_VISIBLE_DEVICES=7,0"},
		command: "until-called nvmlDeviceGetUUID",
		want:    map[string]string{"gpus": "[]", "peak_vram_gb": "null"},
		reasons: map[string]string{"gpus": `"7".*the list ends there`, "peak_vram_gb": `"7"`},
	},
	"processes with unknown memory": {
		script: `
			devices 1
			used file used
			process pid=child mem=unknown
			process pid=parent mem=unknown
			power 250`,
		command: "until-sampled 1",
		want:    map[string]string{"gpus.0.peak_bytes": gib3, "peak_vram_gb": "3.0", "gpus.0.used_by_job": "true", "gpus.0.foreign_processes.len": "1"},
		reasons: map[string]string{"gpus.0.job_peak_bytes": "NOT_AVAILABLE", "gpus.0.foreign_processes.0.peak_bytes": "NOT_AVAILABLE"},
	},
	"a pid namespace": {
		inside: []string{"unshare", "--pid", "--fork", "--mount-proc"},
		// NVML has the ids of the outermost namespace, and lists this process there.
		script: fmt.Sprintf(`
			devices 2
			used file used
			device 1
			used 7GiB
			process pid=%d mem=7GiB`, os.Getpid()),
		command: "until-sampled 2",
		want:    map[string]string{"gpus.0.peak_bytes": gib3, "gpus.1.peak_bytes": "7516192768", "peak_vram_gb": "7.0", "gpus.1.used_by_job": "null"},
		reasons: map[string]string{
			"gpus.0.used_by_job": "another pid namespace", "gpus.0.job_peak_bytes": ".", "gpus.0.foreign_processes": ".",
			"gpus.1.used_by_job": "another pid namespace", "gpus.1.job_peak_bytes": ".", "gpus.1.foreign_processes": ".",
		},
		doubts: map[string]string{"devices_not_matched": "another pid namespace.*the highest peak of all sampled GPUs \\(2\\)"},
	},
	"none of the command's": {
		script:  "devices 2\nused file used\nprocess pid=parent mem=3GiB",
		command: "until-sampled 2",
		want:    map[string]string{"gpus.0.used_by_job": "false", "gpus.1.used_by_job": "false", "gpus.0.job_peak_bytes": "0", "peak_vram_gb": "3.0"},
		doubts:  map[string]string{"devices_not_matched": "no process of the command was seen"},
	},
}
