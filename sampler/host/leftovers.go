package host

import (
	"github.com/vobs/vobs/sampler/proc"
	"time"
)

// Leftover is a descendant of the command that is still there.
type Leftover struct {
	proc.Process
	// CommandLine is its arguments or its title, not redacted; nil where it has none
	// or they could not be read in time.
	CommandLine []string
	// RSSBytes is its resident memory; nil where it could not be read.
	RSSBytes *int64
}

// commandLineWait bounds the reading of all leftovers' arguments: that takes the
// lock of a process's memory map, and a process that hangs in a driver may hold
// it for ever. The exit must not wait for that.
const commandLineWait = 500 * time.Millisecond

// Leftovers looks for descendants of the command and returns those that are alive
// now, those that started first in front; zombies have ended. It may be called
// before and after [Host.Stop], again and again. When a process hangs so that its
// arguments cannot be read, it returns after half a second without these, and a
// goroutine stays behind that hangs with it.
func (h *Sampler) Leftovers() []Leftover {
	h.tree.Discover() // what cannot be read is left over for nobody to see
	procs := h.tree.Processes()
	alive := make([]Leftover, len(procs))
	for i, p := range procs {
		alive[i] = Leftover{Process: p, RSSBytes: h.tree.MemberRSS(p)}
	}
	type line struct {
		i    int
		args []string
	}
	lines := make(chan line, len(procs)) // room for all: no reader waits
	for i, p := range procs {
		go func() {
			args, err := proc.CommandLine(h.cfg.ProcRoot, p.PID)
			if err != nil {
				args = nil
			}
			lines <- line{i, args}
		}()
	}
	timeout := time.NewTimer(commandLineWait)
	defer timeout.Stop()
	for range procs {
		select {
		case l := <-lines:
			alive[l.i].CommandLine = l.args
		case <-timeout.C:
			return alive
		}
	}
	return alive
}
