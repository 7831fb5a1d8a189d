//go:build linux && cgo

package threads

// #cgo CFLAGS: -O2 -Wall
// #cgo LDFLAGS: -ldl
// #include "park.h"
// static void *starter(void) { return vobs_thread_start; }
import "C"

import "unsafe"

const (
	// parked is the number of threads of C code.
	parked = C.vobs_threads
	// noThread is the number of entries in the runtime's list of threads that are none: it has
	// one for a C thread that may call Go.
	noThread = 1
)

// beginReserve creates the threads of C code. Until endReserve is called, the process ends with
// an error if a thread cannot be created.
func beginReserve() { C.vobs_threads_park() }

// endReserve makes any further thread wait until it can be created.
func endReserve() { C.vobs_threads_reserved() }

// Starter returns vobs_thread_start of park.h, for the C code of other packages.
func Starter() unsafe.Pointer { return C.starter() }
