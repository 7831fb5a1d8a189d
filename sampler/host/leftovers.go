package host

import (
	"time"

	"github.com/vobs/vobs/sampler/proc"
)

// Leftover is a descendant of the command that is still alive.
type Leftover struct {
	proc.Process
	// CommandLine is its arguments or its title, not redacted; nil if it has none or
	// they could not be read in time.
	CommandLine []string
	// RSSBytes is its resident memory; nil if it could not be read.
	RSSBytes *int64
}

// commandLineTimeout limits the time for reading the arguments of all leftovers:
// reading them takes the lock of a process's memory map, which a process that hangs in
// a driver may hold forever. The exit must not wait for that.
const commandLineTimeout = 500 * time.Millisecond

// Leftovers looks for descendants of the command and returns those that are alive
// now, oldest first; zombies have ended. It may be called before and after
// [Sampler.Stop], and repeatedly. If a process hangs so that its arguments cannot be
// read, Leftovers returns after half a second without them, and leaves behind a
// goroutine that hangs with the process.
func (s *Sampler) Leftovers() []Leftover {
	s.tree.Discover() // best effort: what cannot be read cannot be listed
	procs := s.tree.Processes()
	alive := make([]Leftover, len(procs))
	for i, p := range procs {
		alive[i] = Leftover{Process: p, RSSBytes: s.tree.MemberRSS(p)}
	}
	type commandLine struct {
		index int
		args  []string
	}
	lines := make(chan commandLine, len(procs)) // buffered: no sender blocks
	for i, p := range procs {
		go func() {
			args, err := proc.CommandLine(s.cfg.ProcRoot, p.PID)
			if err != nil {
				args = nil
			}
			lines <- commandLine{i, args}
		}()
	}
	timeout := time.NewTimer(commandLineTimeout)
	defer timeout.Stop()
	for range procs {
		select {
		case l := <-lines:
			alive[l.index].CommandLine = l.args
		case <-timeout.C:
			return alive
		}
	}
	return alive
}
