//go:build !linux || !cgo

package threads

// parked is the number of threads of C code.
const parked = 0

func beginReserve() {}
func endReserve()   {}
