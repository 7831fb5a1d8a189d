//go:build linux && cgo

// A thread that reads the memory of NVML devices on a clock and keeps what
// matters of it. It is C because the wake-up is the cost: a Go timer takes
// 0.1 ms of CPU time through the runtime, its threads and cgo, this loop a third
// to a fifth of that. Everything but reading and folding is decided in Go.
#ifndef VOBS_NVML_WATCH_H
#define VOBS_NVML_WATCH_H

#include <stdint.h>

typedef struct vobs_watch vobs_watch;

// What was read of one device. Times are CLOCK_MONOTONIC in ns, 0 for never;
// sizes are bytes.
typedef struct {
    uint64_t total, reserved;
    uint64_t first, peak;
    int64_t first_at, peak_at;
    int64_t counted_first, counted_last; // the first and the last reading that count
    int64_t max_gap;                     // between readings that count
    int64_t last_began;                  // when the last reading was asked for
    int64_t samples, errors;             // those that count
    int32_t code;                        // NVML's code of the last failure; -1: implausible
    int32_t api;                         // 1 or 2
} vobs_reading;

typedef struct {
    int64_t rounds;
    int64_t cpu;        // CPU time of the thread, ns
    int64_t busy_since; // when the round that is going on began; 0 between rounds
} vobs_watch_state;

// Starts the thread on n handles, an interval in ns. NULL when it cannot be
// started, or where the library named has no function that reads memory.
vobs_watch *vobs_watch_start(const char *library, int n, const uintptr_t *handles, int64_t interval);

// Readings from this moment on count.
void vobs_watch_count_from(vobs_watch *w, int64_t at);

// Sets the interval. With factor > 0 the thread waits, after a round, at least
// that many times the CPU time which the cheapest of the last two took (three, where
// it took less than 2 ms), until the next call of this.
void vobs_watch_pace(vobs_watch *w, int64_t interval, int32_t factor);

// Copies the figures of all n devices.
void vobs_watch_read(vobs_watch *w, vobs_reading *to, vobs_watch_state *state);

// Has the thread make a last round and end; gives 1 when it did within timeout
// ns. Else a driver call does not return: the thread is left, and with it its memory.
int vobs_watch_stop(vobs_watch *w, int64_t timeout);

// Frees the memory of a watch that was stopped with success.
void vobs_watch_free(vobs_watch *w);

int64_t vobs_monotonic(void);
#endif
