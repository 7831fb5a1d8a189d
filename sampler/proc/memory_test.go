package proc

import (
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
)

// A Tree's memory does not grow over hundreds of discoveries, each after one process
// ended and another one started.
func TestTreeMemoryBounded(t *testing.T) {
	f := proctest.VLLM(t)
	tree := NewTree(f.Root, proctest.VobsPID)
	defer tree.Close()
	pid := 1000
	pass := func(times int) {
		for range times {
			f.Remove(pid)
			pid++
			f.Put(pid, proctest.Stat{PPID: 101, Comm: "sh", Pages: 5})
			mustDiscover(t, tree)
			if _, err := tree.Refresh(); err != nil {
				t.Fatal(err)
			}
		}
	}
	pass(100)
	before := testkit.Heap()
	more := testkit.Scale(800, 100)
	pass(more)
	// 20 bytes for each process that ended; in short 80.
	if after := testkit.Heap(); after > before+testkit.Scale[uint64](testkit.MaxGrowth/4, testkit.MaxGrowth/8) {
		t.Errorf("after 100 processes %d bytes were reachable, after %d %d", before, 100+more, after)
	}
	wantPIDs(t, tree, 101, 102, 103, 104, pid)
}
