package gpu

import (
	"github.com/vobs/vobs/internal/testkit"
	"testing"
	"time"
)

// Ten hours in which the GPUs are read each second, and the command starts a
// process each minute: what is kept does not grow with either.
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
		time.Sleep(time.Hour)
		after1 := testkit.Heap()
		time.Sleep(9 * time.Hour)
		after10 := testkit.Heap()
		if after10 > after1+testkit.MaxGrowth {
			t.Errorf("after one hour %d bytes were reachable, after ten %d", after1, after10)
		}
		r := g.Stop(10 * time.Hour)
		if s := r.GPUs[0].Sampling; s.Samples < 35000 {
			t.Errorf("only %d samples", s.Samples)
		}
	})
}
