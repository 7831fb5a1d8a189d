package testkit

import "runtime"

// Heap returns the bytes of reachable memory.
func Heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // finalizers free more
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// MaxGrowth is how many more bytes of memory a simulation may hold after ten hours than
// after one. Anything of 8 bytes kept for each reading would be 100 KiB and more.
const MaxGrowth = 64 << 10
