//go:build linux && cgo

#define _GNU_SOURCE
#include "park.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Enough for the calls of a driver. glibc takes the limit of the first thread (ulimit -s, usually
// 8 MiB), all of which ulimit -v counts.
enum { stack_size = 1 << 20 };

// pthread_create of the C library.
static int (*libc_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

// Runs before the Go runtime creates threads.
__attribute__((constructor)) static void prepare(void) {
    libc_create = dlsym(RTLD_NEXT, "pthread_create");
#ifdef __GLIBC__
    // One heap: otherwise each thread that allocates reserves 64 MiB of address space for its own.
    mallopt(M_ARENA_MAX, 1);
#endif
    pthread_attr_t attr;
    size_t size;
    if (pthread_attr_init(&attr) != 0) return;
    if (pthread_attr_getstacksize(&attr, &size) == 0 && size > stack_size && pthread_attr_setstacksize(&attr, stack_size) == 0)
        pthread_setattr_default_np(&attr); // Go's runtime creates its threads with the defaults
    pthread_attr_destroy(&attr);
}

static enum { normal, reserving, reserved } state;

static const char refused[] =
    "vobs: error: cannot create the threads that a run needs: the limit on processes (ulimit -u, pids.max of the cgroup) or on memory (ulimit -v) is "
    "reached: raise it, or end other processes\n";

// pthread_create takes the place of the C library's for the code that is linked with this file:
// Go's runtime, which aborts the process if it returns an error, and ours. No thread should be
// needed once the command runs. If one is, it is better late than the end of vobs.
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *argument) {
    if (libc_create == NULL) return EAGAIN;
    for (;;) {
        int failed = libc_create(thread, attr, run, argument);
        int now = __atomic_load_n(&state, __ATOMIC_SEQ_CST);
        if (failed != EAGAIN || now == normal) return failed;
        if (now == reserving) {
            ssize_t written = write(STDERR_FILENO, refused, sizeof refused - 1);
            (void)written;
            _exit(125); // as after any error before the command starts
        }
        struct timespec pause = {0, 10000000};
        nanosleep(&pause, NULL);
    }
}

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    void *(*run)(void *); // NULL if the thread is idle
    void *argument;
} parked;

static parked threads[vobs_threads];

static void *wait_for_work(void *p) {
    parked *t = p;
    pthread_mutex_lock(&t->mutex);
    for (;;) {
        while (t->run == NULL) pthread_cond_wait(&t->wake, &t->mutex);
        pthread_mutex_unlock(&t->mutex);
        t->run(t->argument);
        pthread_mutex_lock(&t->mutex);
        t->run = NULL;
    }
    return NULL;
}

// create creates a thread that blocks all signals, which are for the Go runtime's threads.
static int create(void *(*run)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, &attr, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return failed;
}

void vobs_threads_park(void) {
    if (state != normal) return;
    __atomic_store_n(&state, reserving, __ATOMIC_SEQ_CST);
    for (int i = 0; i < vobs_threads; i++) {
        parked *t = &threads[i];
        pthread_mutex_init(&t->mutex, NULL);
        pthread_cond_init(&t->wake, NULL);
        create(wait_for_work, t);
    }
}

void vobs_threads_reserved(void) { __atomic_store_n(&state, reserved, __ATOMIC_SEQ_CST); }

int vobs_thread_start(int which, void *(*run)(void *), void *argument) {
    if (state == normal) return create(run, argument);
    parked *t = &threads[which];
    pthread_mutex_lock(&t->mutex);
    int busy = t->run != NULL;
    if (!busy) {
        t->argument = argument, t->run = run;
        pthread_cond_signal(&t->wake);
    }
    pthread_mutex_unlock(&t->mutex);
    return busy ? EBUSY : 0;
}
