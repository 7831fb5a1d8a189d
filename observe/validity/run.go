package validity

import (
	"fmt"
	"strings"

	"github.com/vobs/vobs/schema"
)

// nonzeroExit notes that the command failed.
func nonzeroExit(in Input, n *schema.Notes) {
	switch run := in.Event.Run; {
	case run.Signal != nil:
		n.Doubt(schema.CodeNonzeroExit, schema.Warning,
			fmt.Sprintf("%s killed the command: figures may be those of a part of the work", *run.Signal),
			&schema.Evidence{Field: "run.signal", Value: *run.Signal})
	case run.ExitCode != nil && *run.ExitCode != 0:
		n.Doubt(schema.CodeNonzeroExit, schema.Warning,
			fmt.Sprintf("the command failed with exit code %d: figures may be those of a part of the work", *run.ExitCode),
			&schema.Evidence{Field: "run.exit_code", Value: *run.ExitCode, Threshold: 0})
	}
}

// interrupted notes that a shutdown signal was received.
func interrupted(in Input, n *schema.Notes) {
	if in.Event.Run.Interrupted {
		n.Doubt(schema.CodeInterrupted, schema.Warning,
			"a shutdown signal was received while the command ran: figures may be those of a part of the work",
			&schema.Evidence{Field: "run.interrupted", Value: true, Threshold: false})
	}
}

// maxVictims is how many processes a message names.
const maxVictims = 5

// oomKilled notes that the kernel killed one of the command's processes for lack of memory.
// In a cgroup with other processes the victim may be one of those. The victim then counts as
// the command's if the command failed, or if an engine died.
func oomKilled(in Input, n *schema.Notes) {
	if in.OOM == nil {
		return
	}
	if victims := in.OOM.Logged; len(victims) > 0 {
		n.Doubt(schema.CodeOOMKilled, schema.Error,
			fmt.Sprintf("the kernel killed %s of the command for lack of memory, as its log shows: %s", processes(int64(len(victims))), strings.Join(victims[:min(len(victims), maxVictims)], ", ")),
			&schema.Evidence{Field: "host", Value: len(victims), Threshold: 0})
		return
	}
	if in.OOM.Kills <= 0 {
		return
	}
	run := in.Event.Run
	failed := run.Signal != nil || run.ExitCode != nil && *run.ExitCode != 0 || in.Died
	if in.OOM.Shared && !failed {
		return
	}
	n.Doubt(schema.CodeOOMKilled, schema.Error,
		fmt.Sprintf("the kernel killed %s in the command's cgroup for lack of memory", processes(in.OOM.Kills)),
		&schema.Evidence{Field: "host", Value: in.OOM.Kills, Threshold: 0})
}

// processes returns a number of processes in words.
func processes(n int64) string {
	if n == 1 {
		return "a process"
	}
	return fmt.Sprintf("%d processes", n)
}

// profiled notes that a profiler was on.
func profiled(in Input, n *schema.Notes) {
	if in.Profiler != "" {
		n.Doubt(schema.CodeProfiled, schema.Warning,
			fmt.Sprintf("the command line starts a profiler (%s), which slows the engine down", in.Profiler),
			&schema.Evidence{Field: "run.command", Value: in.Profiler})
	}
	if len(in.Engines.Profiled) > 0 {
		n.Doubt(schema.CodeProfiled, schema.Warning,
			fmt.Sprintf("a profiler was started through the API (/start_profile) at %s, which slows the engine down", strings.Join(in.Engines.Profiled, ", ")), nil)
	}
}
