//go:build linux && cgo

#define _GNU_SOURCE
#include "nvml_watch.h"

#include <dlfcn.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// nvmlMemory_t and nvmlMemory_v2_t of nvml.h, the version word of the latter, and the
// codes with which a driver rejects v2.
typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;
typedef int (*read_v1)(void *device, memory_v1 *);
typedef int (*read_v2)(void *device, memory_v2 *);
enum { version_2 = sizeof(memory_v2) | 2u << 24 };
enum { invalid_argument = 2, not_supported = 3, function_not_found = 13, argument_version_mismatch = 25, implausible = -1 };

// Longest pause after an expensive round, ns.
enum { max_hold = 2000000000 };
// CPU time of a round, ns, from which on two rounds suffice to see that they are expensive.
enum { expensive = 2000000 };
// Calls that return within this time, ns, are not expensive: their CPU time is not measured, which
// takes a system call. With the factors in use, a round of that cost causes no pause.
enum { cheap = 50000 };

// One reading of a device, before it is added to the summary.
typedef struct {
    uint64_t total, reserved, used;
    int64_t began, at;
    int32_t code, api;
} reading;

struct vobs_watch {
    pthread_mutex_t mutex; // never held during a driver call
    uint32_t changes;      // a futex: to the thread: something changed; from the thread: it ended
    clockid_t clock;       // of the thread's CPU time
    int has_clock, measured; // measured: state.cpu is of the end of the round before
    read_v1 v1;
    read_v2 v2;
    int stopping, ended;
    int64_t interval, hold, count_from;
    int64_t cost[2]; // CPU times of the two rounds before, the latest first
    int32_t factor;
    vobs_watch_state state;
    int n;
    vobs_device *devices;
    vobs_slots *slots;
    reading *readings;  // used by the thread alone
    uintptr_t *handles; // constant after the start
};

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// wait_for_change waits, without the mutex, until changes has another value than seen, or until a
// time of CLOCK_MONOTONIC. It may return earlier. A condition variable would cost a third more per
// round: it makes the next unlocking of the mutex a system call too.
static void wait_for_change(vobs_watch *w, uint32_t seen, int64_t until) {
    struct timespec t = {until / 1000000000, until % 1000000000};
    syscall(SYS_futex, &w->changes, FUTEX_WAIT_BITSET_PRIVATE, seen, &t, NULL, FUTEX_BITSET_MATCH_ANY);
}

// notify_change wakes all that wait for a change. The mutex is held.
static void notify_change(vobs_watch *w) {
    __atomic_add_fetch(&w->changes, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &w->changes, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

int64_t vobs_monotonic(void) { return clock_ns(CLOCK_MONOTONIC); }

static int rejects_v2(int code) {
    return code == not_supported || code == function_not_found || code == argument_version_mismatch || code == invalid_argument;
}

// read_device reads one device with the version of the call in r->api.
static void read_device(const vobs_watch *w, uintptr_t handle, reading *r) {
    if (r->api == 2) {
        memory_v2 m = {.version = version_2};
        r->code = w->v2((void *)handle, &m);
        r->total = m.total, r->reserved = m.reserved, r->used = m.used;
    } else {
        memory_v1 m = {0};
        r->code = w->v1((void *)handle, &m);
        r->total = m.total, r->reserved = 0, r->used = m.used;
    }
    // NVML_VALUE_NOT_AVAILABLE is all ones; no device uses more than it has.
    if (r->code == 0 && (r->total == 0 || r->total == UINT64_MAX || r->used > r->total || r->reserved > r->total)) r->code = implausible;
}

// add_reading adds a reading to a device's summary.
static void add_reading(vobs_device *d, const reading *r, int64_t count_from) {
    int counts = r->began >= count_from;
    d->api = r->api;
    if (r->code != 0) {
        d->code = r->code;
        d->errors += counts;
        return;
    }
    d->total = r->total, d->reserved = r->reserved;
    if (d->first_at == 0) d->first = r->used, d->first_at = r->at;
    if (!counts) return;
    if (d->samples == 0) d->counted_first = r->at;
    // From the start of a call to the end of the next: each value is from some moment
    // during its call.
    else if (r->at - d->last_began > d->max_gap) d->max_gap = r->at - d->last_began;
    if (d->samples == 0 || r->used > d->peak) d->peak = r->used, d->peak_at = r->at;
    d->last_began = r->began, d->counted_last = r->at;
    d->samples++;
}

static void *run(void *p) {
    vobs_watch *w = p;
    pthread_setname_np(pthread_self(), "vobs-gpu");
    pthread_mutex_lock(&w->mutex);
    w->has_clock = pthread_getcpuclockid(pthread_self(), &w->clock) == 0;
    for (;;) {
        int last = w->stopping;
        int64_t began = vobs_monotonic(), now = began;
        w->state.busy_since = began;
        for (int i = 0; i < w->n; i++) w->readings[i].api = w->devices[i].api;
        pthread_mutex_unlock(&w->mutex);

        for (int i = 0; i < w->n; i++) {
            reading *r = &w->readings[i];
            r->began = now;
            read_device(w, w->handles[i], r);
            // Only before the first success: v1 and v2 define used memory differently, and
            // one summary must not mix them.
            if (r->api == 2 && rejects_v2(r->code) && w->v1 != NULL && w->devices[i].first_at == 0) {
                r->api = 1;
                read_device(w, w->handles[i], r);
                if (r->code != 0) r->api = 2;
            }
            now = r->at = vobs_monotonic();
        }

        int measure = now - began >= cheap || last;
        int64_t cpu = measure ? clock_ns(CLOCK_THREAD_CPUTIME_ID) : 0, cost = 0;
        pthread_mutex_lock(&w->mutex);
        for (int i = 0; i < w->n; i++) {
            reading *r = &w->readings[i];
            add_reading(&w->devices[i], r, w->count_from);
            // The last round comes after the command's end.
            if (r->code == 0 && !last) vobs_slots_add(&w->slots[i], r->at, r->used, w->count_from);
        }
        // The cheapest of the last rounds decides, so that one round that was expensive by
        // chance causes no pause, nor do two short ones during which a hypervisor took the CPU.
        if (measure) {
            cost = cpu - w->state.cpu;
            // That may be of several rounds; a call takes no more CPU time than time.
            if (!w->measured && cost > now - began) cost = now - began;
            w->state.cpu = cpu;
        }
        w->measured = measure;
        int64_t least = cost < w->cost[0] ? cost : w->cost[0];
        if (cost < expensive && w->cost[1] < least) least = w->cost[1];
        w->hold = least * w->factor;
        w->cost[1] = w->cost[0], w->cost[0] = cost;
        if (w->hold > max_hold) w->hold = max_hold;
        w->state.rounds++;
        w->state.busy_since = 0;
        if (last) break;
        while (!w->stopping) {
            int64_t next = began + w->interval, earliest = now + w->hold;
            if (next < earliest) next = earliest;
            if (vobs_monotonic() >= next) break;
            uint32_t seen = w->changes;
            pthread_mutex_unlock(&w->mutex);
            wait_for_change(w, seen, next);
            pthread_mutex_lock(&w->mutex);
        }
    }
    w->ended = 1;
    notify_change(w);
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

void vobs_watch_free(vobs_watch *w) {
    pthread_mutex_destroy(&w->mutex);
    free(w->devices);
    free(w->slots);
    free(w->readings);
    free(w->handles);
    free(w);
}

vobs_watch *vobs_watch_start(const char *library, int n, const uintptr_t *handles, int64_t interval, vobs_thread_starter *start) {
    void *lib = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    vobs_watch *w = calloc(1, sizeof *w);
    if (lib == NULL || w == NULL) {
        free(w);
        return NULL;
    }
    w->v1 = (read_v1)dlsym(lib, "nvmlDeviceGetMemoryInfo");
    w->v2 = (read_v2)dlsym(lib, "nvmlDeviceGetMemoryInfo_v2");
    w->n = n;
    w->interval = interval;
    w->factor = 0;
    w->count_from = INT64_MAX;
    w->devices = calloc((size_t)n, sizeof *w->devices);
    w->slots = calloc((size_t)n, sizeof *w->slots);
    w->readings = calloc((size_t)n, sizeof *w->readings);
    w->handles = calloc((size_t)n, sizeof *w->handles);

    pthread_mutex_init(&w->mutex, NULL);

    int ok = (w->v1 != NULL || w->v2 != NULL) && w->devices != NULL && w->slots != NULL && w->readings != NULL && w->handles != NULL;
    if (ok) {
        for (int i = 0; i < n; i++) {
            w->handles[i] = handles[i];
            w->devices[i].api = w->v2 != NULL ? 2 : 1;
        }
        ok = start(vobs_thread_gpu, run, w) == 0;
    }
    if (!ok) {
        vobs_watch_free(w);
        return NULL;
    }
    return w;
}

void vobs_watch_count_from(vobs_watch *w, int64_t at) {
    pthread_mutex_lock(&w->mutex);
    w->count_from = at;
    pthread_mutex_unlock(&w->mutex);
}

void vobs_watch_set_interval(vobs_watch *w, int64_t interval, int32_t factor) {
    pthread_mutex_lock(&w->mutex);
    // Wake the thread only if it would otherwise sleep longer than it should now.
    int early = w->hold > interval || interval < w->interval;
    w->interval = interval;
    w->factor = factor;
    w->hold = 0;
    if (early) notify_change(w);
    pthread_mutex_unlock(&w->mutex);
}

void vobs_watch_read(vobs_watch *w, vobs_device *to, vobs_watch_state *state) {
    pthread_mutex_lock(&w->mutex);
    for (int i = 0; i < w->n; i++) to[i] = w->devices[i];
    *state = w->state;
    struct timespec t;
    if (w->has_clock && !w->ended && clock_gettime(w->clock, &t) == 0) state->cpu = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    pthread_mutex_unlock(&w->mutex);
}

int vobs_watch_take(vobs_watch *w, int device, vobs_part *to) {
    pthread_mutex_lock(&w->mutex);
    int n = vobs_slots_take(&w->slots[device], to);
    pthread_mutex_unlock(&w->mutex);
    return n;
}

int vobs_watch_stop(vobs_watch *w, int64_t timeout) {
    int64_t until = vobs_monotonic() + timeout;
    pthread_mutex_lock(&w->mutex);
    w->stopping = 1;
    notify_change(w);
    while (!w->ended && vobs_monotonic() < until) {
        uint32_t seen = w->changes;
        pthread_mutex_unlock(&w->mutex);
        wait_for_change(w, seen, until);
        pthread_mutex_lock(&w->mutex);
    }
    int ended = w->ended;
    pthread_mutex_unlock(&w->mutex);
    return ended;
}
