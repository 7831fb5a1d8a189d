//go:build !linux

package host

import "time"

// epoch makes wall times differences of a monotonic clock.
var epoch = time.Now()

// threadCPU is the wall time, the upper bound of a thread's CPU time: off Linux
// only fixture trees are read.
func threadCPU() time.Duration { return time.Since(epoch) }
