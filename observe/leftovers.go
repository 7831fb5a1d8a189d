package observe

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/sampler/host"
	"github.com/vobs/vobs/schema"
)

const (
	// leftoverWait is how long descendants that outlive the command are waited
	// for: a server's helpers end then.
	leftoverWait = 2 * time.Second
	// killGrace is the time between TERM and KILL for --kill-leftovers.
	killGrace = 5 * time.Second
	// killWait bounds the wait after KILL: a process in a driver call may stay.
	killWait = time.Second
	// killLook is how often it is looked who is left.
	killLook = 50 * time.Millisecond
)

// listLeftovers describes the descendants that outlived the command, and warns.
func (b *bracket) listLeftovers(command *child.Command, notes *schema.Notes) []schema.Leftover {
	if err := b.host.Tree().Err(); err != nil && !command.WaitNoChildren(0) {
		message := fmt.Sprintf("processes of the command are still running and cannot be listed: %v", err)
		b.cfg.Warn(message)
		notes.Doubt(schema.CodeLeftoversUnknown, schema.Warning, message, nil)
		return nil
	}
	alive := b.host.Leftovers()
	pids := map[int]bool{}
	for _, p := range alive {
		pids[p.PID] = true
	}
	memory := b.gpus.MemoryOf(pids)
	var out []schema.Leftover
	for i, p := range alive {
		l := schema.Leftover{PID: p.PID, Command: b.redactor.Line(p.CommandLine, p.Comm), RSSBytes: p.RSSBytes}
		if n, ok := memory[p.PID]; ok {
			l.GPUMemoryBytes = &n
		} else {
			notes.Missing(fmt.Sprintf("run.leftovers.%d.gpu_memory_bytes", i), "the GPU driver does not tell it for this process")
		}
		if l.RSSBytes == nil {
			notes.Missing(fmt.Sprintf("run.leftovers.%d.rss_bytes", i), "the process ended while it was looked at")
		}
		out = append(out, l)
	}
	if len(out) > 0 {
		b.cfg.Warn(fmt.Sprintf("%d processes of the command are still running: %s", len(out), pidList(alive)))
	}
	return out
}

func pidList(alive []host.Leftover) string {
	text := "pids"
	for i, p := range alive {
		if i == 20 {
			return fmt.Sprintf("%s and %d more", text, len(alive)-i)
		}
		text += fmt.Sprintf(" %d", p.PID)
	}
	return text
}

// killLeftovers ends the descendants that are left: TERM, and after 5 s KILL. The
// list is taken anew for every signal, so that none goes to a process that took
// over the id of one that ended; new children of theirs are ended with them. A
// further INT or TERM to vobs shortens the wait.
func (b *bracket) killLeftovers(command *child.Command) {
	for _, step := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGTERM, killGrace}, {unix.SIGKILL, killWait}} {
		told := map[int]uint64{} // start times, by process: TERM comes once
		deadline := time.Now().Add(step.wait)
		cancelled := command.Cancelled()
		for time.Now().Before(deadline) {
			alive := b.host.Leftovers()
			if len(alive) == 0 {
				return
			}
			for _, p := range alive {
				if told[p.PID] == p.StartTicks {
					continue
				}
				told[p.PID] = p.StartTicks
				if err := unix.Kill(p.PID, step.signal); err != nil {
					b.cfg.Warn(fmt.Sprintf("ending process %d, which the command left behind: %v", p.PID, err))
				}
			}
			select {
			case <-command.NoChildren():
				return
			case <-cancelled:
				deadline, cancelled = time.Now(), nil
			case <-time.After(killLook):
			}
		}
	}
	if alive := b.host.Leftovers(); len(alive) > 0 {
		b.cfg.Warn("still there after KILL: " + pidList(alive))
	}
}
