//go:build !linux || !cgo

package multiproc

import "time"

// recorder is not available here: it needs Linux and a C thread.
type recorder struct{}

func recordable(int) bool { return false }

func newRecorder(dir int, fds []int, _ []uint32, _ time.Duration) *recorder {
	closeAll(append(fds, dir))
	return nil
}

func (*recorder) next() (at time.Time, took time.Duration, modified int64, ok bool) { return }
func (*recorder) image(int) []byte                                                  { return nil }
func (*recorder) setInterval(time.Duration)                                         {}
func (*recorder) stop()                                                             {}
