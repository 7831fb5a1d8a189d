//go:build linux && cgo

// The readings of a device's memory by slots of time, for a curve over the run. The thread of
// nvml_watch.c adds them up; Go takes them a few times a second.
#ifndef VOBS_NVML_SLOTS_H
#define VOBS_NVML_SLOTS_H

#include <stdint.h>

// Width of a slot in ns: curve.Shortest.
#define VOBS_SLOT_WIDTH 250000000
// Slots that are kept until they are taken. Without room, the oldest one is lost.
#define VOBS_SLOTS 64

// What is to be added to a slot: see curve.Part.
typedef struct {
    int64_t slot, readings;
    uint64_t max;
    double total, seconds, area;
} vobs_part;

typedef struct {
    int n;
    vobs_part parts[VOBS_SLOTS];
    int64_t at;     // of the last reading, CLOCK_MONOTONIC in ns; 0 before the first
    uint64_t value; // of the last reading
} vobs_slots;

// Adds a reading. Slots count from start.
void vobs_slots_add(vobs_slots *s, int64_t at, uint64_t value, int64_t start);

// Copies what was added since the last call, and returns how many slots that is.
int vobs_slots_take(vobs_slots *s, vobs_part *to);
#endif
