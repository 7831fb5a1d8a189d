//go:build linux && cgo

#define _GNU_SOURCE
#include "record.h"

#include <errno.h>
#include <pthread.h>
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
    vobs_record *next;
    int stopping;
    int64_t interval, began; // began is that of the last round, 0 before the first
    int n;
    int dir, *fds;
    uint32_t *lengths;
    size_t size; // of one round's data
    int first, count; // of the waiting rounds
    slot ring[slots + 1]; // the last one is the thread's
};

// One thread copies the files of all recordings.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; // never held while a file is read
static pthread_cond_t wake;
static vobs_record *recordings;
static int running; // the thread has been started; it never ends

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
    for (int i = 0; i <= slots; i++) free(r->ring[i].got), free(r->ring[i].data);
    free(r->fds), free(r->lengths), free(r);
}

// copy_files makes a round.
static void copy_files(vobs_record *r, slot *to) {
    to->began = now_ns();
    char *data = to->data;
    for (int i = 0; i < r->n; i++) {
        ssize_t got;
        do got = pread(r->fds[i], data, r->lengths[i], 0);
        while (got < 0 && errno == EINTR);
        to->got[i] = got;
        data += r->lengths[i];
    }
    to->took = now_ns() - to->began;
    to->modified = modified_ns(r->dir); // after the files: unchanged means that they were all there
}

// next_due frees the recordings that were stopped and returns the one whose next round is due
// first, and when; NULL if there is none. The mutex is held.
static vobs_record *next_due(int64_t *at) {
    vobs_record *due = NULL;
    *at = INT64_MAX;
    for (vobs_record **link = &recordings; *link != NULL;) {
        vobs_record *r = *link;
        if (r->stopping) {
            *link = r->next;
            for (int i = 0; i < r->n; i++) close(r->fds[i]);
            close(r->dir);
            release(r);
            continue;
        }
        int64_t next = r->began == 0 ? 0 : r->began + r->interval;
        if (next < *at) due = r, *at = next;
        link = &r->next;
    }
    return due;
}

static void *run(void *unused) {
    (void)unused;
    pthread_setname_np(pthread_self(), "vobs-files");
    pthread_mutex_lock(&mutex);
    for (;;) {
        int64_t at;
        vobs_record *r = next_due(&at);
        if (r == NULL) {
            pthread_cond_wait(&wake, &mutex);
            continue;
        }
        if (now_ns() < at) {
            struct timespec t = {at / 1000000000, at % 1000000000};
            pthread_cond_timedwait(&wake, &mutex, &t);
            continue;
        }
        slot *own = &r->ring[slots];
        pthread_mutex_unlock(&mutex);
        copy_files(r, own);
        pthread_mutex_lock(&mutex);
        if (r->count == slots) r->first = (r->first + 1) % slots, r->count--;
        slot *free_slot = &r->ring[(r->first + r->count++) % slots], swap = *free_slot;
        *free_slot = *own, *own = swap;
        r->began = free_slot->began;
    }
    return NULL;
}

// start_thread starts the thread unless it is running. The mutex is held.
static int start_thread(vobs_thread_starter *start) {
    if (running) return 1;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&wake, &attr);
    pthread_condattr_destroy(&attr);
    return running = start(vobs_thread_files, run, NULL) == 0;
}

vobs_record *vobs_record_start(int dir, const int *fds, const uint32_t *lengths, int n, int64_t interval, vobs_thread_starter *start) {
    vobs_record *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->dir = dir, r->n = n, r->interval = interval;
    r->fds = calloc(n, sizeof *r->fds), r->lengths = calloc(n, sizeof *r->lengths);
    int whole = r->fds != NULL && r->lengths != NULL;
    for (int i = 0; whole && i < n; i++) r->fds[i] = fds[i], r->lengths[i] = lengths[i], r->size += lengths[i];
    for (int i = 0; whole && i <= slots; i++) {
        r->ring[i].got = calloc(n, sizeof *r->ring[i].got);
        r->ring[i].data = malloc(r->size);
        whole = r->ring[i].got != NULL && r->ring[i].data != NULL;
    }
    if (whole) {
        pthread_mutex_lock(&mutex);
        if ((whole = start_thread(start))) {
            r->next = recordings, recordings = r;
            pthread_cond_signal(&wake);
        }
        pthread_mutex_unlock(&mutex);
    }
    if (!whole) {
        release(r);
        return NULL;
    }
    return r;
}

void vobs_record_set_interval(vobs_record *r, int64_t interval) {
    pthread_mutex_lock(&mutex);
    int sooner = interval < r->interval;
    r->interval = interval;
    if (sooner) pthread_cond_signal(&wake);
    pthread_mutex_unlock(&mutex);
}

int vobs_record_take(vobs_record *r, char *data, int32_t *got, int64_t *ago, int64_t *took, int64_t *modified) {
    pthread_mutex_lock(&mutex);
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
    pthread_mutex_unlock(&mutex);
    return some;
}

void vobs_record_stop(vobs_record *r) {
    pthread_mutex_lock(&mutex);
    r->stopping = 1;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&mutex);
}
