//go:build linux && cgo

#define _GNU_SOURCE
#include "nvml_watch.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

// nvml.h's nvmlMemory_t and nvmlMemory_v2_t, the latter's version word, and the codes
// by which a driver refuses v2.
typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;
typedef int (*read_v1)(void *device, memory_v1 *);
typedef int (*read_v2)(void *device, memory_v2 *);
enum { version_2 = sizeof(memory_v2) | 2u << 24 };
enum { invalid_argument = 2, not_supported = 3, function_not_found = 13, argument_version_mismatch = 25, implausible = -1 };

// Longest wait of the thread's own accord after a dear round, ns.
enum { longest_hold = 2000000000 };
// CPU time from which on two rounds are enough to tell that they are dear, ns.
enum { dear = 2000000 };

// One answer of the driver, before it is folded into a reading.
typedef struct {
    uint64_t total, reserved, used;
    int64_t began, at;
    int32_t code, api;
} answer;

struct vobs_watch {
    pthread_mutex_t mutex; // never held during a driver call
    pthread_cond_t wake;   // to the thread: something changed; from it: it ended
    pthread_t thread;
    read_v1 v1;
    read_v2 v2;
    int stopping, ended;
    int64_t interval, hold, count_from;
    int64_t cost[2]; // CPU times of the last rounds, the latest first
    int32_t factor;
    vobs_watch_state state;
    int n;
    vobs_reading *readings;
    answer *answers;    // the thread's own
    uintptr_t *handles; // never written after the start
};

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t vobs_monotonic(void) { return clock_ns(CLOCK_MONOTONIC); }

static int refused(int code) {
    return code == not_supported || code == function_not_found || code == argument_version_mismatch || code == invalid_argument;
}

// ask reads one device by the version that a.api names.
static void ask(const vobs_watch *w, uintptr_t handle, answer *a) {
    if (a->api == 2) {
        memory_v2 m = {.version = version_2};
        a->code = w->v2((void *)handle, &m);
        a->total = m.total, a->reserved = m.reserved, a->used = m.used;
    } else {
        memory_v1 m = {0};
        a->code = w->v1((void *)handle, &m);
        a->total = m.total, a->reserved = 0, a->used = m.used;
    }
    // NVML_VALUE_NOT_AVAILABLE is all ones; no device uses more than it has.
    if (a->code == 0 && (a->total == 0 || a->total == UINT64_MAX || a->used > a->total || a->reserved > a->total)) a->code = implausible;
}

// fold adds an answer to a device's figures.
static void fold(vobs_reading *r, const answer *a, int64_t count_from) {
    int counts = a->began >= count_from;
    r->api = a->api;
    if (a->code != 0) {
        r->code = a->code;
        r->errors += counts;
        return;
    }
    r->total = a->total, r->reserved = a->reserved;
    if (r->first_at == 0) r->first = a->used, r->first_at = a->at;
    if (!counts) return;
    if (r->samples == 0) r->counted_first = a->at;
    // From the asking to the answer: what the driver told was so at some moment in between.
    else if (a->at - r->last_began > r->max_gap) r->max_gap = a->at - r->last_began;
    if (r->samples == 0 || a->used > r->peak) r->peak = a->used, r->peak_at = a->at;
    r->last_began = a->began, r->counted_last = a->at;
    r->samples++;
}

static void *run(void *p) {
    vobs_watch *w = p;
    pthread_setname_np(pthread_self(), "vobs-gpu");
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        int last = w->stopping;
        int64_t began = vobs_monotonic(), now = began;
        w->state.busy_since = began;
        for (int i = 0; i < w->n; i++) w->answers[i].api = w->readings[i].api;
        pthread_mutex_unlock(&w->mutex);

        for (int i = 0; i < w->n; i++) {
            answer *a = &w->answers[i];
            a->began = now;
            ask(w, w->handles[i], a);
            // Only before the first success: a change of definition midway would mix figures.
            if (a->api == 2 && refused(a->code) && w->v1 != NULL && w->readings[i].first_at == 0) {
                a->api = 1;
                ask(w, w->handles[i], a);
                if (a->code != 0) a->api = 2;
            }
            now = a->at = vobs_monotonic();
        }

        int64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        pthread_mutex_lock(&w->mutex);
        for (int i = 0; i < w->n; i++) fold(&w->readings[i], &w->answers[i], w->count_from);
        // The cheapest of the last rounds decides: one that was dear by chance does not
        // hold, nor do two short ones, in which a hypervisor had the CPU.
        int64_t cost = cpu - w->state.cpu, least = cost < w->cost[0] ? cost : w->cost[0];
        if (cost < dear && w->cost[1] < least) least = w->cost[1];
        w->hold = least * w->factor;
        w->cost[1] = w->cost[0], w->cost[0] = cost;
        if (w->hold > longest_hold) w->hold = longest_hold;
        w->state.cpu = cpu;
        w->state.rounds++;
        w->state.busy_since = 0;
        if (last) break;
        while (!w->stopping) {
            int64_t next = began + w->interval, earliest = now + w->hold;
            if (next < earliest) next = earliest;
            if (vobs_monotonic() >= next) break;
            struct timespec t = {next / 1000000000, next % 1000000000};
            pthread_cond_timedwait(&w->wake, &w->mutex, &t);
        }
    }
    w->ended = 1;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

void vobs_watch_free(vobs_watch *w) {
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w->readings);
    free(w->answers);
    free(w->handles);
    free(w);
}

vobs_watch *vobs_watch_start(const char *library, int n, const uintptr_t *handles, int64_t interval) {
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
    w->readings = calloc((size_t)n, sizeof *w->readings);
    w->answers = calloc((size_t)n, sizeof *w->answers);
    w->handles = calloc((size_t)n, sizeof *w->handles);

    pthread_mutex_init(&w->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);

    int ok = (w->v1 != NULL || w->v2 != NULL) && w->readings != NULL && w->answers != NULL && w->handles != NULL;
    if (ok) {
        for (int i = 0; i < n; i++) {
            w->handles[i] = handles[i];
            w->readings[i].api = w->v2 != NULL ? 2 : 1;
        }
        // Signals are the Go runtime's: this thread takes none.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        ok = pthread_create(&w->thread, NULL, run, w) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
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

void vobs_watch_pace(vobs_watch *w, int64_t interval, int32_t factor) {
    pthread_mutex_lock(&w->mutex);
    // A wake-up is due only where the thread would sleep longer than it now should.
    int early = w->hold > interval || interval < w->interval;
    w->interval = interval;
    w->factor = factor;
    w->hold = 0;
    if (early) pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

void vobs_watch_read(vobs_watch *w, vobs_reading *to, vobs_watch_state *state) {
    pthread_mutex_lock(&w->mutex);
    for (int i = 0; i < w->n; i++) to[i] = w->readings[i];
    *state = w->state;
    pthread_mutex_unlock(&w->mutex);
}

int vobs_watch_stop(vobs_watch *w, int64_t timeout) {
    int64_t until = vobs_monotonic() + timeout;
    struct timespec t = {until / 1000000000, until % 1000000000};
    pthread_mutex_lock(&w->mutex);
    w->stopping = 1;
    pthread_cond_broadcast(&w->wake);
    while (!w->ended && pthread_cond_timedwait(&w->wake, &w->mutex, &t) == 0) {}
    int ended = w->ended;
    pthread_mutex_unlock(&w->mutex);
    if (ended) pthread_join(w->thread, NULL);
    return ended;
}
