package gpu

import (
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
)

// The sampler's memory does not grow over ten hours in which the GPUs are read once a
// second and the command starts new processes. The short test covers one hour with a
// quarter of the bound: 8 bytes for each reading would still exceed it.
func TestSamplerMemoryBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		root := procRoot(t, 7)
		gpu := &fakeGPU{used: steady(gib), procs: listing(process{7, gib, true})}
		begin := time.Now()
		owned := func() map[int]bool { // a new process every second
			return map[int]bool{7: true, 1000 + int(time.Since(begin).Seconds()): true}
		}
		sampler := start(Config{Interval: time.Second, OwnedPIDs: owned, ProcRoot: root}, &fakeDriver{gpus: []*fakeGPU{gpu}})
		sampler.CommandStarted(time.Now())
		hour := testkit.Scale(time.Hour, time.Hour/10)
		time.Sleep(hour)
		after1 := testkit.Heap()
		time.Sleep(9 * hour)
		after10 := testkit.Heap()
		if after10 > after1+testkit.Scale[uint64](testkit.MaxGrowth, testkit.MaxGrowth/4) {
			t.Errorf("after %v %d bytes were reachable, after %v %d", hour, after1, 10*hour, after10)
		}
		r := sampler.Stop(10 * hour)
		if s := r.GPUs[0].Sampling; s.Samples < testkit.Scale[int64](35000, 3500) {
			t.Errorf("only %d samples", s.Samples)
		}
	})
}
