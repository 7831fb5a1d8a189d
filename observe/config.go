package observe

import (
	"context"
	"fmt"
	"time"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/deliver"
	"github.com/vobs/vobs/internal/intent"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/seriesfile"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/schema"
)

// Config is what to run and how to observe it.
type Config struct {
	// Args is the command and its arguments, which are passed on unchanged.
	Args []string
	// RunID identifies the run.
	RunID string
	// Command is how much of command lines the event shows; "" means all but secrets.
	Command redact.CommandMode
	// Labels are copied into the event.
	Labels map[string]string
	// Intents are the intended engine settings of --intend and --intend-file. They take
	// precedence over those in the command line.
	Intents intent.Intents
	// View is the form in which the event is written.
	View schema.View
	// Output is where the event is written.
	Output *deliver.Output
	// Ingest is the file with the result of a load generator, which the command writes; "" if
	// there is none.
	Ingest string
	// Series is the file for every reading; nil if there is none.
	Series *seriesfile.File
	// Forward selects the signals that are passed on to the command.
	Forward child.ForwardMode
	// Devices overrides CUDA_VISIBLE_DEVICES.
	Devices []string
	// Interval is the time between two readings of GPU memory; 0 adapts it to the budget.
	Interval time.Duration
	// Targets are the metrics addresses given by the user.
	Targets []scrape.Target
	// Probe configures how engines are scraped.
	Probe probe.Config
	// DevMode makes a vLLM server that the command starts serve its configuration.
	DevMode bool
	// Instrument loads a plugin into the command's vLLM, which reports what no metrics
	// page has.
	Instrument bool
	// Multiproc decides whether the command gets a directory for its engine's metrics.
	// With Keep the directory is not removed.
	Multiproc Multiproc
	Keep      bool
	// KillLeftovers ends descendants that outlive the command.
	KillLeftovers bool
	// Strict refuses to start the command unless NVML and every target respond.
	Strict bool
	// Version is the version of this vobs.
	Version string
	// ProcRoot and CgroupRoot replace /proc and the mount points of the cgroups, for
	// fixtures.
	ProcRoot, CgroupRoot string
	// Warn receives one-line warnings for the user, Debug the lines of -v.
	Warn, Debug func(message string)
	// StartFailed receives the reason if the command cannot be started.
	StartFailed func(error)
	// Finished, if set, receives the event after its delivery.
	Finished func(*schema.GenerationObservability)
	// Upload, if set, receives the event last of all and may take its time. The context
	// ends when the user wants vobs to end (TERM, or a second Ctrl-C).
	Upload func(context.Context, *schema.GenerationObservability)
}

// Multiproc decides whether the command's processes get a directory for their metrics
// ([vllm.MultiprocDirVariable]). Without one, an engine that has no port, as in `vllm
// bench throughput` or in a script, leaves no metrics behind.
type Multiproc string

// The modes of --multiproc.
const (
	// MultiprocAuto makes a directory for `vllm bench throughput` and `vllm bench
	// latency`, which record their statistics and have no port.
	MultiprocAuto Multiproc = "auto"
	// MultiprocOn makes a directory for every command.
	MultiprocOn Multiproc = "on"
	// MultiprocOff makes no directory and reads none.
	MultiprocOff Multiproc = "off"
)

// ParseMultiproc reads the name of a mode.
func ParseMultiproc(s string) (Multiproc, error) {
	switch m := Multiproc(s); m {
	case MultiprocAuto, MultiprocOn, MultiprocOff:
		return m, nil
	}
	return "", fmt.Errorf("unknown value %q: use auto, on or off", s)
}
