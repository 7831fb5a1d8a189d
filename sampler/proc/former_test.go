package proc

import (
	"testing"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

// A process that has ended is remembered, and others are not known.
func TestHad(t *testing.T) {
	f := proctest.VLLM(t)
	tree := NewTree(f.Root, proctest.VobsPID)
	if tree.Had(104) {
		t.Error("a process is known before any discovery")
	}
	mustDiscover(t, tree)
	f.Remove(104)
	if _, err := tree.Refresh(); err != nil {
		t.Fatal(err)
	}
	if tree.PIDs()[104] {
		t.Fatal("a process that ended is in the tree")
	}
	for pid, want := range map[int]bool{103: true, 104: true, 1: false, proctest.VobsPID: false} {
		if got := tree.Had(pid); got != want {
			t.Errorf("Had(%d) = %v", pid, got)
		}
	}
}

// The memory for processes that have ended is bounded: the oldest are forgotten.
func TestHadIsBounded(t *testing.T) {
	var f formerPIDs
	for pid := range 3 * maxFormer {
		f.add(pid)
	}
	tree := &Tree{former: f}
	if len(f.pids) != maxFormer || tree.Had(2*maxFormer-1) || !tree.Had(2*maxFormer) || !tree.Had(3*maxFormer-1) {
		t.Errorf("%d pids", len(f.pids))
	}
}
