package proc

import (
	"github.com/vobs/vobs/sampler/internal/proctest"
	"testing"
)

func TestFateOf(t *testing.T) {
	const quiet = "Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000010000\nSigBlk:\tffffffffffffffff\n" // CHLD waits
	const killed = "Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n"                           // as seen on a Worker that vLLM killed
	const asked = "Name:\tx\nSigPnd:\t0000000000004000\nShdPnd:\t0000000000000000\n"
	for _, c := range []struct {
		name   string
		stat   proctest.Stat
		status string
		want   State
	}{
		{"alive", proctest.Stat{}, quiet, Running},
		{"busy", proctest.Stat{State: "R"}, quiet, Running},
		{"killed, and not gone yet", proctest.Stat{State: "D"}, killed, Exiting},
		{"asked to end", proctest.Stat{}, asked, Exiting},
		{"exiting", proctest.Stat{State: "R", Flags: 0x40050c}, quiet, Exiting}, // seen on such a Worker
		{"a zombie", proctest.Stat{State: "Z"}, quiet, Exited},
		{"a leader that ended before its threads", proctest.Stat{State: "Z", Threads: 3}, quiet, Running},
		{"another process", proctest.Stat{Start: 8}, quiet, Exited},
		{"no status", proctest.Stat{}, "", Exited},
		{"a status that cannot be read", proctest.Stat{}, "SigPnd:\tx\nShdPnd:\t0\n", Unknown},
		{"a status without signals", proctest.Stat{}, "Name:\tx\n", Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			proc := proctest.New(t)
			c.stat.Comm = "VLLM::Worker"
			proc.Put(7, c.stat)
			if c.status != "" {
				proc.Write("7/status", c.status)
			}
			if got := StateOf(proc.Root, Process{PID: 7, StartTicks: 7}); got != c.want {
				t.Errorf("fate %d, want %d", got, c.want)
			}
			if got := StateOf(proc.Root, Process{PID: 6, StartTicks: 6}); got != Exited {
				t.Errorf("fate %d of no process", got)
			}
		})
	}
}

func FuzzParsePending(f *testing.F) {
	f.Add([]byte("SigQ:\t0/1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004002\nSigBlk:\t0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bits, err := parsePending(data); err != nil && bits != 0 {
			t.Errorf("%q: %x with %v", data, bits, err)
		}
	})
}
