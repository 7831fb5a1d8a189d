package multiproc

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/probe/exposition"
)

// maxRecorded is the limit of bytes that a round of a recording copies. Files with more are
// read by polls instead.
const maxRecorded = 256 << 10

// errBadRound is returned for an invalid round of a recording: something was half written,
// or a file has outgrown its buffer. Reading the files themselves shows which.
var errBadRound = errors.New("a recorded round is invalid")

// polled reports whether files of the kind have what polls want.
func (k kind) polled() bool { return k == counterKind || k >= gaugeAll }

// Record starts a thread that copies the files that polls want every interval, or changes
// the interval if it is running. It copies the files that the last reading found;
// [Reader.Recorded] returns their content. Record reports whether recording is possible.
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
		r.recorder.setInterval(interval)
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

// StopRecord ends the recording. Rounds that [Reader.Recorded] has not returned are lost.
func (r *Reader) StopRecord() {
	if r.recorder != nil {
		r.recorder.stop()
		r.recorder, r.recorded = nil, nil
	}
}

// Recorded reads the oldest recorded round not yet returned into page, like a poll. at is
// when the round began and took how long it lasted; ok is false if there is none. An error
// means that the round is invalid; the recording has then ended.
func (r *Reader) Recorded(page *exposition.Page) (at time.Time, took time.Duration, ok bool, err error) {
	if r.recorder == nil {
		return at, 0, false, nil
	}
	for ok = false; !ok || at.Before(r.readAt); { // skip what is older than the last reading
		if at, took, ok = r.recorder.next(); !ok {
			return at, 0, false, nil
		}
	}
	r.begin(page)
	for i, f := range r.recorded {
		data, valid := usedOf(r.recorder.image(i))
		if valid && data != nil {
			valid = r.parse(f, data, false) == nil
		}
		if !valid {
			r.StopRecord()
			return at, took, true, errBadRound
		}
	}
	for i, f := range r.recorded {
		if data, _ := usedOf(r.recorder.image(i)); data != nil {
			r.accumulate(f, data, InPolls)
		}
	}
	if err := r.emit(page, InPolls); err != nil {
		r.StopRecord()
		return at, took, true, err
	}
	return at, took, true, nil
}

// usedOf returns the used part of a file's copy, nil if nothing is used. valid is false if
// the copy lacks some of it.
func usedOf(image []byte) (data []byte, valid bool) {
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
