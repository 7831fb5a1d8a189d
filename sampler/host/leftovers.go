package host

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/bounded"
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

const (
	// listTimeout limits the time for listing the leftovers.
	listTimeout = time.Second
	// commandLineTimeout limits the time for reading the arguments of all of them:
	// reading them takes the lock of a process's memory map, which a process that hangs in
	// a driver may hold forever. The exit must not wait for that.
	commandLineTimeout = 500 * time.Millisecond
)

// Leftovers looks for descendants of the command and returns those that are alive
// now, oldest first; zombies have ended. It may be called before and after
// [Sampler.Stop], and repeatedly. If a process hangs so that its arguments cannot be
// read, Leftovers returns after half a second without them, and leaves behind a
// goroutine that hangs with the process. If the processes cannot be listed because a file
// does not respond, it fails after a second.
func (s *Sampler) Leftovers() ([]Leftover, error) {
	alive, err := bounded.Call("the processes in "+s.cfg.ProcRoot, listTimeout, s.listLeftovers)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	for i, p := range alive {
		wg.Go(func() {
			name := fmt.Sprintf("the arguments of process %d", p.PID)
			args, err := bounded.Call(name, commandLineTimeout, func() ([]string, error) {
				return proc.CommandLine(s.cfg.ProcRoot, p.PID)
			})
			if err == nil {
				alive[i].CommandLine = args
			}
		})
	}
	wg.Wait()
	return alive, nil
}

// listLeftovers returns the leftovers without their arguments.
func (s *Sampler) listLeftovers() ([]Leftover, error) {
	// Best effort: what cannot be read cannot be listed.
	if err := s.tree.DiscoverAnew(); errors.Is(err, bounded.ErrHangs) {
		return nil, err
	}
	procs, err := s.tree.Processes()
	if errors.Is(err, bounded.ErrHangs) {
		return nil, err
	}
	alive := make([]Leftover, len(procs))
	for i, p := range procs {
		alive[i] = Leftover{Process: p, RSSBytes: s.tree.MemberRSS(p)}
	}
	return alive, nil
}
