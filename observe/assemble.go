package observe

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/schema"
)

// timeLayout is RFC 3339 with milliseconds; the event's times are UTC.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// notBuilt says that a group belongs to a later version of vobs.
const notBuilt = "this version of vobs does not have it yet"

// assemble puts the event together.
func (b *bracket) assemble(exit child.Exit, start *child.StartError, c collected) *schema.GenerationObservability {
	e := &schema.GenerationObservability{
		Core: schema.Core{
			PeakVRAMGB:          c.gpus.PeakVRAMGB,
			KVCacheUsagePerc:    c.engine.KVCacheUsagePerc,
			PrefixCacheHitRate:  c.engine.PrefixCacheHitRate,
			SpecAcceptRate:      c.engine.SpecAcceptRate,
			LoadavgPre:          b.loadPre,
			LoadavgPost:         b.loadPost,
			EngineRuntimeConfig: c.engine.EngineRuntimeConfig,
		},
		SchemaVersion: schema.Version,
		Run:           b.run(exit, start, c.leftovers),
		Host:          &c.host,
		GPUs:          c.gpus.GPUs,
		Engine:        c.engine.Engine,
	}
	b.missing("flag_mismatches", notBuilt+": intended and effective settings are not compared")
	b.missing("flags_checked", notBuilt+": intended and effective settings are not compared")
	b.missing("flags_unchecked", notBuilt+": intended and effective settings are not compared")
	b.missing("omni", notBuilt+": vllm-omni's families are not read")
	b.missing("efficiency", notBuilt+": energy and tokens are not joined")
	e.Overhead = b.overhead()
	e.Validity = b.notes.Validity
	e.Unavailable = b.notes.Unavailable
	for i := range e.Unavailable {
		e.Unavailable[i].Reason = b.redactor.text(e.Unavailable[i].Reason)
	}
	for i := range e.Validity {
		e.Validity[i].Message = b.redactor.text(e.Validity[i].Message)
	}
	return e
}

func (b *bracket) run(exit child.Exit, start *child.StartError, leftovers []schema.Leftover) schema.Run {
	r := schema.Run{
		ID:              b.cfg.RunID,
		Command:         b.redactor.command(b.cfg.Args),
		Labels:          map[string]string{},
		StartedAt:       b.startedAt.UTC().Format(timeLayout),
		EndedAt:         schema.Ptr(exit.Ended.UTC().Format(timeLayout)),
		DurationSeconds: schema.Float(exit.Ended.Sub(b.startedAt).Seconds()),
		CoreDumped:      exit.CoreDumped,
		Interrupted:     exit.Interrupted,
		Leftovers:       leftovers,
		VobsVersion:     b.cfg.Version,
	}
	for name, value := range b.cfg.Labels {
		r.Labels[b.redactor.text(name)] = b.redactor.text(value)
	}
	switch {
	case start != nil:
		r.StartError = schema.Ptr(b.redactor.startError(start, b.cfg.Args[0]))
		r.DurationSeconds = 0
	case exit.Signal != 0:
		r.Signal = schema.Ptr(signalName(exit))
	default:
		r.ExitCode = &exit.Code
	}
	if name, err := os.Hostname(); err == nil {
		r.Hostname = name
	}
	return r
}

func signalName(exit child.Exit) string {
	if name := unix.SignalName(exit.Signal); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", int(exit.Signal)) // a real-time signal
}

// overhead is what this process has cost so far.
func (b *bracket) overhead() *schema.Overhead {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		b.missing("overhead", fmt.Sprintf("getrusage: %v", err))
		return nil
	}
	cpu := time.Duration(use.Utime.Nano() + use.Stime.Nano())
	o := &schema.Overhead{CPUSeconds: schema.Float(cpu.Seconds())}
	if peak, ok := peakRSS(); ok {
		o.MaxRSSBytes = &peak
	} else {
		b.missing("overhead.max_rss_bytes", "/proc/self/status has no VmHWM")
	}
	return o
}

// peakRSS reads VmHWM of /proc/self/status: the peak since this program was
// loaded. getrusage's ru_maxrss would begin at the peak of the process that
// started vobs (execve keeps it), which may be a large one.
func peakRSS() (bytes int64, ok bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			var kib int64
			if _, err := fmt.Sscanf(rest, "%d kB", &kib); err == nil {
				return kib << 10, true
			}
		}
	}
	return 0, false
}

// line makes one text of a process's command line, redacted; its name where it has none.
func (r *redactor) line(args []string, name string) string {
	if len(args) == 0 {
		return r.text(name)
	}
	return strings.Join(r.command(args), " ")
}
