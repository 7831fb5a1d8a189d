package observe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/vobs/vobs/internal/privatedir"
	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/internal/vllm/plugin"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/schema"
)

// maxListedProblems bounds the problems in one validity note.
const maxListedProblems = 8

// introspection is --instrument: the plugin in the engine's processes, and what it has
// reported. Without --instrument it does nothing.
type introspection struct {
	enabled bool
	folder  plugin.Folder
	failed  string // why the command did not get the plugin; "" if it did
	inUse   bool   // processes of the command may still load the plugin

	mu     sync.Mutex // guards report, which partial events read, too
	report plugin.Report
}

// newIntrospection writes the plugin to a folder of its own. elsewhere is why the command may
// not find a folder; "" if it will.
func newIntrospection(enabled bool, elsewhere string, warn func(string)) *introspection {
	in := &introspection{enabled: enabled}
	if !enabled {
		return in
	}
	var err error
	if elsewhere != "" {
		in.failed = "the command does not get the plugin: " + elsewhere
	} else if in.folder, err = makePlugin(); err != nil {
		in.failed = err.Error()
	}
	if in.failed != "" {
		warn("--instrument: " + in.failed)
	}
	return in
}

// makePlugin writes the plugin to a new private folder.
func makePlugin() (plugin.Folder, error) {
	dir, err := privatedir.Make("vobs-instrument-", false)
	if err != nil {
		return plugin.Folder{}, fmt.Errorf("making a folder for the plugin: %w: set TMPDIR to a directory that only you can write to", err)
	}
	folder, err := plugin.Write(dir)
	if err != nil {
		_ = privatedir.Remove(dir) // nothing uses it yet
	}
	return folder, err
}

// environ adds to the command's environment what makes vLLM load the plugin. With stats, the
// plugin switches on the statistics that a script's LLM() leaves off; without a metrics
// directory nothing would read them.
func (in *introspection) environ(env []string, stats bool) []string {
	if !in.enabled || in.failed != "" {
		return env
	}
	return in.folder.Environ(env, stats)
}

// remove removes the plugin's folder unless it is in use.
func (in *introspection) remove(warn func(string)) {
	if in.folder.Dir == "" || in.inUse {
		return
	}
	if err := privatedir.Remove(in.folder.Dir); err != nil {
		warn(fmt.Sprintf("removing the folder of --instrument: %v", err))
	}
}

// readPlugin reads what the plugin has reported so far, and returns it for the prober.
func (in *introspection) readPlugin() aggregate.Introspection {
	var report plugin.Report
	if in.failed == "" {
		report = in.folder.Read()
	}
	in.mu.Lock()
	in.report = report
	in.mu.Unlock()
	return in.toProbe()
}

func (in *introspection) processes() []plugin.Process {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.report.Processes
}

// toProbe converts the report for the prober.
func (in *introspection) toProbe() aggregate.Introspection {
	out := aggregate.Introspection{Enabled: true}
	ready := false
	for _, p := range in.processes() {
		ready = ready || slices.ContainsFunc(p.Cores, plugin.Core.Ready)
	}
	var versions, unreadable []string
	for _, p := range in.processes() {
		if p.VLLM != "" {
			versions = append(versions, p.VLLM)
		}
		out.DataParallelSizes = append(out.DataParallelSizes, p.DataParallelSizes...)
		if p.Worker != nil && len(p.Worker.AttentionBackends) > 0 {
			out.Backends = append(out.Backends, p.Worker.AttentionBackends)
		}
		for _, c := range p.Cores {
			if ready && !c.Ready() {
				continue // it never became ready, but others did
			}
			values, err := config.FromCore(c.Config, c.Live)
			if err != nil {
				unreadable = append(unreadable, fmt.Sprintf("the configuration reported by process %d cannot be read", p.PID))
				continue
			}
			out.Cores = append(out.Cores, aggregate.CoreConfig{Index: c.Index, Values: values})
		}
	}
	if versions = slices.Compact(slices.Sorted(slices.Values(versions))); len(versions) == 1 {
		out.Version = versions[0]
	}
	if len(out.Cores) == 0 {
		out.Reason = in.whyNoCores(unreadable)
	}
	return out
}

// notLoaded is the reason if no process of the command loaded the plugin.
const notLoaded = "no process of the command loaded vobs's plugin: vLLM 0.8 and later do so if PYTHONPATH reaches them (not through sudo, into a container, or with python -I or -E)"

// whyNoCores returns why no engine core reported its configuration.
func (in *introspection) whyNoCores(unreadable []string) string {
	problems := in.problems()
	switch {
	case in.failed != "":
		return in.failed
	case len(unreadable) > 0:
		return unreadable[0]
	case len(in.processes()) == 0 && len(problems) > 0:
		return problems[0]
	case len(in.processes()) == 0:
		return notLoaded
	case len(problems) > 0:
		return "no engine core reported its configuration: " + strings.Join(problems, "; ")
	}
	return "no engine core of the command started"
}

// problems lists what the plugin did not find in vLLM, what failed in it, and which reports
// cannot be read; each once, however many processes have it.
func (in *introspection) problems() (out []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, problem := range in.report.Problems {
		out = append(out, "a report cannot be read: "+problem)
	}
	found := map[string]bool{}
	for _, p := range in.report.Processes {
		for _, h := range p.Hooks {
			found[h.Name] = found[h.Name] || h.State == plugin.Found
		}
	}
	for _, p := range in.report.Processes {
		for _, h := range p.Hooks {
			switch {
			case h.State == plugin.Failed:
				out = append(out, fmt.Sprintf("%s failed (%s)", h.Name, h.Error))
			case h.State == plugin.Missing && !found[h.Name]:
				out = append(out, fmt.Sprintf("this vLLM has no %s (%s)", h.Name, h.Error))
			}
		}
		for _, c := range p.Cores {
			for _, name := range c.Missing {
				out = append(out, "this vLLM has no "+name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// notes returns a doubt if the plugin has not done everything.
func (in *introspection) notes(redactor *redact.Redactor, debug func(string)) (notes schema.Notes) {
	if !in.enabled {
		return notes
	}
	for _, p := range in.processes() {
		for _, h := range p.Hooks {
			debug(redactor.Text(fmt.Sprintf("--instrument: process %d: %s: %s %s", p.PID, h.Name, h.State, h.Error)))
		}
		if p.StatsForced > 0 {
			debug(fmt.Sprintf("--instrument: process %d: switched on its engine's statistics", p.PID))
		}
	}
	problems := in.problems()
	switch {
	case in.failed != "":
		problems = []string{in.failed}
	case len(problems) == 0 && len(in.processes()) == 0:
		problems = []string{notLoaded}
	case len(problems) > maxListedProblems:
		problems = append(problems[:maxListedProblems], fmt.Sprintf("and %d more", len(problems)-maxListedProblems))
	}
	if len(problems) > 0 {
		notes.Doubt(schema.CodeInstrumentIncomplete, schema.Warning, "--instrument is incomplete: "+strings.Join(problems, "; "), nil)
	}
	return notes
}

// addTorch adds to each device the peaks of torch's allocator that workers reported for it.
func (in *introspection) addTorch(r *gpu.Readings) {
	if !in.enabled || len(r.GPUs) == 0 {
		return // the sampler's reason is that it needs --instrument
	}
	torch, why := in.torchByDevice(r)
	r.GPUs = slices.Clone(r.GPUs) // the sampler's own
	r.Notes.Unavailable = slices.DeleteFunc(slices.Clone(r.Notes.Unavailable), func(u schema.Unavailable) bool {
		return strings.HasPrefix(u.Field, "gpus.") && strings.HasSuffix(u.Field, ".torch")
	})
	for i := range r.GPUs {
		if r.GPUs[i].Torch = torch[i]; torch[i] == nil {
			r.Notes.Missing(fmt.Sprintf("gpus.%d.torch", i), why)
		}
	}
}

// torchByDevice returns the peaks of the workers by device. A device that no worker used
// has an empty list if all workers are accounted for; otherwise it has nil, and why is the reason.
func (in *introspection) torchByDevice(r *gpu.Readings) (byDevice [][]schema.TorchMemory, why string) {
	byDevice = make([][]schema.TorchMemory, len(r.GPUs))
	var workers, withCUDA, placed int
	var unplaced []string
	for _, p := range in.processes() {
		if p.Worker == nil {
			continue
		}
		workers++
		if p.Worker.CUDA == "initialized" {
			withCUDA++
		}
		for _, d := range p.Worker.Devices {
			i := deviceOf(r, p.PID, d.UUID)
			switch {
			case p.Worker.Rank == nil:
				unplaced = append(unplaced, fmt.Sprintf("the rank of the worker in process %d is unknown", p.PID))
			case i < 0:
				unplaced = append(unplaced, fmt.Sprintf("the device %s of the worker in process %d is not one of those sampled, or cannot be matched with one", strings.TrimSpace(fmt.Sprint(d.Index, " ", d.UUID)), p.PID))
			default:
				placed++
				byDevice[i] = append(byDevice[i], schema.TorchMemory{Rank: *p.Worker.Rank, PID: p.PID, MaxAllocatedBytes: &d.MaxAllocatedBytes, MaxReservedBytes: &d.MaxReservedBytes})
			}
		}
	}
	for i := range byDevice {
		slices.SortFunc(byDevice[i], func(a, b schema.TorchMemory) int {
			return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.PID, b.PID))
		})
		if byDevice[i] == nil && placed > 0 && len(unplaced) == 0 {
			byDevice[i] = []schema.TorchMemory{}
		}
	}
	switch problems := in.problems(); {
	case in.failed != "":
		why = in.failed
	case len(unplaced) > 0:
		why = strings.Join(unplaced, "; ")
	case len(in.processes()) == 0 && len(problems) == 0:
		why = notLoaded
	case len(problems) > 0:
		why = "no worker reported its memory: " + strings.Join(problems, "; ")
	case workers == 0:
		why = "no worker of the command started"
	case withCUDA == 0:
		why = "torch did not use CUDA in the command's workers"
	default:
		why = "torch allocated no memory in the command's workers"
	}
	return byDevice, why
}

// deviceOf returns the index of a worker's device, or -1: the one with its UUID, which torch
// writes without NVML's prefix; without a match, the one device for which the driver
// listed the process.
func deviceOf(r *gpu.Readings, pid int, uuid string) int {
	if uuid != "" {
		for i, g := range r.GPUs {
			if _, bare, _ := strings.Cut(g.UUID, "-"); g.UUID == uuid || bare == uuid {
				return i
			}
		}
	}
	found := -1
	for i := range r.PIDs {
		if !r.PIDs[i][pid] {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}
