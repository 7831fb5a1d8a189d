//go:build linux && cgo

package gpu

// #include <stdlib.h>
// #include "nvml_gpm.h"
import "C"

import "unsafe"

// nvmlProfiler implements profiler.
type nvmlProfiler struct{ c *C.vobs_gpm }

func (d *nvmlDevice) profiler() (profiler, error) {
	handle, err := d.raw()
	if err != nil {
		return nil, err
	}
	name := C.CString(libraryName)
	defer C.free(unsafe.Pointer(name))
	var failure C.vobs_gpm_error
	c := C.vobs_gpm_new(name, C.uintptr_t(handle), &failure)
	if c == nil {
		return nil, gpmError(failure)
	}
	return &nvmlProfiler{c}, nil
}

func (p *nvmlProfiler) sample() (*profile, error) {
	var values [C.VOBS_GPM_METRICS]C.double
	var codes [C.VOBS_GPM_METRICS]C.int32_t
	var failure C.vobs_gpm_error
	if C.vobs_gpm_sample(p.c, &values[0], &codes[0], &failure) == 0 {
		return nil, gpmError(failure)
	}
	var out profile
	for i := range out {
		out[i].fraction = float64(values[i]) / 100
		if codes[i] != 0 {
			out[i].err = &callError{"nvmlGpmMetricsGet", int(codes[i])}
		}
	}
	return &out, nil
}

func gpmError(e C.vobs_gpm_error) error {
	if e.code == 0 {
		return nil
	}
	return &callError{C.GoString(e.call), int(e.code)}
}
