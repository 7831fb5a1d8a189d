package proc

import (
	"testing"

	"github.com/vobs/vobs/sampler/internal/proctest"
)

func TestStateOf(t *testing.T) {
	const quiet = "Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000010000\nSigBlk:\tffffffffffffffff\n" // CHLD is pending
	const killed = "Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n"                           // seen on a worker that vLLM killed
	const terminated = "Name:\tx\nSigPnd:\t0000000000004000\nShdPnd:\t0000000000000000\n"
	for _, c := range []struct {
		name   string
		stat   proctest.Stat
		status string
		want   State
	}{
		{"sleeping", proctest.Stat{}, quiet, Running},
		{"on a CPU", proctest.Stat{State: "R"}, quiet, Running},
		{"killed but still there", proctest.Stat{State: "D"}, killed, Exiting},
		{"TERM is pending", proctest.Stat{}, terminated, Exiting},
		{"exiting", proctest.Stat{State: "R", Flags: 0x40050c}, quiet, Exiting}, // seen on such a worker
		{"a zombie", proctest.Stat{State: "Z"}, quiet, Exited},
		{"a leader that ended before its other threads", proctest.Stat{State: "Z", Threads: 3}, quiet, Running},
		{"a reused pid", proctest.Stat{Start: 8}, quiet, Exited},
		{"no status", proctest.Stat{}, "", Exited},
		{"a malformed status", proctest.Stat{}, "SigPnd:\tx\nShdPnd:\t0\n", Unknown},
		{"a status without signals", proctest.Stat{}, "Name:\tx\n", Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := proctest.New(t)
			c.stat.Comm = "VLLM::Worker"
			f.Put(7, c.stat)
			if c.status != "" {
				f.Write("7/status", c.status)
			}
			if got := StateOf(f.Root, Process{PID: 7, StartTicks: 7}); got != c.want {
				t.Errorf("state %d, want %d", got, c.want)
			}
			if got := StateOf(f.Root, Process{PID: 6, StartTicks: 6}); got != Exited {
				t.Errorf("state %d of a nonexistent process", got)
			}
		})
	}
}

func FuzzParsePending(f *testing.F) {
	f.Add([]byte("SigQ:\t0/1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004002\nSigBlk:\t0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if mask, err := parsePending(data); err != nil && mask != 0 {
			t.Errorf("%q: %x with %v", data, mask, err)
		}
	})
}
