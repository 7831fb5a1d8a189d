// A thread that copies a few files several times a second, for all recordings.
#pragma once
#include <stdint.h>

#include "../../internal/threads/park.h"

typedef struct vobs_record vobs_record;

// vobs_record_start starts copying the first lengths[i] bytes of each of n files, every
// interval ns. dir is the directory that they are in. start is vobs_thread_start, which the first
// call needs. The thread then owns the descriptors. Returns NULL if there is no memory or thread; the caller then still owns them.
vobs_record *vobs_record_start(int dir, const int *fds, const uint32_t *lengths, int n, int64_t interval, vobs_thread_starter *start);
// vobs_record_set_interval changes the interval.
void vobs_record_set_interval(vobs_record *, int64_t interval);
// vobs_record_take copies the oldest round not yet taken: the files' bytes one after the
// other, each in a space of its length; how many bytes each has (-1: it could not be read);
// how long ago the round began and how long it took, in ns; when the directory was last
// modified as of the end of the round, in ns of Unix time (-1: unknown). Returns 0 if there
// is none.
int vobs_record_take(vobs_record *, char *data, int32_t *got, int64_t *ago, int64_t *took, int64_t *modified);
// vobs_record_stop ends the recording. The thread frees it after the current round.
void vobs_record_stop(vobs_record *);
