package observe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/child"
	"github.com/vobs/vobs/internal/diagnose"
	"github.com/vobs/vobs/observe/validity"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// timeLayout is RFC 3339 with milliseconds; the event's times are UTC.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// sharedNotes are the event's notes, to which several goroutines add.
type sharedNotes struct {
	mu  sync.Mutex
	all schema.Notes
}

func (n *sharedNotes) missing(field, reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all.Missing(field, reason)
}

// update calls f with the notes, which f may add to.
func (n *sharedNotes) update(f func(*schema.Notes)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.all)
}

func (n *sharedNotes) add(notes schema.Notes) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all.Add(notes)
}

// copy returns the notes so far. They belong to the caller.
func (n *sharedNotes) copy() schema.Notes {
	n.mu.Lock()
	defer n.mu.Unlock()
	return schema.Notes{Unavailable: slices.Clone(n.all.Unavailable), Validity: slices.Clone(n.all.Validity)}
}

// assemble returns the event; notes becomes part of it. It does not change the run,
// because partial events are assembled while the command runs.
func (r *run) assemble(about schema.Run, got readings, notes schema.Notes) *schema.GenerationObservability {
	e := newEvent(about, &got.engine)
	e.PeakVRAMGB, e.LoadavgPre, e.LoadavgPost = got.gpus.PeakVRAMGB, r.loadPre, got.loadPost
	e.Host, e.GPUs = &got.host, got.gpus.GPUs
	e.Client = got.client
	r.compareIntents(e, &got.engine, &notes)
	if e.Omni == nil { // this counts only after a panic: otherwise the prober has given its reason
		notes.Missing("omni", "the engine was not read")
	}
	r.metricsDir.explain(&notes)
	e.Series = series(slices.Concat(got.gpus.Curves, got.engine.Curves, got.hostCurves), seconds(about.DurationSeconds))
	if e.Series == nil {
		notes.Missing("series", whyNoSeries(&about))
	}
	if e.Client != nil {
		e.Client.EngineDifferenceSeconds = clientDifference(e.Client, e.Engine, &notes)
	}
	e.Efficiency = efficiency(e, &got.engine, &notes)
	e.Overhead = overhead(&notes)
	validity.Check(r.conditions(e, got, notes), &notes)
	e.Validity = notes.Validity
	if e.Diagnosis = diagnose.Diagnose(e, diagnose.Options{}); e.Diagnosis == nil {
		notes.Missing("diagnosis", "no engine was read")
	}
	e.Unavailable = notes.Unavailable
	r.redact(e)
	return e
}

// conditions returns what the rules about a whole event look at.
func (r *run) conditions(e *schema.GenerationObservability, got readings, notes schema.Notes) validity.Input {
	in := validity.Input{
		Event:   e,
		Died:    engineDied(notes),
		Engines: engineConditions(got.engine.Conditions),
		CPU:     got.cpu, OOM: got.oom, ClockJump: got.clockJump,
		Profiler: profilerIn(r.line),
	}
	for _, t := range got.gpus.Throttling {
		in.Throttling = append(in.Throttling, validity.Throttling(t))
	}
	return in
}

// redact removes secrets from the notes and from the settings that the engine reports: the
// name of a model or of a method can be any text. The maps of settings belong to this event.
func (r *run) redact(e *schema.GenerationObservability) {
	for i := range e.Unavailable {
		e.Unavailable[i].Reason = r.redactor.Text(e.Unavailable[i].Reason)
	}
	for i := range e.Validity {
		e.Validity[i].Message = r.redactor.Text(e.Validity[i].Message)
	}
	for _, text := range []**string{&e.EngineRuntimeConfig.KVCacheDtype, &e.EngineRuntimeConfig.SpeculativeMethod} {
		if *text != nil {
			*text = schema.Ptr(r.redactor.Text(**text))
		}
	}
	r.redactClient(e.Client)
	if e.Engine == nil || e.Engine.Config == nil {
		return
	}
	for name, value := range e.Engine.Config.Values {
		if text, ok := value.(string); ok {
			e.Engine.Config.Values[name] = r.redactor.Text(text)
		}
	}
}

// identity returns what is known of any run, started or not.
func (r *run) identity() schema.Run {
	about := schema.Run{
		ID:          r.cfg.RunID,
		Command:     r.command(),
		Labels:      map[string]string{},
		StartedAt:   r.startedAt.UTC().Format(timeLayout),
		VobsVersion: r.cfg.Version,
	}
	for name, value := range r.cfg.Labels {
		about.Labels[r.redactor.Text(name)] = r.redactor.Value(name, value)
	}
	if name, err := os.Hostname(); err == nil {
		about.Hostname = name
	}
	return about
}

// ended describes a run whose command has ended.
func (r *run) ended(exit child.Exit, leftovers []schema.Leftover) schema.Run {
	about := r.identity()
	about.EndedAt = r.wallTime(exit.Ended)
	about.DurationSeconds = schema.Float(exit.Ended.Sub(r.startedAt).Seconds())
	about.CoreDumped = exit.CoreDumped
	about.Interrupted = exit.Interrupted
	about.Leftovers = leftovers
	if exit.Signal != 0 {
		about.Signal = schema.Ptr(signalName(exit))
	} else {
		about.ExitCode = &exit.Code
	}
	return about
}

// unstarted describes a run whose command could not be started.
func (r *run) unstarted(ended time.Time, start *child.StartError) schema.Run {
	about := r.identity()
	about.EndedAt = r.wallTime(ended)
	about.StartError = schema.Ptr(r.startErrorInEvent(start))
	return about
}

// wallTime formats a time after the start: the wall clock at the start plus what the
// monotonic clock counted since, so that the two stay consistent if the clock is set.
func (r *run) wallTime(at time.Time) *string {
	return schema.Ptr(r.startedAt.Add(at.Sub(r.startedAt)).UTC().Format(timeLayout))
}

func signalName(exit child.Exit) string {
	if name := unix.SignalName(exit.Signal); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", int(exit.Signal)) // a real-time signal
}

// overhead returns what this process has cost so far.
func overhead(notes *schema.Notes) *schema.Overhead {
	cpu, err := budget.CPU()
	if err != nil {
		notes.Missing("overhead", err.Error())
		return nil
	}
	o := &schema.Overhead{CPUSeconds: schema.Float(cpu.Seconds())}
	peak, err := peakRSS()
	if err == nil {
		o.MaxRSSBytes = &peak
	} else {
		notes.Missing("overhead.max_rss_bytes", err.Error())
	}
	return o
}

// statusTimeout is how long reading the status of this process may take.
const statusTimeout = 200 * time.Millisecond

// peakRSS reads VmHWM of /proc/self/status, the peak since this program was loaded.
// getrusage's ru_maxrss starts at the peak of the process that started vobs, because
// execve keeps it.
func peakRSS() (bytes int64, err error) {
	status, err := bounded.ReadFile("/proc/self/status", statusTimeout)
	if err != nil {
		return 0, err
	}
	value, _ := proc.StatusField(status, "VmHWM")
	var kib int64
	if _, err := fmt.Sscanf(string(value), "%d kB", &kib); err != nil {
		return 0, errors.New("/proc/self/status has no VmHWM")
	}
	return kib << 10, nil
}
