package schema

// GPU is one device visible to the command: a whole GPU or a MIG instance.
type GPU struct {
	// NVML's index of the device (PCI order); for a MIG instance, that of its parent.
	Index int `json:"index" kind:"identity"`
	// The device's UUID, GPU-… or MIG-….
	UUID string `json:"uuid"`
	// UUID of the GPU that a MIG instance is part of; null for a whole GPU.
	MIGOf *string `json:"mig_of"`
	// Product name.
	Name string `json:"name"`
	// Version of the NVIDIA driver.
	DriverVersion *string `json:"driver_version"`
	// NVML's definition of used memory behind `peak_bytes`: `v2` counts allocated memory only, `v1` also what the driver reserves.
	MemoryAPI *string `json:"memory_api" enum:"v1,v2"`
	// Total memory of the device.
	MemoryTotalBytes *int64 `json:"memory_total_bytes" kind:"configuration" unit:"bytes"`
	// Memory reserved by the driver; null if `memory_api` is `v1`.
	MemoryReservedBytes *int64 `json:"memory_reserved_bytes" kind:"reading" unit:"bytes"`
	// Used memory at the first reading; null if a process of the command was already on the device.
	BaselineBytes *int64 `json:"baseline_bytes" kind:"reading" unit:"bytes"`
	// Highest sampled used memory of the whole device. A lower bound: see `sampling`.
	PeakBytes *int64 `json:"peak_bytes" kind:"sampled peak" unit:"bytes" better:"lower"`
	// When that peak was first seen, in seconds after the command's start.
	PeakAtSeconds *Float `json:"peak_at_seconds" kind:"instant" unit:"seconds"`
	// Whether a process of the command, or a worker of Ray whose driver is one, had memory on the device; null if GPU processes cannot be matched with the command's.
	UsedByJob *bool `json:"used_by_job"`
	// Highest sampled memory of the command's processes on the device.
	JobPeakBytes *int64 `json:"job_peak_bytes" kind:"sampled peak" unit:"bytes" better:"lower"`
	// Other processes that had memory on the device.
	ForeignProcesses []ForeignProcess `json:"foreign_processes" schema:"nullable"`
	// Fraction of time in which a kernel was running, as averaged by the driver.
	Utilization *MeanMax `json:"utilization" unit:"fraction"`
	// Fraction of the SMs that had a warp resident, averaged over time and SMs. The maximum is of a period between two readings, 0.25 s or longer, or with a dcgm-exporter, of the interval at which it collects.
	SMActive *MeanMax `json:"sm_active" unit:"fraction"`
	// Resident warps as a fraction of those that the SMs can hold.
	SMOccupancy *MeanMax `json:"sm_occupancy" unit:"fraction"`
	// Fraction of time in which the tensor cores were active.
	TensorActive *MeanMax `json:"tensor_active" unit:"fraction"`
	// Fraction of the memory's bandwidth that was used.
	DRAMActive *MeanMax `json:"dram_active" unit:"fraction"`
	// Source of `sm_active`, `sm_occupancy`, `tensor_active` and `dram_active`: `nvml_gpm` (NVML's performance counters; Hopper and later), or `dcgm` (a dcgm-exporter given by `--metrics-url`) if those have no figure of the device.
	ActivitySource *string `json:"activity_source" enum:"nvml_gpm,dcgm"`
	// Power draw, as averaged by the driver (over 1 s on most GPUs since Ampere).
	PowerWatts *MeanMax `json:"power_watts" unit:"watts"`
	// Energy between the first and the last reading, from the device's counter.
	EnergyJoules *Float `json:"energy_joules" kind:"counter" unit:"joules" better:"lower"`
	// The part of `energy_joules` that falls into the active time of the engines on this host, from readings of the counter at each change between idle and active. Null if polls and counter leave more than a tenth open.
	EnergyActiveJoules *Float `json:"energy_active_joules" kind:"counter" unit:"joules" better:"lower"`
	// Mean power while no engine worked: before the command, and from 2 s after the engines' last work on.
	IdleWatts *Float `json:"idle_watts" kind:"sampled mean" unit:"watts" better:"lower"`
	// Highest sampled temperature of the GPU.
	TemperatureCelsiusMax *int `json:"temperature_celsius_max" kind:"sampled peak" unit:"celsius" better:"lower"`
	// Fraction of readings in which power, heat or a power brake held the clocks down.
	ThrottledFraction *Float `json:"throttled_fraction" kind:"sampled mean" unit:"fraction" better:"lower"`
	// Reasons seen for reduced clocks, by NVML's names.
	ThrottleReasons []string `json:"throttle_reasons" schema:"nullable"`
	// Peaks of torch's allocator, per worker.
	Torch []TorchMemory `json:"torch" schema:"nullable"`
	// How the device's memory was sampled.
	Sampling *Sampling `json:"sampling"`
}

// MeanMax summarises a sampled quantity.
type MeanMax struct {
	// Mean of the readings.
	Mean Float `json:"mean" kind:"sampled mean"`
	// Highest reading.
	Max Float `json:"max" kind:"sampled peak"`
}

// ForeignProcess is a process on a device that does not belong to the command.
type ForeignProcess struct {
	// Process id.
	PID int `json:"pid" kind:"identity"`
	// Its name; null if it cannot be read.
	Name *string `json:"name"`
	// Highest sampled memory on the device; null if the driver does not report it.
	PeakBytes *int64 `json:"peak_bytes" kind:"sampled peak" unit:"bytes"`
}

// TorchMemory holds the peaks of torch's caching allocator in one worker.
type TorchMemory struct {
	// The worker's rank.
	Rank int `json:"rank" kind:"identity"`
	// Its process id.
	PID int `json:"pid" kind:"identity"`
	// torch.cuda.max_memory_allocated.
	MaxAllocatedBytes *int64 `json:"max_allocated_bytes" kind:"peak" unit:"bytes" better:"lower"`
	// torch.cuda.max_memory_reserved.
	MaxReservedBytes *int64 `json:"max_reserved_bytes" kind:"peak" unit:"bytes" better:"lower"`
}
