package gpu

import (
	"errors"
	"fmt"
	"time"
)

// driver is NVML as the sampling needs it: small, so that the sampling is
// tested without a library, on a clock that the test turns. The real one is in
// nvml_linux.go.
//
// Any call may hang for ever; nothing here can be cancelled.
type driver interface {
	// Start loads and initialises NVML. After an error nothing else may be called.
	start() error
	// version is the version of the NVIDIA driver.
	version() (string, error)
	// count is the number of GPUs; MIG instances are not counted.
	count() (int, error)
	// gpu gives the GPU with this index, in NVML's order, which is that of the PCI bus.
	gpu(index int) (device, error)
	// watch begins to read the memory of all devices, at once and then on its own
	// clock, until it is stopped.
	watch(devices []device, interval time.Duration) (watcher, error)
	// threadCPU is the CPU time of the calling thread.
	threadCPU() time.Duration
}

// device is a GPU or a MIG instance.
type device interface {
	uuid() (string, error)
	name() (string, error)
	// instances lists the MIG instances of a GPU in MIG mode; on says whether it is in that mode.
	instances() (list []instance, on bool, err error)
	power() (watts float64, err error)
	energy() (joules float64, err error)
	utilization() (fraction float64, err error)
	temperature() (celsius int, err error)
	// throttle is NVML's bit mask of what decides the clocks.
	throttle() (uint64, error)
	// processes lists the processes with a context on the device: those that
	// compute, or those that draw.
	processes(graphics bool) ([]process, error)
}

// instance is a MIG instance with the ids of its GPU and compute instance.
type instance struct {
	device
	number, gi, ci int
}

// process is a process's memory on a device.
type process struct {
	pid    int
	memory uint64 // bytes
	known  bool   // false: the driver does not tell how much
}

// watcher reads the memory of devices on its own clock.
type watcher interface {
	// read gives the figures so far, one per device.
	read() ([]memory, watchState)
	// countFrom tells when the command started: the peak and the samples count
	// from there. Until then only the first reading is kept.
	countFrom(t time.Time)
	// pace sets the interval. With careful, the watcher waits of its own accord
	// after a round that cost much, until the next call of pace: between two
	// looks of the governor a driver may become expensive.
	pace(interval time.Duration, careful bool)
	// stop makes a last round and ends the watcher. It reports whether that
	// happened within timeout; the figures can be read in any case.
	stop(timeout time.Duration) bool
}

// memory is what was read of one device's memory. Sizes are bytes.
type memory struct {
	api             string // "v1" or "v2"; empty before the first reading
	total, reserved uint64
	first           uint64
	firstAt         time.Time // zero without any reading
	peak            uint64
	peakAt          time.Time
	samples, errors int64     // since the command's start
	countedFirst    time.Time // first and last reading since the command's start
	countedLast     time.Time
	maxGap          time.Duration
	err             error // the last failure
}

// exceeds tells whether so many bytes cannot be, as the device does not have them.
func (m memory) exceeds(bytes uint64) bool { return m.total > 0 && bytes > m.total }

// watchState is what a watcher spends and does.
type watchState struct {
	rounds    int64
	cpu       time.Duration // of all rounds, wake-ups included
	busySince time.Time     // when the round that is going on began; zero between rounds
}

// errUnsupported marks what a device or driver does not offer, as against what
// failed this time: it is not asked again.
var errUnsupported = errors.New("not supported")

// callError is a failed NVML call.
type callError struct {
	call string
	code int
}

func (e *callError) Error() string {
	return fmt.Sprintf("%s: %s (NVML error %d)", e.call, codeText(e.code), e.code)
}

// Is tells failures for good from passing ones.
func (e *callError) Is(target error) bool {
	if target != errUnsupported {
		return false
	}
	switch e.code {
	case codeNotSupported, codeFunctionNotFound, codeNoPermission, codeArgumentVersion:
		return true
	}
	return false
}

// NVML's return codes that mean something here (nvml.h, nvmlReturn_t).
const (
	codeUninitialized     = 1
	codeInvalidArgument   = 2
	codeNotSupported      = 3
	codeNoPermission      = 4
	codeNotFound          = 6
	codeInsufficientPower = 8
	codeDriverNotLoaded   = 9
	codeTimeout           = 10
	codeLibraryNotFound   = 12
	codeFunctionNotFound  = 13
	codeGPULost           = 15
	codeResetRequired     = 16
	codeOperatingSystem   = 17
	codeVersionMismatch   = 18
	codeArgumentVersion   = 25
)

// codeText says what a return code means and, where something can be done, what.
// NVML's own nvmlErrorString is not asked: after a failed init it must not be called.
func codeText(code int) string {
	switch code {
	case codeUninitialized:
		return "NVML is not initialised"
	case codeInvalidArgument:
		return "invalid argument"
	case codeNotSupported:
		return "the device does not support it"
	case codeNoPermission:
		return "no permission: run as a user who may, or ask the administrator"
	case codeNotFound:
		return "not found"
	case codeInsufficientPower:
		return "a GPU's external power cables are not attached properly"
	case codeDriverNotLoaded:
		return "the NVIDIA driver is not loaded: see whether nvidia-smi works, and in a container whether it was given a GPU"
	case codeTimeout:
		return "the driver timed out"
	case codeLibraryNotFound:
		return "NVML's library cannot be loaded"
	case codeFunctionNotFound:
		return "this driver does not have the function: a newer driver may"
	case codeGPULost:
		return "the GPU is lost: it fell off the bus or cannot be reached"
	case codeResetRequired:
		return "the GPU must be reset before it can be used again"
	case codeOperatingSystem:
		return "the GPU is blocked by the operating system or its cgroup"
	case codeVersionMismatch:
		return "driver and NVML library have different versions: reboot, or reload the kernel module, after an update of the driver"
	case codeArgumentVersion:
		return "the driver does not know this version of the call"
	default:
		return "the driver reports an unknown error: see whether nvidia-smi works"
	}
}
