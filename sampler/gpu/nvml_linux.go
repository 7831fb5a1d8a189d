//go:build linux && cgo

package gpu

// #include <stdlib.h>
// #include "nvml_watch.h"
import "C"

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/threads"
)

// libraryName is the library that go-nvml loads too. The dynamic loader finds it through
// LD_LIBRARY_PATH, its cache or the container's mounts.
const libraryName = "libnvidia-ml.so.1"

// newDriver returns the real NVML.
func newDriver() driver { return &nvmlDriver{symbols: map[string]bool{}} }

// nvmlDriver implements driver with go-nvml. go-nvml leaves undefined symbols to the
// dynamic loader, which ends the process with exit code 127 if the loaded driver lacks
// one (seen with go-nvml v0.13.0-1). So the library is loaded here first, every symbol is
// looked up before its first call, and nothing is called after a failed init.
type nvmlDriver struct {
	mu      sync.Mutex
	symbols map[string]bool // symbols looked up, and whether the driver has them
}

func (d *nvmlDriver) start() error {
	// With LD_BIND_NOW the loader has looked for NVML's functions before their library was there.
	// In the packages, whose references are weak (packaging/zigcc), the functions are null then;
	// any other build has not started.
	if os.Getenv("LD_BIND_NOW") != "" {
		return errors.New("NVML cannot be used with LD_BIND_NOW: unset it in vobs's environment")
	}
	lib := dl.New(libraryName, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
	if err := lib.Open(); err != nil {
		// Unlike go-nvml's error, the loader's message distinguishes a missing library from
		// an unusable one.
		return fmt.Errorf("%w: %w: check that the NVIDIA driver is installed and, in a container, that it has access to a GPU", ErrNoLibrary, err)
	}
	if lib.Lookup("nvmlInit_v2") != nil && lib.Lookup("nvmlInit") != nil {
		return fmt.Errorf("%s is not an NVML library: it has no nvmlInit", libraryName)
	}
	if rc := nvml.Init(); rc != nvml.SUCCESS {
		return fmt.Errorf("NVML cannot be initialized: %w", &callError{"nvmlInit", int(rc)})
	}
	return nil
}

// has reports whether the driver has one of the named symbols.
func (d *nvmlDriver) has(names ...string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range names {
		found, ok := d.symbols[name]
		if !ok {
			found = nvml.Extensions().LookupSymbol(name) == nil
			d.symbols[name] = found
		}
		if found {
			return true
		}
	}
	return false
}

// need returns an error if the driver has none of the named symbols.
func (d *nvmlDriver) need(names ...string) error {
	if d.has(names...) {
		return nil
	}
	return &callError{names[0], codeFunctionNotFound}
}

// result converts a return code to an error.
func result(call string, rc nvml.Return) error {
	if rc == nvml.SUCCESS {
		return nil
	}
	return &callError{call, int(rc)}
}

func (d *nvmlDriver) version() (string, error) {
	const call = "nvmlSystemGetDriverVersion"
	if err := d.need(call); err != nil {
		return "", err
	}
	v, rc := nvml.SystemGetDriverVersion()
	return v, result(call, rc)
}

func (d *nvmlDriver) count() (int, error) {
	const call = "nvmlDeviceGetCount"
	if err := d.need(call, "nvmlDeviceGetCount_v2"); err != nil {
		return 0, err
	}
	n, rc := nvml.DeviceGetCount()
	return n, result(call, rc)
}

func (d *nvmlDriver) gpu(index int) (device, error) {
	const call = "nvmlDeviceGetHandleByIndex"
	if err := d.need(call, "nvmlDeviceGetHandleByIndex_v2"); err != nil {
		return nil, err
	}
	h, rc := nvml.DeviceGetHandleByIndex(index)
	if rc != nvml.SUCCESS {
		return nil, result(call, rc)
	}
	return &nvmlDevice{d, h}, nil
}

func (d *nvmlDriver) threadCPU() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// nvmlDevice is a device through go-nvml.
type nvmlDevice struct {
	driver *nvmlDriver
	handle nvml.Device
}

func (d *nvmlDevice) uuid() (string, error) {
	const call = "nvmlDeviceGetUUID"
	if err := d.driver.need(call); err != nil {
		return "", err
	}
	s, rc := d.handle.GetUUID()
	return s, result(call, rc)
}

func (d *nvmlDevice) name() (string, error) {
	const call = "nvmlDeviceGetName"
	if err := d.driver.need(call); err != nil {
		return "", err
	}
	s, rc := d.handle.GetName()
	return s, result(call, rc)
}

func (d *nvmlDevice) instances() (list []migInstance, enabled bool, err error) {
	const call = "nvmlDeviceGetMigDeviceHandleByIndex"
	// A driver or a GPU that lacks this call does not support MIG.
	if !d.driver.has("nvmlDeviceGetMigMode") {
		return nil, false, nil
	}
	mode, _, rc := d.handle.GetMigMode()
	if rc != nvml.SUCCESS || mode != nvml.DEVICE_MIG_ENABLE {
		return nil, false, nil
	}
	for _, name := range []string{call, "nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId"} {
		if err := d.driver.need(name); err != nil {
			return nil, true, err
		}
	}
	count, rc := d.handle.GetMaxMigDeviceCount()
	if rc != nvml.SUCCESS {
		return nil, true, result("nvmlDeviceGetMaxMigDeviceCount", rc)
	}
	for i := range count {
		h, rc := d.handle.GetMigDeviceHandleByIndex(i)
		if rc == nvml.ERROR_NOT_FOUND {
			continue // indices may have gaps
		}
		if rc != nvml.SUCCESS {
			return list, true, result(call, rc)
		}
		// An instance without ids can still be selected by its UUID.
		gi, rc1 := h.GetGpuInstanceId()
		ci, rc2 := h.GetComputeInstanceId()
		if rc1 != nvml.SUCCESS || rc2 != nvml.SUCCESS {
			gi, ci = -1, -1
		}
		list = append(list, migInstance{&nvmlDevice{d.driver, h}, i, gi, ci})
	}
	return list, true, nil
}

func (d *nvmlDevice) power() (float64, error) {
	const call = "nvmlDeviceGetPowerUsage"
	if err := d.driver.need(call); err != nil {
		return 0, err
	}
	mw, rc := d.handle.GetPowerUsage()
	if rc == nvml.SUCCESS && mw == math.MaxUint32 {
		return 0, fmt.Errorf("%s: %w", call, errImplausible)
	}
	return float64(mw) / 1e3, result(call, rc)
}

func (d *nvmlDevice) energy() (float64, error) {
	const call = "nvmlDeviceGetTotalEnergyConsumption"
	if err := d.driver.need(call); err != nil {
		return 0, err
	}
	mj, rc := d.handle.GetTotalEnergyConsumption()
	if rc == nvml.SUCCESS && mj == math.MaxUint64 {
		return 0, fmt.Errorf("%s: %w", call, errImplausible)
	}
	return float64(mj) / 1e3, result(call, rc)
}

// inModule asks for the link between CPU and GPU (C2C), which only Grace modules have; Zeus
// recognizes them by it, too (zeus/device/gpu/nvidia.py, 0.16).
func (d *nvmlDevice) inModule() bool {
	if !d.driver.has("nvmlDeviceGetC2cModeInfoV") {
		return false
	}
	info, rc := d.handle.GetC2cModeInfoV().V1()
	return rc == nvml.SUCCESS && info.IsC2cEnabled == 1
}

func (d *nvmlDevice) utilization() (float64, error) {
	const call = "nvmlDeviceGetUtilizationRates"
	if err := d.driver.need(call); err != nil {
		return 0, err
	}
	u, rc := d.handle.GetUtilizationRates()
	if rc == nvml.SUCCESS && u.Gpu > 100 {
		return 0, fmt.Errorf("%s: %w", call, errImplausible)
	}
	return float64(u.Gpu) / 100, result(call, rc)
}

func (d *nvmlDevice) temperature() (int, error) {
	// Deprecated since CUDA 13 in favour of nvmlDeviceGetTemperatureV, which drivers before 570 lack.
	const call, newer = "nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV"
	var celsius int
	var rc nvml.Return
	switch {
	case d.driver.has(call):
		var c uint32
		c, rc = d.handle.GetTemperature(nvml.TEMPERATURE_GPU)
		celsius = int(int32(c))
	case d.driver.has(newer):
		var t nvml.Temperature
		t, rc = d.handle.GetTemperatureV().V1()
		celsius = int(t.Temperature)
	default:
		return 0, d.driver.need(newer)
	}
	if rc == nvml.SUCCESS && (celsius < -100 || celsius > 300 || celsius == -1) {
		return 0, fmt.Errorf("%s: %w", call, errImplausible)
	}
	return celsius, result(call, rc)
}

func (d *nvmlDevice) throttle() (uint64, error) {
	const call, older = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
	var mask uint64
	var rc nvml.Return
	switch {
	case d.driver.has(call):
		mask, rc = d.handle.GetCurrentClocksEventReasons()
	case d.driver.has(older):
		mask, rc = d.handle.GetCurrentClocksThrottleReasons()
	default:
		return 0, d.driver.need(call)
	}
	if rc == nvml.SUCCESS && mask == math.MaxUint64 {
		return 0, fmt.Errorf("%s: %w", call, errImplausible)
	}
	return mask, result(call, rc)
}

func (d *nvmlDevice) processes(graphics bool) ([]process, error) {
	call := "nvmlDeviceGetComputeRunningProcesses"
	if graphics {
		call = "nvmlDeviceGetGraphicsRunningProcesses"
	}
	// go-nvml calls the newest of the three that the driver has.
	if err := d.driver.need(call, call+"_v2", call+"_v3"); err != nil {
		return nil, err
	}
	read := d.handle.GetComputeRunningProcesses
	if graphics {
		read = d.handle.GetGraphicsRunningProcesses
	}
	infos, rc := read()
	if rc != nvml.SUCCESS {
		return nil, result(call, rc)
	}
	list := make([]process, 0, len(infos))
	for _, p := range infos {
		list = append(list, process{int(p.Pid), p.UsedGpuMemory, p.UsedGpuMemory != math.MaxUint64})
	}
	return list, nil
}

// raw returns the device's handle for use in C. go-nvml hides the type of the handle but
// exports its only field.
func (d *nvmlDevice) raw() (uintptr, error) {
	v := reflect.ValueOf(d.handle)
	if v.Kind() != reflect.Struct || v.NumField() != 1 || v.Field(0).Kind() != reflect.Pointer {
		return 0, fmt.Errorf("go-nvml changed its device type to %v: this vobs must be built with v0.13.0-1", v.Type())
	}
	return v.Field(0).Pointer(), nil
}

// nvmlWatcher implements watcher with the C thread of nvml_watch.c.
type nvmlWatcher struct {
	n int // devices
	// The same moment on both clocks: Go's, and CLOCK_MONOTONIC in ns.
	wall time.Time
	mono int64

	mu         sync.Mutex
	c          *C.vobs_watch // nil once it is stopped and freed
	buffer     []C.vobs_device
	parts      [C.VOBS_SLOTS]C.vobs_part
	finalParts [][]curve.Part // by device, when it was freed
	finalStats []memoryStats
	finalState watcherState
	stopFailed bool // stop timed out
}

func (d *nvmlDriver) watch(devices []device, interval time.Duration) (watcher, error) {
	if err := d.need("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"); err != nil {
		return nil, err
	}
	handles := make([]C.uintptr_t, len(devices))
	for i, dev := range devices {
		h, err := dev.(*nvmlDevice).raw()
		if err != nil {
			return nil, err
		}
		handles[i] = C.uintptr_t(h)
	}
	name := C.CString(libraryName)
	defer C.free(unsafe.Pointer(name))
	w := &nvmlWatcher{n: len(devices), buffer: make([]C.vobs_device, len(devices)), wall: time.Now(), mono: int64(C.vobs_monotonic())}
	w.c = C.vobs_watch_start(name, C.int(len(devices)), &handles[0], C.int64_t(interval), (*C.vobs_thread_starter)(threads.Starter()))
	if w.c == nil {
		return nil, errors.New("cannot start a thread for reading the GPUs' memory: check the limits on processes (ulimit -u) and memory")
	}
	return w, nil
}

// time converts a time of CLOCK_MONOTONIC, which is Go's monotonic clock on Linux.
func (w *nvmlWatcher) time(ns C.int64_t) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return w.wall.Add(time.Duration(int64(ns) - w.mono))
}

func (w *nvmlWatcher) countFrom(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c != nil {
		C.vobs_watch_count_from(w.c, C.int64_t(w.mono+int64(t.Sub(w.wall))))
	}
}

// holdFactor is the pause after an expensive round, as a multiple of its CPU time: with
// 50, sampling takes at most 2 % of a core until the governor's next tick, a quarter of a
// second later.
const holdFactor = 50

func (w *nvmlWatcher) setInterval(interval time.Duration, hold bool) {
	factor := 0
	if hold {
		factor = holdFactor
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c != nil {
		C.vobs_watch_set_interval(w.c, C.int64_t(interval), C.int32_t(factor))
	}
}

func (w *nvmlWatcher) read() ([]memoryStats, watcherState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.readLocked()
}

func (w *nvmlWatcher) readLocked() ([]memoryStats, watcherState) {
	if w.c == nil {
		return w.finalStats, w.finalState
	}
	var state C.vobs_watch_state
	C.vobs_watch_read(w.c, &w.buffer[0], &state)
	list := make([]memoryStats, w.n)
	for i, r := range w.buffer {
		m := memoryStats{
			api: "v2", total: uint64(r.total), reserved: uint64(r.reserved),
			first: uint64(r.first), firstAt: w.time(r.first_at),
			peak: uint64(r.peak), peakAt: w.time(r.peak_at),
			samples: int64(r.samples), errors: int64(r.errors),
			countedFirst: w.time(r.counted_first), countedLast: w.time(r.counted_last),
			maxGap: time.Duration(r.max_gap),
		}
		call := "nvmlDeviceGetMemoryInfo_v2"
		if r.api == 1 {
			m.api, call = "v1", "nvmlDeviceGetMemoryInfo"
		}
		if r.first_at == 0 {
			m.api = ""
		}
		switch {
		case r.code < 0:
			m.err = fmt.Errorf("%s: %w", call, errImplausible)
		case r.code > 0:
			m.err = &callError{call, int(r.code)}
		}
		list[i] = m
	}
	return list, watcherState{int64(state.rounds), time.Duration(state.cpu), w.time(state.busy_since)}
}

func (w *nvmlWatcher) take(device int) []curve.Part {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c == nil {
		parts := w.finalParts[device]
		w.finalParts[device] = nil
		return parts
	}
	return w.takeLocked(device)
}

func (w *nvmlWatcher) takeLocked(device int) []curve.Part {
	n := int(C.vobs_watch_take(w.c, C.int(device), &w.parts[0]))
	parts := make([]curve.Part, n)
	for i, p := range w.parts[:n] {
		parts[i] = curve.Part{
			Slot: int64(p.slot), Readings: int64(p.readings), Max: float64(p.max), Total: float64(p.total),
			Seconds: float64(p.seconds), Area: float64(p.area),
		}
	}
	return parts
}

func (w *nvmlWatcher) stop(timeout time.Duration) bool {
	w.mu.Lock()
	c, failed := w.c, w.stopFailed
	w.mu.Unlock()
	if c == nil || failed {
		return c == nil
	}
	// Without the lock, so that the figures can be read meanwhile.
	ended := C.vobs_watch_stop(c, C.int64_t(timeout)) == 1
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ended {
		w.stopFailed = true
		return false
	}
	w.finalStats, w.finalState = w.readLocked()
	for i := range w.n {
		w.finalParts = append(w.finalParts, w.takeLocked(i))
	}
	C.vobs_watch_free(w.c)
	w.c = nil
	return true
}
