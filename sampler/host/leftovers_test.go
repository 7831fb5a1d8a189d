package host

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// A process that hangs with its memory map locked does not delay the exit. It is
// simulated by a command line that hangs.
func TestLeftoversHang(t *testing.T) {
	proctest.NeedProc(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := proctest.VLLM(t)
	f.Write("stat", "cpu0 1 2\n")
	f.Write("101/cmdline", "vllm\x00serve\x00")
	f.Write("102/cmdline", "")
	_, release := proctest.Hang(t, "103/cmdline")
	s := Start(Config{ProcRoot: f.Root, RootPID: proctest.VobsPID})
	left := mustList(t, s)
	again := mustList(t, s)
	release()
	page := int64(os.Getpagesize())
	want := []Leftover{
		{proc.Process{PID: 101, PPID: proctest.VobsPID, StartTicks: 101, Comm: "vllm"}, []string{"vllm", "serve"}, schema.Ptr(10 * page)},
		{proc.Process{PID: 102, PPID: 101, StartTicks: 102, Comm: "python"}, nil, schema.Ptr(20 * page)},
		{proc.Process{PID: 103, PPID: 101, StartTicks: 103, Comm: "VLLM::EngineCor"}, nil, schema.Ptr(300 * page)},
		{proc.Process{PID: 104, PPID: 103, StartTicks: 104, Comm: "VLLM::Worker) (1"}, nil, schema.Ptr(4000 * page)},
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, again); diff != "" {
		t.Errorf("the second time (-want +got):\n%s", diff)
	}
	s.Stop(0)
	testkit.Await(t, "nothing hangs any more", func() bool { return len(bounded.Hanging()) == 0 })
}
