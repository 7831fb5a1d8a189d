package render

import (
	"strconv"

	"github.com/vobs/vobs/schema"
)

// Ending describes how the command of a run ended: "exit code 1", "killed by SIGTERM", "not
// started", or "ended" if neither is known.
func Ending(r schema.Run) string {
	switch {
	case r.StartError != nil:
		return "not started"
	case r.Signal != nil:
		return "killed by " + *r.Signal
	case r.ExitCode != nil:
		return "exit code " + strconv.Itoa(*r.ExitCode)
	}
	return "ended"
}
