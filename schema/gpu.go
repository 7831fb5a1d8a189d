package schema

// GPU is one device that the command could see: a whole GPU or a MIG instance.
type GPU struct {
	// NVML's index of the device (PCI order); of a MIG instance, its parent's.
	Index int `json:"index" kind:"identity"`
	// The device's UUID, GPU-… or MIG-….
	UUID string `json:"uuid"`
	// UUID of the GPU that a MIG instance is part of; null for a whole GPU.
	MIGOf *string `json:"mig_of"`
	// Product name.
	Name string `json:"name"`
	// Version of the NVIDIA driver.
	DriverVersion *string `json:"driver_version"`
	// Which definition `peak_bytes` follows: v2 counts allocated memory, v1 also what the driver reserved.
	MemoryAPI *string `json:"memory_api" enum:"v1,v2"`
	// Memory of the device.
	MemoryTotalBytes *int64 `json:"memory_total_bytes" kind:"configuration" unit:"bytes"`
	// Memory that the driver keeps for itself; null under memory_api v1.
	MemoryReservedBytes *int64 `json:"memory_reserved_bytes" kind:"reading" unit:"bytes"`
	// Used memory at the first reading, if no process of the command was on the device yet.
	BaselineBytes *int64 `json:"baseline_bytes" kind:"reading" unit:"bytes"`
	// Highest sampled used memory of the whole device. A lower bound: see sampling.
	PeakBytes *int64 `json:"peak_bytes" kind:"sampled peak" unit:"bytes" better:"lower"`
	// When that peak was first seen, seconds after the command's start.
	PeakAtSeconds *Float `json:"peak_at_seconds" kind:"instant" unit:"seconds"`
	// Whether a process of the command had memory on the device; null where processes cannot be matched.
	UsedByJob *bool `json:"used_by_job"`
	// Highest sampled memory of the command's processes on the device.
	JobPeakBytes *int64 `json:"job_peak_bytes" kind:"sampled peak" unit:"bytes" better:"lower"`
	// Other processes that had memory on the device.
	ForeignProcesses []ForeignProcess `json:"foreign_processes" schema:"nullable"`
	// Share of time in which a kernel ran, as the driver averages it.
	Utilization *MeanMax `json:"utilization" unit:"fraction"`
	// Power draw, as the driver averages it (1 s on most GPUs since Ampere).
	PowerWatts *MeanMax `json:"power_watts" unit:"watts"`
	// Energy between the first and the last reading, by the device's counter.
	EnergyJoules *Float `json:"energy_joules" kind:"counter" unit:"joules" better:"lower"`
	// The part of energy_joules that fell into the engine's active time.
	EnergyActiveJoules *Float `json:"energy_active_joules" kind:"counter" unit:"joules" better:"lower"`
	// Highest sampled temperature of the GPU.
	TemperatureCelsiusMax *int `json:"temperature_celsius_max" kind:"sampled peak" unit:"celsius" better:"lower"`
	// Share of readings in which the clocks were held down by power, heat or a brake.
	ThrottledFraction *Float `json:"throttled_fraction" kind:"sampled mean" unit:"fraction" better:"lower"`
	// Reasons seen that held the clocks down, by NVML's names.
	ThrottleReasons []string `json:"throttle_reasons" schema:"nullable"`
	// Peaks of torch's own allocator, per worker.
	Torch []TorchMemory `json:"torch" schema:"nullable"`
	// How the device's memory was sampled.
	Sampling *Sampling `json:"sampling"`
}

// MeanMax summarises a sampled quantity.
type MeanMax struct {
	// Mean over the readings.
	Mean Float `json:"mean" kind:"sampled mean"`
	// Highest reading.
	Max Float `json:"max" kind:"sampled peak"`
}

// ForeignProcess is a process on a device that is not of the command.
type ForeignProcess struct {
	// Process id.
	PID int `json:"pid" kind:"identity"`
	// Its name; null where it cannot be read.
	Name *string `json:"name"`
	// Highest sampled memory on the device; null where the driver does not tell.
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
