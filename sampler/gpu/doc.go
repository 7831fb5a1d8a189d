// Package gpu samples NVIDIA GPUs through NVML: memory on a fast clock; energy, power,
// utilization, temperature, throttle reasons and processes on a slow one.
//
// # Parts
//
//   - [Sampler] (gpu.go, session.go) initializes NVML, makes the slow rounds
//     (readings.go, processes.go) and turns what was read into the event's group
//     (report.go).
//   - energy.go relates the energy counters to when the engines worked (activity.go), and
//     profile.go reads the performance counters (NVML's GPM, nvml_gpm.c).
//   - visible.go resolves CUDA_VISIBLE_DEVICES and --device to devices.
//   - [Governor] sets the intervals from the measured CPU time.
//   - driver is the part of NVML that the sampler uses. nvml_linux.go implements it with
//     go-nvml; nvml_watch.c is the thread that reads the memory. It is C because the
//     wake-up dominates the cost. Without Linux and cgo, nvml_none.go returns why GPUs
//     cannot be sampled.
//
// # Calls that hang
//
// Any NVML call may hang forever and cannot be cancelled. No lock is held during a
// call, [Sampler.Stop] waits for at most 2 s, and what was sampled before is reported.
package gpu
