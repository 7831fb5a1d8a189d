package observe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/vobs/vobs/internal/vllm/config"
	"github.com/vobs/vobs/internal/vllm/plugin"
	"github.com/vobs/vobs/probe/aggregate"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/schema"
)

// inside is the plugin in the engine's processes, and what it told.
type inside struct {
	folder plugin.Folder
	// failed says why the command was not given the plugin; "" where it was.
	failed string

	mu     sync.Mutex // guards what follows: a preliminary event hears it too
	report plugin.Report
}

// prepareInstrument writes the plugin down.
func (b *bracket) prepareInstrument() {
	if !b.cfg.Instrument {
		return
	}
	b.inside = &inside{}
	var err error
	if b.inside.folder, err = plugin.Make(); err != nil {
		b.inside.failed = fmt.Sprintf("%v: set TMPDIR to a folder that can be written", err)
		b.cfg.Warn(b.inside.failed)
	}
}

// instrumentEnv adds to the command's environment what leads vLLM to the plugin. The
// statistics that a script's LLM() leaves off are switched on where they have a
// directory to go to that the command was given for them: nobody would read them else.
func (b *bracket) instrumentEnv(env []string) []string {
	if b.inside == nil || b.inside.failed != "" {
		return env
	}
	return b.inside.folder.Environ(env, b.filesDir != "" || b.cfg.Multiproc == MultiprocOn)
}

func (b *bracket) removeInstrument() {
	if b.inside == nil || b.inside.folder.Dir == "" {
		return
	}
	if err := b.inside.folder.Remove(); err != nil {
		b.cfg.Warn(fmt.Sprintf("the folder of --instrument could not be removed: %v", err))
	}
}

// hearInstrument reads what the engine's processes have told so far, and tells the
// prober.
func (b *bracket) hearInstrument() {
	if b.inside == nil {
		return
	}
	var report plugin.Report
	if b.inside.failed == "" {
		report = b.inside.folder.Read()
	}
	b.inside.mu.Lock()
	b.inside.report = report
	b.inside.mu.Unlock()
	b.prober.SetIntrospection(b.inside.word())
}

func (in *inside) processes() []plugin.Process {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.report.Processes
}

// word is what the engines told, for the prober.
func (in *inside) word() aggregate.Introspection {
	w := aggregate.Introspection{Enabled: true}
	ready := false
	for _, p := range in.processes() {
		ready = ready || slices.ContainsFunc(p.Cores, plugin.Core.Ready)
	}
	var versions, unread []string
	for _, p := range in.processes() {
		if p.VLLM != "" {
			versions = append(versions, p.VLLM)
		}
		w.DataParallelSizes = append(w.DataParallelSizes, p.DataParallelSizes...)
		if p.Worker != nil && len(p.Worker.AttentionBackends) > 0 {
			w.Backends = append(w.Backends, p.Worker.AttentionBackends)
		}
		for _, c := range p.Cores {
			if ready && !c.Ready() {
				continue // it never came up; others did
			}
			values, err := config.FromCore(c.Config, c.Live)
			if err != nil {
				unread = append(unread, fmt.Sprintf("the configuration that process %d told cannot be read", p.PID))
				continue
			}
			w.Cores = append(w.Cores, aggregate.CoreConfig{Index: c.Index, Values: values})
		}
	}
	if versions = slices.Compact(slices.Sorted(slices.Values(versions))); len(versions) == 1 {
		w.Version = versions[0]
	}
	if len(w.Cores) == 0 {
		w.Reason = in.silence(unread)
	}
	return w
}

// notLoaded is why no process of the command told anything.
const notLoaded = "no process of the command loaded its plugin: vLLM does that, from 0.8 on, where PYTHONPATH reaches it (not through sudo, into a container, or with python -I or -E)"

// silence says why no engine core told its configuration.
func (in *inside) silence(unread []string) string {
	incomplete := in.incomplete()
	switch {
	case in.failed != "":
		return in.failed
	case len(unread) > 0:
		return unread[0]
	case len(in.processes()) == 0 && len(incomplete) > 0:
		return incomplete[0]
	case len(in.processes()) == 0:
		return notLoaded
	case len(incomplete) > 0:
		return "no engine core told its configuration: " + strings.Join(incomplete, "; ")
	}
	return "no engine core of the command came up"
}

// incomplete lists what the plugin did not find, what failed in it, and what it left
// that cannot be read; each once, whichever process it was in.
func (in *inside) incomplete() (out []string) {
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

// instrumentNotes tells where the plugin has not done all that it is for.
func (b *bracket) instrumentNotes() (notes schema.Notes) {
	if b.inside == nil {
		return notes
	}
	for _, p := range b.inside.processes() {
		for _, h := range p.Hooks {
			b.cfg.Debug(b.redactor.Text(fmt.Sprintf("--instrument: process %d: %s: %s %s", p.PID, h.Name, h.State, h.Error)))
		}
		if p.StatsForced > 0 {
			b.cfg.Debug(fmt.Sprintf("--instrument: process %d: its engine's statistics were off, and were switched on", p.PID))
		}
	}
	const most = 8
	what := b.inside.incomplete()
	switch {
	case b.inside.failed != "":
		what = []string{b.inside.failed}
	case len(what) == 0 && len(b.inside.processes()) == 0:
		what = []string{notLoaded}
	case len(what) > most:
		what = append(what[:most], fmt.Sprintf("and %d more", len(what)-most))
	}
	if len(what) > 0 {
		notes.Doubt(schema.CodeInstrumentIncomplete, schema.Warning, "--instrument could not do all that it is for: "+strings.Join(what, "; "), nil)
	}
	return notes
}

// joinTorch gives each device the peaks of torch's allocator that workers told of it.
func (b *bracket) joinTorch(r *gpu.Readings) {
	if b.inside == nil || len(r.GPUs) == 0 {
		return // the sampler has said that it needs --instrument
	}
	torch, why := b.inside.torch(r)
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

// torch sorts the workers' peaks by device. A device without any has an empty list where
// all workers are accounted for, and nil else: why says why.
func (in *inside) torch(r *gpu.Readings) (byDevice [][]schema.TorchMemory, why string) {
	byDevice = make([][]schema.TorchMemory, len(r.GPUs))
	var workers, withCUDA, placed int
	var lost []string
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
				lost = append(lost, fmt.Sprintf("the rank of the worker in process %d is not known", p.PID))
			case i < 0:
				lost = append(lost, fmt.Sprintf("the device %s of the worker in process %d is none of those sampled, or cannot be matched with one", strings.TrimSpace(fmt.Sprint(d.Index, " ", d.UUID)), p.PID))
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
		if byDevice[i] == nil && placed > 0 && len(lost) == 0 {
			byDevice[i] = []schema.TorchMemory{}
		}
	}
	switch incomplete := in.incomplete(); {
	case in.failed != "":
		why = in.failed
	case len(lost) > 0:
		why = strings.Join(lost, "; ")
	case len(in.processes()) == 0 && len(incomplete) == 0:
		why = notLoaded
	case len(incomplete) > 0:
		why = "no worker told of its memory: " + strings.Join(incomplete, "; ")
	case workers == 0:
		why = "no worker of the command came up"
	case withCUDA == 0:
		why = "torch did not use CUDA in the command's workers"
	default:
		why = "torch took no memory in the command's workers"
	}
	return byDevice, why
}

// deviceOf finds the device of a worker: by its UUID, which torch writes without NVML's
// prefix, else by where the driver listed the process, if that was one device alone.
func deviceOf(r *gpu.Readings, pid int, uuid string) int {
	if uuid != "" {
		for i, g := range r.GPUs {
			if _, bare, _ := strings.Cut(g.UUID, "-"); g.UUID == uuid || bare == uuid {
				return i
			}
		}
	}
	at := -1
	for i := range r.PIDs {
		if !r.PIDs[i][pid] {
			continue
		}
		if at >= 0 {
			return -1
		}
		at = i
	}
	return at
}
