package sampler

import (
	"runtime"
	"testing"
	"time"
)

// heap is what is reachable, in bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // finalizers free more
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// maxGrowth is what the tests beside may take more after ten hours than after one;
// a thing of 8 bytes kept for each reading would be 100 KiB and more.
const maxGrowth = 64 << 10

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
		g := startGPUs(GPUConfig{Interval: time.Second, Ours: ours, ProcRoot: root}, &fakeDriver{gpus: []*fakeGPU{gpu}})
		g.CommandStarted(time.Now())
		time.Sleep(time.Hour)
		after1 := heap()
		time.Sleep(9 * time.Hour)
		after10 := heap()
		if after10 > after1+maxGrowth {
			t.Errorf("after one hour %d bytes were reachable, after ten %d", after1, after10)
		}
		r := g.Stop(10 * time.Hour)
		if s := r.GPUs[0].Sampling; s.Samples < 35000 {
			t.Errorf("only %d samples", s.Samples)
		}
	})
}

// As many readings of the process tree as ten hours have, of a tree in which a
// process ends and another one starts each time.
func TestTenHoursOfProcesses(t *testing.T) {
	f := vllmProc(t)
	tree := NewTree(f.root, vobsPID)
	defer tree.Close()
	var s hostSamples
	now := time.Now()
	pid := 1000
	pass := func(times int) {
		for range times {
			f.remove(pid)
			pid++
			f.put(pid, fakeStat{ppid: 101, comm: "sh", pages: 5})
			mustDiscover(t, tree)
			rss, err := tree.Refresh()
			now = now.Add(time.Second)
			s.add(now, rss, err)
		}
	}
	pass(100)
	before := heap()
	pass(800)
	if after := heap(); after > before+maxGrowth/4 { // 20 bytes for each process that ended
		t.Errorf("after 100 processes %d bytes were reachable, after 900 %d", before, after)
	}
	for range 36000 {
		now = now.Add(time.Second)
		s.add(now, 5, nil)
	}
	if after := heap(); after > before+maxGrowth {
		t.Errorf("after 100 readings %d bytes were reachable, after 37000 %d", before, after)
	}
	wantPIDs(t, tree, 101, 102, 103, 104, pid)
}
