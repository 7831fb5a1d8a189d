//go:build linux && cgo

#define _GNU_SOURCE
#include "record.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// Rounds that can wait to be taken; beyond that the oldest are dropped.
enum { slots = 8 };

typedef struct {
    int64_t began, took, modified;
    int32_t *got;
    char *data;
} slot;

struct vobs_record {
    pthread_mutex_t mutex; // never held while a file is read
    pthread_cond_t wake;
    int stopping;
    int64_t interval;
    int n;
    int dir, *fds;
    uint32_t *lengths;
    size_t size; // of one round's data
    int first, count; // of the waiting rounds
    slot ring[slots + 1]; // the last one is the thread's
};

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// modified_ns returns when a directory was last modified: a file was created, removed or
// renamed there.
static int64_t modified_ns(int dir) {
    struct stat st;
    if (fstat(dir, &st) != 0) return -1;
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static void release(vobs_record *r) {
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->mutex);
    for (int i = 0; i <= slots; i++) free(r->ring[i].got), free(r->ring[i].data);
    free(r->fds), free(r->lengths), free(r);
}

static void *run(void *p) {
    vobs_record *r = p;
    pthread_setname_np(pthread_self(), "vobs-files");
    slot *own = &r->ring[slots];
    pthread_mutex_lock(&r->mutex);
    while (!r->stopping) {
        pthread_mutex_unlock(&r->mutex);
        own->began = now_ns();
        char *to = own->data;
        for (int i = 0; i < r->n; i++) {
            ssize_t got;
            do got = pread(r->fds[i], to, r->lengths[i], 0);
            while (got < 0 && errno == EINTR);
            own->got[i] = got;
            to += r->lengths[i];
        }
        own->took = now_ns() - own->began;
        own->modified = modified_ns(r->dir); // after the files: unchanged means that they were all there
        pthread_mutex_lock(&r->mutex);
        if (r->count == slots) r->first = (r->first + 1) % slots, r->count--;
        slot *free_slot = &r->ring[(r->first + r->count++) % slots], swap = *free_slot;
        *free_slot = *own, *own = swap;
        int64_t began = free_slot->began;
        while (!r->stopping) {
            int64_t next = began + r->interval;
            if (now_ns() >= next) break;
            struct timespec t = {next / 1000000000, next % 1000000000};
            pthread_cond_timedwait(&r->wake, &r->mutex, &t);
        }
    }
    pthread_mutex_unlock(&r->mutex);
    for (int i = 0; i < r->n; i++) close(r->fds[i]);
    close(r->dir);
    release(r);
    return NULL;
}

vobs_record *vobs_record_start(int dir, const int *fds, const uint32_t *lengths, int n, int64_t interval) {
    vobs_record *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    pthread_mutex_init(&r->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
    r->dir = dir, r->n = n, r->interval = interval;
    r->fds = calloc(n, sizeof *r->fds), r->lengths = calloc(n, sizeof *r->lengths);
    int whole = r->fds != NULL && r->lengths != NULL;
    for (int i = 0; whole && i < n; i++) r->fds[i] = fds[i], r->lengths[i] = lengths[i], r->size += lengths[i];
    for (int i = 0; whole && i <= slots; i++) {
        r->ring[i].got = calloc(n, sizeof *r->ring[i].got);
        r->ring[i].data = malloc(r->size);
        whole = r->ring[i].got != NULL && r->ring[i].data != NULL;
    }
    // Signals are for the Go runtime's threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_t thread;
    pthread_attr_t how;
    pthread_attr_init(&how);
    pthread_attr_setdetachstate(&how, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&how, 64 << 10);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    whole = whole && pthread_create(&thread, &how, run, r) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&how);
    if (!whole) {
        release(r);
        return NULL;
    }
    return r;
}

void vobs_record_set_interval(vobs_record *r, int64_t interval) {
    pthread_mutex_lock(&r->mutex);
    int sooner = interval < r->interval;
    r->interval = interval;
    if (sooner) pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->mutex);
}

int vobs_record_take(vobs_record *r, char *data, int32_t *got, int64_t *ago, int64_t *took, int64_t *modified) {
    pthread_mutex_lock(&r->mutex);
    int some = r->count > 0;
    if (some) {
        slot *s = &r->ring[r->first];
        r->first = (r->first + 1) % slots, r->count--;
        memcpy(got, s->got, r->n * sizeof *got);
        char *from = s->data;
        for (int i = 0; i < r->n; i++) { // what was read, not the whole space
            if (s->got[i] > 0) memcpy(data + (from - s->data), from, s->got[i]);
            from += r->lengths[i];
        }
        *ago = now_ns() - s->began, *took = s->took, *modified = s->modified;
    }
    pthread_mutex_unlock(&r->mutex);
    return some;
}

void vobs_record_stop(vobs_record *r) {
    pthread_mutex_lock(&r->mutex);
    r->stopping = 1;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->mutex);
}
