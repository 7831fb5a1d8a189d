package gpu

import (
	"errors"
	"fmt"
	"time"

	"github.com/vobs/vobs/internal/curve"
)

// driver is the part of NVML that the sampler uses. It is small, so that tests can
// replace it and run on a simulated clock. The real implementation is in nvml_linux.go.
//
// Any call may hang forever; none can be cancelled.
type driver interface {
	// start loads and initializes NVML. After an error no other method may be called.
	start() error
	// version returns the version of the NVIDIA driver.
	version() (string, error)
	// count returns the number of GPUs, not counting MIG instances.
	count() (int, error)
	// gpu returns the GPU with this index in NVML's order, that of the PCI bus.
	gpu(index int) (device, error)
	// watch starts to read the memory of all devices, immediately and then on its own
	// clock, until the watcher is stopped.
	watch(devices []device, interval time.Duration) (watcher, error)
	// threadCPU returns the CPU time of the calling thread.
	threadCPU() time.Duration
}

// device is a GPU or a MIG instance.
type device interface {
	uuid() (string, error)
	name() (string, error)
	// instances returns the MIG instances of a GPU; enabled reports whether it is in MIG mode.
	instances() (list []migInstance, enabled bool, err error)
	power() (watts float64, err error)
	energy() (joules float64, err error)
	// inModule reports whether the GPU is part of a Grace module.
	inModule() bool
	// profiler returns a reader of the performance counters, or why there is none.
	profiler() (profiler, error)
	utilization() (fraction float64, err error)
	temperature() (celsius int, err error)
	// throttle returns NVML's bit mask of the reasons that determine the clocks.
	throttle() (uint64, error)
	// processes returns the processes with a compute context on the device, or those
	// with a graphics context.
	processes(graphics bool) ([]process, error)
}

// migInstance is a MIG instance: its index on the GPU, and the ids of its GPU instance
// and compute instance.
type migInstance struct {
	device
	number, gi, ci int
}

// process is the memory of a process on a device.
type process struct {
	pid         int
	memory      uint64 // bytes
	memoryKnown bool   // false: the driver does not report it
}

// watcher reads the memory of devices on its own clock.
type watcher interface {
	// read returns the figures so far, one per device.
	read() ([]memoryStats, watcherState)
	// take returns what was read of a device's memory since the last call, by slots of
	// [curve.Shortest] since the command's start. If it is not called for 16 s, the oldest
	// slots are lost.
	take(device int) []curve.Part
	// countFrom sets the command's start: the peak and the samples count from there.
	// Before that only the first reading is kept.
	countFrom(t time.Time)
	// setInterval sets the interval between rounds. With hold, the watcher pauses after
	// an expensive round, until the next call of setInterval: a driver may become
	// expensive between two ticks of the governor.
	setInterval(interval time.Duration, hold bool)
	// stop makes a last round and ends the watcher. It reports whether that happened
	// within timeout; the figures can be read in any case.
	stop(timeout time.Duration) bool
}

// memoryStats summarizes the readings of one device's memory. Sizes are bytes.
type memoryStats struct {
	api             string // "v1" or "v2"; empty before the first reading
	total, reserved uint64
	first           uint64
	firstAt         time.Time // zero before the first reading
	peak            uint64
	peakAt          time.Time
	samples, errors int64     // since the command's start
	countedFirst    time.Time // first and last reading since the command's start
	countedLast     time.Time
	maxGap          time.Duration
	err             error // the last failure
}

// exceeded reports whether bytes is more than the device has, hence implausible.
func (m memoryStats) exceeded(bytes uint64) bool { return m.total > 0 && bytes > m.total }

// watcherState is what a watcher has spent and is doing.
type watcherState struct {
	rounds    int64
	cpu       time.Duration // of all rounds, wake-ups included
	busySince time.Time     // when the current round began; zero between rounds
}

// errUnsupported matches errors of what a device or driver does not offer, as opposed to
// a call that failed this time. The call is not repeated.
var errUnsupported = errors.New("not supported")

// errImplausible is the error for values that cannot be real: NVML's stand-ins for an
// unknown value, and more memory than the device has.
var errImplausible = errors.New("the driver returned no plausible value")

// callError is a failed NVML call.
type callError struct {
	call string
	code int
}

func (e *callError) Error() string {
	return fmt.Sprintf("%s: %s (NVML error %d)", e.call, codeText(e.code), e.code)
}

// Is reports, for errUnsupported, whether the call would fail again, and for the causes of an
// error of [Inspect] whether it is this one.
func (e *callError) Is(target error) bool {
	switch e.code {
	case codeNotSupported, codeFunctionNotFound, codeArgumentVersion:
		return target == errUnsupported
	case codeNoPermission:
		return target == errUnsupported || target == ErrNoPermission
	case codeOperatingSystem:
		return target == ErrNoPermission
	case codeLibraryNotFound:
		return target == ErrNoLibrary
	case codeDriverNotLoaded:
		return target == ErrNoDriver
	case codeVersionMismatch:
		return target == ErrMismatch
	}
	return false
}

// NVML's return codes that have a text of their own here (nvml.h, nvmlReturn_t).
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

// codeText returns the meaning of a return code and, if possible, what to do about it.
// It does not use NVML's nvmlErrorString, which must not be called after a failed init.
func codeText(code int) string {
	switch code {
	case codeUninitialized:
		return "NVML is not initialized"
	case codeInvalidArgument:
		return "invalid argument"
	case codeNotSupported:
		return "the device does not support it"
	case codeNoPermission:
		return "no permission: run as a user who has it, or ask the administrator"
	case codeNotFound:
		return "not found"
	case codeInsufficientPower:
		return "the external power cables of a GPU are not attached properly"
	case codeDriverNotLoaded:
		return "the NVIDIA driver is not loaded: check that nvidia-smi works and, in a container, that it has access to a GPU"
	case codeTimeout:
		return "the driver timed out"
	case codeLibraryNotFound:
		return "NVML's library cannot be loaded"
	case codeFunctionNotFound:
		return "this driver lacks the function: a newer driver may have it"
	case codeGPULost:
		return "the GPU is lost: it fell off the bus or cannot be reached"
	case codeResetRequired:
		return "the GPU must be reset before it can be used again"
	case codeOperatingSystem:
		return "the GPU is blocked by the operating system or its cgroup"
	case codeVersionMismatch:
		return "the driver and the NVML library have different versions: after a driver update, reboot or reload the kernel module"
	case codeArgumentVersion:
		return "the driver does not support this version of the call"
	default:
		return "the driver reports an unknown error: check that nvidia-smi works"
	}
}
