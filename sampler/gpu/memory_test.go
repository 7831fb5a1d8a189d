package gpu

import (
	"github.com/vobs/vobs/internal/testkit"
	"testing"
	"time"
)

// Ten hours in which the GPUs are read each second, and the command starts a
// process each minute: what is kept does not grow with either. In short, one hour
// and a quarter of the bound: 8 bytes for each reading would still exceed it.
func TestTenHoursOfGPUs(t *testing.T) {
	inBubble(t, func(t *testing.T, hang chan struct{}) {
		root := procRoot(t, 7)
		gpu := &fakeGPU{used: steady(gib), procs: listing(process{7, gib, true})}
		begin := time.Now()
		ours := func() map[int]bool { // a new one every second, by now
			return map[int]bool{7: true, 1000 + int(time.Since(begin).Seconds()): true}
		}
		g := start(Config{Interval: time.Second, Ours: ours, ProcRoot: root}, &fakeDriver{gpus: []*fakeGPU{gpu}})
		g.CommandStarted(time.Now())
		hour := testkit.Scale(time.Hour, time.Hour/10)
		time.Sleep(hour)
		after1 := testkit.Heap()
		time.Sleep(9 * hour)
		after10 := testkit.Heap()
		if after10 > after1+testkit.Scale[uint64](testkit.MaxGrowth, testkit.MaxGrowth/4) {
			t.Errorf("after %v %d bytes were reachable, after %v %d", hour, after1, 10*hour, after10)
		}
		r := g.Stop(10 * hour)
		if s := r.GPUs[0].Sampling; s.Samples < testkit.Scale[int64](35000, 3500) {
			t.Errorf("only %d samples", s.Samples)
		}
	})
}
