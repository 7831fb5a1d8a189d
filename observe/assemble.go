package observe

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/schema"
)

// timeLayout is RFC 3339 with milliseconds; the event's times are UTC.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// notBuilt says that a group belongs to a later version of vobs.
const notBuilt = "this version of vobs does not have it yet"

// assemble puts the event together. It does not change the bracket: a preliminary
// event is assembled while the command runs.
func (b *bracket) assemble(run schema.Run, c collected, notes schema.Notes) *schema.GenerationObservability {
	notes = schema.Notes{Unavailable: slices.Clone(notes.Unavailable), Validity: slices.Clone(notes.Validity)}
	e := &schema.GenerationObservability{
		Core: schema.Core{
			PeakVRAMGB:          c.gpus.PeakVRAMGB,
			KVCacheUsagePerc:    c.engine.KVCacheUsagePerc,
			PrefixCacheHitRate:  c.engine.PrefixCacheHitRate,
			SpecAcceptRate:      c.engine.SpecAcceptRate,
			LoadavgPre:          b.loadPre,
			LoadavgPost:         c.loadPost,
			EngineRuntimeConfig: c.engine.EngineRuntimeConfig,
		},
		SchemaVersion: schema.Version,
		Run:           run,
		Host:          &c.host,
		GPUs:          c.gpus.GPUs,
		Engine:        c.engine.Engine,
		Omni:          c.engine.Omni,
	}
	b.compareIntents(e, c.engine.Off, &notes)
	if e.Omni == nil { // where reading broke: the reader has given its reason else
		notes.Missing("omni", "the engine was not read")
	}
	notes.Missing("efficiency", notBuilt+": energy and tokens are not joined")
	e.Overhead = overhead(&notes)
	e.Validity = notes.Validity
	e.Unavailable = notes.Unavailable
	for i := range e.Unavailable {
		e.Unavailable[i].Reason = b.redactor.Text(e.Unavailable[i].Reason)
	}
	for i := range e.Validity {
		e.Validity[i].Message = b.redactor.Text(e.Validity[i].Message)
	}
	b.redactSettings(e)
	return e
}

// redactSettings takes secrets out of what an engine says of itself: a model's or a
// method's name is any text. They belong to this report alone.
func (b *bracket) redactSettings(e *schema.GenerationObservability) {
	for _, text := range []**string{&e.EngineRuntimeConfig.KVCacheDtype, &e.EngineRuntimeConfig.SpeculativeMethod} {
		if *text != nil {
			*text = schema.Ptr(b.redactor.Text(**text))
		}
	}
	if e.Engine == nil || e.Engine.Config == nil {
		return
	}
	for name, value := range e.Engine.Config.Values {
		if text, ok := value.(string); ok {
			e.Engine.Config.Values[name] = b.redactor.Text(text)
		}
	}
}

// identity is what the event tells of any run, however far it came.
func (b *bracket) identity() schema.Run {
	r := schema.Run{
		ID:          b.cfg.RunID,
		Command:     b.redactor.Command(b.cfg.Args),
		Labels:      map[string]string{},
		StartedAt:   b.startedAt.UTC().Format(timeLayout),
		VobsVersion: b.cfg.Version,
	}
	for name, value := range b.cfg.Labels {
		r.Labels[b.redactor.Text(name)] = b.redactor.Text(value)
	}
	if name, err := os.Hostname(); err == nil {
		r.Hostname = name
	}
	return r
}

// ended tells how the command ended.
func (b *bracket) ended(exit child.Exit, leftovers []schema.Leftover) schema.Run {
	r := b.identity()
	r.EndedAt = b.wallTime(exit.Ended)
	r.DurationSeconds = schema.Float(exit.Ended.Sub(b.startedAt).Seconds())
	r.CoreDumped = exit.CoreDumped
	r.Interrupted = exit.Interrupted
	r.Leftovers = leftovers
	if exit.Signal != 0 {
		r.Signal = schema.Ptr(signalName(exit))
	} else {
		r.ExitCode = &exit.Code
	}
	return r
}

// unstarted tells why the command was not started.
func (b *bracket) unstarted(ended time.Time, start *child.StartError) schema.Run {
	r := b.identity()
	r.EndedAt = b.wallTime(ended)
	r.StartError = schema.Ptr(startErrorText(b.redactor, start, b.cfg.Args[0]))
	return r
}

// wallTime is the time of a moment after the start, by the clock as it was read
// then and what the monotonic clock counted since: a clock that jumps does not
// tear the two apart.
func (b *bracket) wallTime(at time.Time) *string {
	return schema.Ptr(b.startedAt.Add(at.Sub(b.startedAt)).UTC().Format(timeLayout))
}

func signalName(exit child.Exit) string {
	if name := unix.SignalName(exit.Signal); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", int(exit.Signal)) // a real-time signal
}

// overhead is what this process has cost so far.
func overhead(notes *schema.Notes) *schema.Overhead {
	cpu, err := budget.CPU()
	if err != nil {
		notes.Missing("overhead", err.Error())
		return nil
	}
	o := &schema.Overhead{CPUSeconds: schema.Float(cpu.Seconds())}
	if peak, ok := peakRSS(); ok {
		o.MaxRSSBytes = &peak
	} else {
		notes.Missing("overhead.max_rss_bytes", "/proc/self/status has no VmHWM")
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
