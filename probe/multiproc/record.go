package multiproc

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/threads"
	"github.com/vobs/vobs/probe/exposition"
)

// maxRecorded is the limit of bytes that a round of a recording copies. Files with more are
// read by polls instead.
const maxRecorded = 256 << 10

var (
	// errBadRound is returned for an invalid round of a recording: something was half
	// written, or a file has outgrown its buffer. Reading the files themselves shows which.
	errBadRound = errors.New("a recorded round is invalid")
	// errOldList is returned for a round during or before which the directory changed: it
	// may lack a new file, or have one that is gone.
	errOldList = errors.New("the directory has changed since its files were listed")
)

// polled reports whether files of the kind have what polls want.
func (k kind) polled() bool { return k == counterKind || k >= gaugeAll }

// mtimeTick is the most by which a directory's modification time can precede its change: one
// tick of the kernel's clock, at most 10 ms, and a margin.
const mtimeTick = 20 * time.Millisecond

// checkList notes what the recording needs to know of the directory, which is about to be
// listed, and ends a recording of files from before a change: a round of it would lack the
// files that this reading finds.
func (r *Reader) checkList(dir int) {
	modified, ok := modifiedAt(dir)
	r.listIsCurrent = ok
	if age := time.Since(time.Unix(0, modified)).Abs(); age < mtimeTick {
		r.listIsCurrent = false // another change within the same tick would not show
	}
	if modified != r.modified || !r.listIsCurrent {
		r.StopRecord()
	}
	r.modified = modified
}

// modifiedAt returns when a directory was last modified, in ns of Unix time: when a file was
// created, removed or renamed there.
func modifiedAt(dir int) (ns int64, ok bool) {
	var st unix.Stat_t
	if unix.Fstat(dir, &st) != nil {
		return 0, false
	}
	return st.Mtim.Nano(), true
}

// Record starts a thread that copies the files that polls want every interval, or changes
// the interval if it is running. It copies the files that the last reading found;
// [Reader.Recorded] returns their content. Record reports whether recording is possible. It
// is not if the directory changed a moment before the last reading, or after it: then it may
// be possible after the next one.
func (r *Reader) Record(interval time.Duration) bool {
	if r.recorder != nil {
		r.recorder.setInterval(interval)
		return true
	}
	var files []*file
	var lengths []uint32
	size := 0
	for _, f := range r.listed {
		if f.kind.polled() && !f.skipped {
			files, lengths = append(files, f), append(lengths, uint32(len(f.image)+slack))
			size += len(f.image) + slack
		}
	}
	if !r.listIsCurrent || len(files) == 0 || size > maxRecorded {
		return false
	}
	threads.Enter()
	defer threads.Leave()
	dir, err := openDir(r.dir)
	if err != nil {
		return false
	}
	if !recordable(dir) {
		unix.Close(dir)
		return false
	}
	var fds []int
	for _, f := range files {
		var st unix.Stat_t
		fd, err := open(dir, f, &st)
		if err != nil {
			closeAll(append(fds, dir))
			return false
		}
		fds = append(fds, fd)
	}
	if modified, ok := modifiedAt(dir); !ok || modified != r.modified { // other files now
		closeAll(append(fds, dir))
		return false
	}
	if r.recorder = newRecorder(dir, fds, lengths, interval); r.recorder == nil {
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
// means that the round is invalid; the recording has then ended, and begins again only after
// a reading.
func (r *Reader) Recorded(page *exposition.Page) (at time.Time, took time.Duration, ok bool, err error) {
	if r.recorder == nil {
		return at, 0, false, nil
	}
	modified := int64(0)
	for ok = false; !ok || at.Before(r.readAt); { // skip what is older than the last reading
		if at, took, modified, ok = r.recorder.next(); !ok {
			return at, 0, false, nil
		}
	}
	r.begin(page)
	if err = r.readRound(page, modified); err != nil {
		r.StopRecord()
		r.listIsCurrent = false
	}
	return at, took, true, err
}

// readRound reads the round that was taken last.
func (r *Reader) readRound(page *exposition.Page, modified int64) error {
	if modified != r.modified {
		return errOldList
	}
	for i, f := range r.recorded {
		data, valid := usedOf(r.recorder.image(i))
		if valid && (data != nil || len(f.entries) > 0) { // what had entries is empty while it is rewritten
			valid = r.parse(f, data, false) == nil
		}
		if !valid {
			return errBadRound
		}
	}
	for i, f := range r.recorded {
		if data, _ := usedOf(r.recorder.image(i)); data != nil {
			r.accumulate(f, data, InPolls)
		}
	}
	return r.emit(page, InPolls)
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
