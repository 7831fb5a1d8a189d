package testkit

import "runtime"

// Heap is what is reachable, in bytes.
func Heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // finalizers free more
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// MaxGrowth is what the tests beside may take more after ten hours than after one;
// a thing of 8 bytes kept for each reading would be 100 KiB and more.
const MaxGrowth = 64 << 10
