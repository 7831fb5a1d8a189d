package gpu

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Inspection is what NVML shows at one moment, read by the same calls as a Sampler's.
type Inspection struct {
	// Driver is the version of the NVIDIA driver; "" if it could not be read.
	Driver string
	// Count is the number of GPUs that NVML shows, not counting MIG instances.
	Count int
	// Devices are those that a Sampler of the same Config would sample.
	Devices []DeviceInspection
	// Unresolved are the entries of Visible or Devices that name no device, and why.
	Unresolved []string
	// WhyNone is why no device is visible; "" if one is, or if an entry is unresolved.
	WhyNone string
	// OrderUnknown reports whether CUDA may number the selected devices in another order.
	OrderUnknown bool
}

// DeviceInspection is one device of an [Inspection].
type DeviceInspection struct {
	Index int
	Name  string
	UUID  string
	// MIG reports whether it is a MIG instance; Index is then that of its GPU.
	MIG bool
	// UsedBytes and TotalBytes are its memory, unless MemoryErr is set. MemoryAPI is v1 if the
	// driver counts its own reserved memory as used, and v2 if not.
	UsedBytes, TotalBytes uint64
	MemoryAPI             string
	MemoryErr             error
	// PowerErr and EnergyErr are why these cannot be read; nil if they can.
	PowerErr, EnergyErr error
	// PIDs are the processes with a compute context on it, unless PIDsErr is set.
	PIDs    []int
	PIDsErr error
}

// memoryPatience is how long Inspect waits for the first reading of the memory, which a thread
// of the watcher makes.
const memoryPatience = time.Second

// Inspect initializes NVML and reads the devices once. Its error is that of the initialization:
// it may wrap one of the errors below. The calls of a driver may hang.
func Inspect(cfg Config) (*Inspection, error) { return inspect(cfg, newDriver()) }

func inspect(cfg Config, d driver) (*Inspection, error) {
	s := &Sampler{cfg: cfg, driver: d}
	if err := s.open(); err != nil {
		return nil, err
	}
	count, err := d.count()
	if err != nil {
		return nil, fmt.Errorf("counting the GPUs: %w", err)
	}
	out := &Inspection{Driver: s.version, Count: count, Unresolved: s.visible.unresolved, WhyNone: s.visible.whyNone, OrderUnknown: s.orderUnknown}
	if len(s.devices) == 0 {
		return out, nil
	}
	memory, memoryErr := readMemoryOnce(d, handles(s.devices))
	for i, dev := range s.devices {
		r := DeviceInspection{Index: dev.index, Name: dev.name, UUID: dev.uuid, MIG: dev.parent != nil, MemoryErr: memoryErr}
		if memoryErr == nil {
			m := memory[i]
			r.UsedBytes, r.TotalBytes, r.MemoryAPI, r.MemoryErr = m.first, m.total, m.api, m.err
			if m.firstAt.IsZero() && m.err == nil {
				r.MemoryErr = errors.New("the driver returned no reading of the memory in time")
			}
		}
		_, r.PowerErr = dev.gpu.power()
		_, r.EnergyErr = dev.gpu.energy()
		var list []process
		list, r.PIDsErr = dev.dev.processes(false)
		for _, p := range list {
			r.PIDs = append(r.PIDs, p.pid)
		}
		slices.Sort(r.PIDs)
		out.Devices = append(out.Devices, r)
	}
	return out, nil
}

// readMemoryOnce reads the memory of devices as a Sampler does.
func readMemoryOnce(d driver, devices []device) ([]memoryStats, error) {
	w, err := d.watch(devices, time.Hour)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(memoryPatience); ; time.Sleep(time.Millisecond) {
		stats, state := w.read()
		if state.rounds > 0 || time.Now().After(deadline) {
			w.stop(memoryPatience)
			return stats, nil
		}
	}
}

// Causes of an error of [Inspect].
var (
	// ErrNoLibrary means that the dynamic loader cannot load the library.
	ErrNoLibrary = errors.New("NVML cannot be loaded")
	// ErrNoDriver means that the library finds no loaded driver, or cannot reach it.
	ErrNoDriver = errors.New("the NVIDIA driver is not loaded")
	// ErrMismatch means that library and driver have different versions.
	ErrMismatch = errors.New("the driver and the NVML library have different versions")
	// ErrNoPermission means that the devices exist and may not be used.
	ErrNoPermission = errors.New("no permission to use the GPUs")
	// ErrNoSupport means that this build of vobs cannot call NVML.
	ErrNoSupport = errors.New("this build cannot call NVML")
)
