//go:build linux && cgo

// A thread that periodically reads the memory of NVML devices and keeps a summary. It is
// written in C because the wake-up dominates the cost: a Go timer takes 0.1 ms of CPU time
// through the runtime, its threads and cgo, this loop a third to a fifth of that. The
// thread only reads and accumulates; Go decides everything else.
#ifndef VOBS_NVML_WATCH_H
#define VOBS_NVML_WATCH_H

#include <stdint.h>

#include "../../internal/threads/park.h"
#include "nvml_slots.h"

typedef struct vobs_watch vobs_watch;

// Summary of one device's readings. Times are CLOCK_MONOTONIC in ns, 0 for never; sizes
// are bytes.
typedef struct {
    uint64_t total, reserved;
    uint64_t first, peak;
    int64_t first_at, peak_at;
    int64_t counted_first, counted_last; // first and last reading that counts
    int64_t max_gap;                     // between readings that count
    int64_t last_began;                  // start of the last reading that counts
    int64_t samples, errors;             // readings that count
    int32_t code;                        // NVML's code of the last failure; -1: implausible
    int32_t api;                         // version of the memory call: 1 or 2
} vobs_device;

typedef struct {
    int64_t rounds;
    int64_t cpu;        // CPU time of the thread, a round under way included, ns
    int64_t busy_since; // start of the current round; 0 between rounds
} vobs_watch_state;

// Lets the thread that start (vobs_thread_start) provides read n handles, with an interval in ns.
// Returns NULL if it cannot be
// started, or if the named library has no function that reads memory.
vobs_watch *vobs_watch_start(const char *library, int n, const uintptr_t *handles, int64_t interval, vobs_thread_starter *start);

// Sets the time from which on readings count.
void vobs_watch_count_from(vobs_watch *w, int64_t at);

// Sets the interval. With factor > 0, the thread pauses after a round for at least factor
// times the CPU time of the cheapest of the last two rounds (of the last three, if the
// latest took less than 2 ms), until the next call of this function.
void vobs_watch_set_interval(vobs_watch *w, int64_t interval, int32_t factor);

// Copies the summaries of all n devices.
void vobs_watch_read(vobs_watch *w, vobs_device *to, vobs_watch_state *state);

// Copies what was read of a device's memory since the last call, by slots, of which there are
// VOBS_SLOTS at most. Returns their number.
int vobs_watch_take(vobs_watch *w, int device, vobs_part *to);

// Makes the thread take a last round and end. Returns 1 if it did within timeout ns.
// Otherwise a driver call does not return: the thread and its memory are abandoned.
int vobs_watch_stop(vobs_watch *w, int64_t timeout);

// Frees the memory of a watch that stopped successfully.
void vobs_watch_free(vobs_watch *w);

// Returns the time of CLOCK_MONOTONIC in ns.
int64_t vobs_monotonic(void);
#endif
