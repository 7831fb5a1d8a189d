//go:build !linux || !cgo

package threads

const (
	// parked is the number of threads of C code.
	parked = 0
	// noThread is the number of entries in the runtime's list of threads that are none.
	noThread = 0
)

func beginReserve() {}
func endReserve()   {}
