// A thread that copies a few files twenty times a second.
#pragma once
#include <stdint.h>

typedef struct vobs_record vobs_record;

// vobs_record_start begins to copy the first lengths[i] bytes of each of n files, every
// interval ns. The descriptors are its own from then on. NULL where there is no memory
// or no thread to be had: then the descriptors stay the caller's.
vobs_record *vobs_record_start(const int *fds, const uint32_t *lengths, int n, int64_t interval);
// vobs_record_pace changes the interval.
void vobs_record_pace(vobs_record *, int64_t interval);
// vobs_record_take copies the oldest round that was not taken: the files' bytes one
// behind the other, each in the room of its length, how many there are of each (-1: it
// could not be read), how long ago the round began and how long it took, ns. 0 where
// there is none.
int vobs_record_take(vobs_record *, char *data, int32_t *got, int64_t *ago, int64_t *took);
// vobs_record_stop ends it. Its thread frees all when it has read what it is reading.
void vobs_record_stop(vobs_record *);
