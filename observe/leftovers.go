package observe

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/sampler/host"
	"github.com/vobs/vobs/schema"
)

const (
	// leftoverWait is how long to wait for descendants that outlive the command: a
	// server's helpers end in that time.
	leftoverWait = 2 * time.Second
	// killGrace is the time between TERM and KILL for --kill-leftovers.
	killGrace = 5 * time.Second
	// killWait bounds the wait after KILL: a process in a driver call may stay.
	killWait = time.Second
	// killPoll is how often the remaining processes are listed meanwhile.
	killPoll = 50 * time.Millisecond
)

// leftovers are the descendants that outlive the command.
type leftovers struct {
	command  *child.Command
	host     *host.Sampler
	gpus     *gpu.Sampler
	redactor *redact.Redactor
	warn     func(string)
	willKill bool // --kill-leftovers
}

// list describes the leftovers and warns about them.
func (l *leftovers) list() (out []schema.Leftover, notes schema.Notes) {
	err := l.host.Tree().Err()
	var alive []host.Leftover
	if err == nil {
		alive, err = l.host.Leftovers()
	}
	if err != nil {
		if !l.command.WaitNoChildren(0) {
			message := fmt.Sprintf("processes of the command are still running and cannot be listed: %v", err)
			l.warn(message)
			notes.Doubt(schema.CodeLeftoversUnknown, schema.Warning, message, nil)
		}
		return nil, notes
	}
	pids := map[int]bool{}
	for _, p := range alive {
		pids[p.PID] = true
	}
	memory := l.gpus.MemoryOf(pids)
	for i, p := range alive {
		leftover := schema.Leftover{PID: p.PID, Command: l.redactor.Line(p.CommandLine, p.Comm), RSSBytes: p.RSSBytes}
		if n, ok := memory[p.PID]; ok {
			leftover.GPUMemoryBytes = &n
		} else {
			notes.Missing(fmt.Sprintf("run.leftovers.%d.gpu_memory_bytes", i), "the GPU driver does not report it for this process")
		}
		if leftover.RSSBytes == nil {
			notes.Missing(fmt.Sprintf("run.leftovers.%d.rss_bytes", i), "the process ended while vobs was reading it")
		}
		out = append(out, leftover)
	}
	if len(out) > 0 {
		l.warn(l.describe(alive))
	}
	return out, notes
}

// describe returns which processes remain and what becomes of them.
func (l *leftovers) describe(alive []host.Leftover) string {
	what, ended := fmt.Sprintf("%d processes of the command are", len(alive)), "ending them"
	if len(alive) == 1 {
		what, ended = "1 process of the command is", "ending it"
	}
	text := what + " still running: " + pidList(alive)
	if l.willKill {
		text += "; " + ended
	}
	return text
}

func pidList(alive []host.Leftover) string {
	text := "pids"
	if len(alive) == 1 {
		text = "pid"
	}
	for i, p := range alive {
		if i == 20 {
			return fmt.Sprintf("%s and %d more", text, len(alive)-i)
		}
		text += fmt.Sprintf(" %d", p.PID)
	}
	return text
}

// kill ends the leftovers: TERM, and after 5 s KILL. It lists them anew for every signal,
// so that no signal goes to a process that took over a pid, and so that new children
// are ended with their parents. A further INT or TERM to vobs shortens the wait.
func (l *leftovers) kill() {
	for _, step := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGTERM, killGrace}, {unix.SIGKILL, killWait}} {
		signalled := map[int]uint64{} // start times by pid: each process gets the signal once
		deadline := time.Now().Add(step.wait)
		cancelled := l.command.Cancelled()
		for time.Now().Before(deadline) {
			alive, err := l.host.Leftovers()
			if err != nil {
				l.warn(fmt.Sprintf("cannot end the command's leftover processes: %v", err))
			}
			if len(alive) == 0 {
				return
			}
			for _, p := range alive {
				if signalled[p.PID] == p.StartTicks {
					continue
				}
				signalled[p.PID] = p.StartTicks
				if err := unix.Kill(p.PID, step.signal); err != nil {
					l.warn(fmt.Sprintf("cannot end leftover process %d: %v", p.PID, err))
				}
			}
			select {
			case <-l.command.NoChildren():
				return
			case <-cancelled:
				deadline, cancelled = time.Now(), nil
			case <-time.After(killPoll):
			}
		}
	}
	if alive, _ := l.host.Leftovers(); len(alive) > 0 {
		l.warn("still running after KILL: " + pidList(alive))
	}
}
