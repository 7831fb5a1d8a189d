//go:build linux && cgo

// NVML's GPM (GPU performance monitoring): counters of the SMs and of the memory, on Hopper
// and later. It is called from C because go-nvml v0.13.0-1 passes the wrong version to
// nvmlGpmQueryDeviceSupport (go-nvml issue 168), and copies 20 kB for each reading.
#ifndef VOBS_NVML_GPM_H
#define VOBS_NVML_GPM_H

#include <stdint.h>

enum { VOBS_GPM_METRICS = 4 };

typedef struct vobs_gpm vobs_gpm;

// What failed: NVML's code and the function; code 0 if nothing did.
typedef struct {
    int32_t code;
    const char *call;
} vobs_gpm_error;

// Prepares for samples of a device. Returns NULL, and the error, if it has no GPM.
vobs_gpm *vobs_gpm_new(const char *library, uintptr_t device, vobs_gpm_error *error);

// Takes a sample, and compares it with the one before, if there is one: values are percentages
// in the time between them, each valid if its code is 0. In the order of the metrics: SMs
// active, SM occupancy, tensor cores active, DRAM bandwidth. Returns 1 if there are values.
int vobs_gpm_sample(vobs_gpm *g, double *values, int32_t *codes, vobs_gpm_error *error);
#endif
