//go:build !linux

package host

import "time"

// epoch is the origin of threadCPU.
var epoch = time.Now()

// threadCPU returns the wall time, an upper bound of a thread's CPU time: outside Linux
// only fixture trees are read.
func threadCPU() time.Duration { return time.Since(epoch) }
