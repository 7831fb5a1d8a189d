package multiproc

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/probe/exposition"
)

// maxRecorded is the most that a round of a record may copy, in bytes: a deployment with
// more is read when it is asked for.
const maxRecorded = 256 << 10

// errRecorded is what one round of a record is that cannot be understood: something was
// half written, or a file has outgrown its room. The files themselves tell.
var errRecorded = errors.New("a recorded reading cannot be understood")

// polled says whether the files of a kind have what polls want.
func (k kind) polled() bool { return k == counterKind || k >= gaugeAll }

// Record has a thread copy the files that polls want every interval, from now on, if it
// does not yet: those that the last reading found. [Reader.Recorded] gives what they had.
// It reports whether that can be had.
func (r *Reader) Record(interval time.Duration) bool {
	var files []*file
	var lengths []uint32
	size := 0
	for _, f := range r.listed {
		if f.kind.polled() {
			files, lengths = append(files, f), append(lengths, uint32(len(f.image)+slack))
			size += len(f.image) + slack
		}
	}
	if r.recorder != nil && slices.Equal(files, r.recorded) {
		r.recorder.pace(interval)
		return true
	}
	r.StopRecord()
	if len(files) == 0 || size > maxRecorded {
		return false
	}
	dir, err := openDir(r.dir)
	if err != nil {
		return false
	}
	defer unix.Close(dir)
	if !recordable(dir) {
		return false
	}
	var fds []int
	for _, f := range files {
		var st unix.Stat_t
		fd, err := open(dir, f.name, &st)
		if err != nil {
			closeAll(fds)
			return false
		}
		fds = append(fds, fd)
	}
	if r.recorder = newRecorder(fds, lengths, interval); r.recorder == nil {
		return false
	}
	r.recorded = files
	return true
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// StopRecord ends a record. What was not taken is lost.
func (r *Reader) StopRecord() {
	if r.recorder != nil {
		r.recorder.stop()
		r.recorder, r.recorded = nil, nil
	}
}

// Recorded reads the oldest round of the record that was not taken yet into page, as a
// poll. at is when it began, took how long it lasted; ok is false where there is none.
// The error is that this round cannot be understood; then the record has ended.
func (r *Reader) Recorded(page *exposition.Page) (at time.Time, took time.Duration, ok bool, err error) {
	if r.recorder == nil {
		return at, 0, false, nil
	}
	for ok = false; !ok || at.Before(r.readAt); { // what is older than a reading counts no more
		if at, took, ok = r.recorder.next(); !ok {
			return at, 0, false, nil
		}
	}
	r.begin(page)
	for i, f := range r.recorded {
		data, whole := usedOf(r.recorder.image(i))
		if whole && data != nil {
			whole = r.parse(f, data, false) == nil
		}
		if !whole {
			r.StopRecord()
			return at, took, true, errRecorded
		}
	}
	for i, f := range r.recorded {
		if data, _ := usedOf(r.recorder.image(i)); data != nil {
			r.take(f, data, InPolls)
		}
	}
	if err := r.emit(page, InPolls); err != nil {
		r.StopRecord()
		return at, took, true, err
	}
	return at, took, true, nil
}

// usedOf gives what is used of a file; nil where nothing is, whole false where that is
// more than was read.
func usedOf(image []byte) (data []byte, whole bool) {
	if len(image) < headLength {
		return nil, false
	}
	used := int(int32(binary.NativeEndian.Uint32(image)))
	switch {
	case used == 0:
		return nil, true
	case used < headLength || used > len(image):
		return nil, false
	}
	return image[:used], true
}
