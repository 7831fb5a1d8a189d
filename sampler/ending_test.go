package sampler

import "testing"

func TestFateOf(t *testing.T) {
	const quiet = "Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000010000\nSigBlk:\tffffffffffffffff\n" // CHLD waits
	const killed = "Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n"                           // as seen on a Worker that vLLM killed
	const asked = "Name:\tx\nSigPnd:\t0000000000004000\nShdPnd:\t0000000000000000\n"
	for _, c := range []struct {
		name   string
		stat   fakeStat
		status string
		want   Fate
	}{
		{"alive", fakeStat{}, quiet, FateAlive},
		{"busy", fakeStat{state: "R"}, quiet, FateAlive},
		{"killed, and not gone yet", fakeStat{state: "D"}, killed, FateEnding},
		{"asked to end", fakeStat{}, asked, FateEnding},
		{"exiting", fakeStat{state: "R", flags: 0x40050c}, quiet, FateEnding}, // seen on such a Worker
		{"a zombie", fakeStat{state: "Z"}, quiet, FateGone},
		{"a leader that ended before its threads", fakeStat{state: "Z", threads: 3}, quiet, FateAlive},
		{"another process", fakeStat{start: 8}, quiet, FateGone},
		{"no status", fakeStat{}, "", FateGone},
		{"a status that cannot be read", fakeStat{}, "SigPnd:\tx\nShdPnd:\t0\n", FateUnknown},
		{"a status without signals", fakeStat{}, "Name:\tx\n", FateUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			proc := newFakeProc(t)
			c.stat.comm = "VLLM::Worker"
			proc.put(7, c.stat)
			if c.status != "" {
				proc.write("7/status", c.status)
			}
			if got := FateOf(proc.root, Process{PID: 7, StartTicks: 7}); got != c.want {
				t.Errorf("fate %d, want %d", got, c.want)
			}
			if got := FateOf(proc.root, Process{PID: 6, StartTicks: 6}); got != FateGone {
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
