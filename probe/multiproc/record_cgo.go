//go:build linux && cgo

package multiproc

// #cgo CFLAGS: -O2 -Wall -Wextra
// #include "record.h"
import "C"

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/threads"
)

// recorder copies files in a C thread, for which Go's runtime need not wake up: a wake-up of
// the runtime takes 0.2 ms of CPU time on a virtual machine, and twenty of them a second
// 0.4 % of a core.
type recorder struct {
	c      *C.vobs_record
	starts []int // offset of each file in data
	data   []byte
	got    []C.int32_t // bytes of each file, or -1
}

// recordable reports whether files of a directory may be kept open. On a network file
// system an open file that is removed stays under another name, and its directory cannot be
// removed.
func recordable(dir int) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(dir, &fs) != nil {
		return false
	}
	switch int64(fs.Type) & 0xffffffff {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, zfsMagic:
		return true
	}
	return false
}

// zfsMagic is ZFS_SUPER_MAGIC of OpenZFS (include/sys/fs/zfs.h).
const zfsMagic = 0x2fc12fc1

// newRecorder starts a recorder of files in the directory dir. It owns the descriptors. If
// it cannot start, it closes them and returns nil.
func newRecorder(dir int, fds []int, lengths []uint32, interval time.Duration) *recorder {
	size := 0
	ints, lens, starts := make([]C.int, len(fds)), make([]C.uint32_t, len(fds)), make([]int, len(fds))
	for i := range fds {
		ints[i], lens[i], starts[i] = C.int(fds[i]), C.uint32_t(lengths[i]), size
		size += int(lengths[i])
	}
	c := C.vobs_record_start(C.int(dir), &ints[0], &lens[0], C.int(len(fds)), C.int64_t(interval), (*C.vobs_thread_starter)(threads.Starter()))
	if c == nil {
		closeAll(append(fds, dir))
		return nil
	}
	return &recorder{c: c, starts: starts, data: make([]byte, size), got: make([]C.int32_t, len(fds))}
}

// next takes the oldest waiting round; ok is false if there is none. modified is when the
// directory was last modified as of the end of the round, in ns of Unix time.
func (r *recorder) next() (at time.Time, took time.Duration, modified int64, ok bool) {
	var ago, lasted, changed C.int64_t
	now := time.Now()
	if C.vobs_record_take(r.c, (*C.char)(unsafe.Pointer(&r.data[0])), &r.got[0], &ago, &lasted, &changed) == 0 {
		return at, 0, 0, false
	}
	return now.Add(-time.Duration(ago)), time.Duration(lasted), int64(changed), true
}

// image returns the round's copy of the nth file, nil if it could not be read. It is valid
// until the next call of next.
func (r *recorder) image(n int) []byte {
	if r.got[n] < 0 {
		return nil
	}
	return r.data[r.starts[n]:][:r.got[n]]
}

func (r *recorder) setInterval(interval time.Duration) {
	C.vobs_record_set_interval(r.c, C.int64_t(interval))
}

func (r *recorder) stop() { C.vobs_record_stop(r.c) }
