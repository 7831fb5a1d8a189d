//go:build linux && cgo

package gpu

// #include <stdlib.h>
// #include "nvml_watch.h"
import "C"

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"golang.org/x/sys/unix"
)

// libraryName is what go-nvml loads too: the dynamic loader finds it, by
// LD_LIBRARY_PATH, the cache or the container's mounts.
const libraryName = "libnvidia-ml.so.1"

// errImplausible marks NVML's stand-ins for an unknown value, and figures that
// cannot be.
var errImplausible = errors.New("the driver gave no plausible value")

// newDriver gives the real NVML.
func newDriver() driver { return &nvmlDriver{known: map[string]bool{}} }

// nvmlDriver is NVML through go-nvml. go-nvml leaves undefined symbols to the
// dynamic loader, which ends the process with exit code 127 where the loaded
// driver lacks one (seen with go-nvml v0.13.0-1); so every symbol is looked up before
// the first call of it, the library is loaded here first, and nothing is called
// after an init that failed.
type nvmlDriver struct {
	mu    sync.Mutex
	known map[string]bool // symbols looked up, and whether they are there
}

func (d *nvmlDriver) start() error {
	lib := dl.New(libraryName, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
	if err := lib.Open(); err != nil {
		// The loader's own words tell a missing library from an unfit one; go-nvml drops them.
		return fmt.Errorf("NVML cannot be loaded: %w: is the NVIDIA driver installed, and was the container given a GPU?", err)
	}
	if lib.Lookup("nvmlInit_v2") != nil && lib.Lookup("nvmlInit") != nil {
		return fmt.Errorf("%s is no NVML library: it has no nvmlInit", libraryName)
	}
	if rc := nvml.Init(); rc != nvml.SUCCESS {
		return fmt.Errorf("NVML cannot be initialised: %w", &callError{"nvmlInit", int(rc)})
	}
	return nil
}

// has tells whether the driver has one of the named symbols.
func (d *nvmlDriver) has(names ...string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range names {
		there, ok := d.known[name]
		if !ok {
			there = nvml.Extensions().LookupSymbol(name) == nil
			d.known[name] = there
		}
		if there {
			return true
		}
	}
	return false
}

// need is an error where the driver has none of the named symbols.
func (d *nvmlDriver) need(names ...string) error {
	if d.has(names...) {
		return nil
	}
	return &callError{names[0], codeFunctionNotFound}
}

// result makes an error of a return code.
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

func (d *nvmlDevice) instances() (list []instance, on bool, err error) {
	const call = "nvmlDeviceGetMigDeviceHandleByIndex"
	// A driver or a GPU without these has no MIG.
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
	most, rc := d.handle.GetMaxMigDeviceCount()
	if rc != nvml.SUCCESS {
		return nil, true, result("nvmlDeviceGetMaxMigDeviceCount", rc)
	}
	for i := range most {
		h, rc := d.handle.GetMigDeviceHandleByIndex(i)
		if rc == nvml.ERROR_NOT_FOUND {
			continue // numbers may have holes
		}
		if rc != nvml.SUCCESS {
			return list, true, result(call, rc)
		}
		// Without ids an instance still has its UUID.
		gi, rc1 := h.GetGpuInstanceId()
		ci, rc2 := h.GetComputeInstanceId()
		if rc1 != nvml.SUCCESS || rc2 != nvml.SUCCESS {
			gi, ci = -1, -1
		}
		list = append(list, instance{&nvmlDevice{d.driver, h}, i, gi, ci})
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
	// go-nvml takes the newest of the three that is there.
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

// raw is the device's handle as C has it. go-nvml hides the type of the handle
// but exports its only field.
func (d *nvmlDevice) raw() (uintptr, error) {
	v := reflect.ValueOf(d.handle)
	if v.Kind() != reflect.Struct || v.NumField() != 1 || v.Field(0).Kind() != reflect.Pointer {
		return 0, fmt.Errorf("go-nvml changed its device type to %v: this vobs must be built with v0.13.0-1", v.Type())
	}
	return v.Field(0).Pointer(), nil
}

// nvmlWatcher is the C thread of nvml_watch.c.
type nvmlWatcher struct {
	n       int
	wall    time.Time // one moment by both clocks: Go's …
	mono    int64     // … and CLOCK_MONOTONIC, ns
	mu      sync.Mutex
	c       *C.vobs_watch // nil when it was stopped and freed
	last    []memory      // the figures when it was freed
	state   watchState    // …
	buffer  []C.vobs_reading
	refused bool // stop was tried and did not succeed
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
	w := &nvmlWatcher{n: len(devices), buffer: make([]C.vobs_reading, len(devices)), wall: time.Now(), mono: int64(C.vobs_monotonic())}
	w.c = C.vobs_watch_start(name, C.int(len(devices)), &handles[0], C.int64_t(interval))
	if w.c == nil {
		return nil, errors.New("no thread could be started for reading the GPUs' memory: is the limit of processes (ulimit -u) or of memory reached?")
	}
	return w, nil
}

// time converts from CLOCK_MONOTONIC, which is Go's monotonic clock on Linux.
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

// holdFactor makes a dear round wait: at 50 times its CPU time, sampling takes
// at most 2 % of a core until the governor has looked, a quarter of a second later.
const holdFactor = 50

func (w *nvmlWatcher) pace(interval time.Duration, careful bool) {
	factor := 0
	if careful {
		factor = holdFactor
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c != nil {
		C.vobs_watch_pace(w.c, C.int64_t(interval), C.int32_t(factor))
	}
}

func (w *nvmlWatcher) read() ([]memory, watchState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.readLocked()
}

func (w *nvmlWatcher) readLocked() ([]memory, watchState) {
	if w.c == nil {
		return w.last, w.state
	}
	var state C.vobs_watch_state
	C.vobs_watch_read(w.c, &w.buffer[0], &state)
	list := make([]memory, w.n)
	for i, r := range w.buffer {
		m := memory{
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
	return list, watchState{int64(state.rounds), time.Duration(state.cpu), w.time(state.busy_since)}
}

func (w *nvmlWatcher) stop(timeout time.Duration) bool {
	w.mu.Lock()
	c, refused := w.c, w.refused
	w.mu.Unlock()
	if c == nil || refused {
		return c == nil
	}
	// Not under the lock: the figures can be read meanwhile.
	ended := C.vobs_watch_stop(c, C.int64_t(timeout)) == 1
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ended {
		w.refused = true
		return false
	}
	w.last, w.state = w.readLocked()
	C.vobs_watch_free(w.c)
	w.c = nil
	return true
}
