package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/environ"
	"github.com/vobs/vobs/internal/wandb"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/gpu"
)

// DefaultTimeout is what one check may take.
const DefaultTimeout = 2 * time.Second

// Options are those of [Run]. The zero value checks this machine.
type Options struct {
	// ProcRoot, SysRoot and DevRoot are the paths of /proc, /sys and /dev; CgroupRoot is
	// prefixed to the mount points of cgroups, and Root to other files of the system. They are
	// for fixture trees.
	ProcRoot, SysRoot, DevRoot, CgroupRoot, Root string
	// Environ is the environment that the command would have.
	Environ []string
	// Home and WorkDir are the home directory, "" if there is none, and the working directory.
	Home, WorkDir string
	// Devices are the values of --device.
	Devices []string
	// Output and Append are those of vobs run: the event's target.
	Output, Append string
	// Targets are the addresses of --metrics-url, Probe how they are read.
	Targets []scrape.Target
	Probe   probe.Config
	// Ports are the ports of this host where a server is looked for; nil means the usual ones.
	Ports []string
	// WandB are the flags for W&B; Environ, Home and WorkDir are filled in.
	WandB wandb.Input
	// Timeout is what one check may take; 0 means DefaultTimeout.
	Timeout time.Duration
	// InspectGPUs replaces gpu.Inspect in tests.
	InspectGPUs func(gpu.Config) (*gpu.Inspection, error)
}

// Status is the result of a check.
type Status string

const (
	// OK means that there is nothing to do.
	OK Status = "ok"
	// Note means that some figures will be missing, or that something is worth knowing.
	Note Status = "note"
	// Problem means that a run would miss what it is for: figures of GPUs that are there, of a
	// server that was named, or of anything at all, or that it could not write its event.
	Problem Status = "problem"
)

// Check is the result of one check.
type Check struct {
	Name    string `json:"name"`
	Status  Status `json:"status"`
	Message string `json:"message"`
	// Fix is what to do; "" if there is nothing.
	Fix string `json:"fix"`
}

func ok(name, format string, args ...any) Check {
	return Check{name, OK, fmt.Sprintf(format, args...), ""}
}

func note(name, fix, format string, args ...any) Check {
	return Check{name, Note, fmt.Sprintf(format, args...), fix}
}

func problem(name, fix, format string, args ...any) Check {
	return Check{name, Problem, fmt.Sprintf(format, args...), fix}
}

// Report is the result of all checks.
type Report struct {
	Checks []Check `json:"checks"`
	// OK reports whether no check has the status Problem.
	OK bool `json:"ok"`
}

// group is checks that are made together. They share what they read.
type group struct {
	name string
	run  func(context.Context) []Check
	// onHang is the status if they take too long, fix what to do then.
	onHang Status
	fix    string
}

// Run makes all checks. A check that takes longer than the timeout is given up. Its thread may
// hang in the kernel until the process ends.
func Run(ctx context.Context, o Options) Report {
	o = o.withDefaults()
	const hangs = "find out what does not respond: a file system whose server hangs (NFS, FUSE), or a driver"
	groups := []group{
		{"nvml", o.gpus, o.ifDriver(Problem, Note), "let it take longer with --timeout 30s: without persistence mode (nvidia-smi -pm 1) a GPU takes seconds to initialize; if it still hangs, so does the driver"},
		{"proc", o.processes, Note, hangs},
		{"cgroup", o.host, Note, hangs},
		{"clock", o.clock, Note, hangs},
		{"limits", o.limits, Note, hangs},
		{"vllm", o.vllm, Note, hangs},
		{"server", o.servers, Note, hangs},
		{"wandb", o.wandb, Note, hangs},
		{"output", o.output, Problem, "name an output on a file system that responds"},
	}
	results := make([][]Check, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() { results[i] = o.bounded(ctx, g) })
	}
	wg.Wait()
	report := Report{OK: true}
	for _, checks := range results {
		report.Checks = append(report.Checks, checks...)
	}
	report.findBlindness()
	for _, c := range report.Checks {
		report.OK = report.OK && c.Status != Problem
	}
	return report
}

// bounded makes the checks of a group within the timeout.
func (o *Options) bounded(ctx context.Context, g group) []Check {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	checks, err := bounded.Await("doctor "+g.name, o.Timeout, func() ([]Check, error) { return g.run(ctx), nil })
	switch {
	case errors.Is(err, bounded.ErrHangs):
		return []Check{{g.name, g.onHang, fmt.Sprintf("no result within %v", o.Timeout), g.fix}}
	case err != nil:
		return []Check{note(g.name, "", "%v", err)}
	}
	return checks
}

// findBlindness makes a problem of the case that a run would observe nothing: no GPU, no process
// and no engine.
func (r *Report) findBlindness() {
	seen := map[string]bool{}
	for _, c := range r.Checks {
		if c.Status == OK {
			seen[c.Name] = true
		}
	}
	if seen["gpus"] || seen["server"] {
		return
	}
	for i, c := range r.Checks {
		if c.Name == "proc" && c.Message == noProcesses {
			r.Checks[i].Status = Problem
			r.Checks[i].Message += "; with no GPU and no server either, a run would observe nothing"
		}
	}
}

func (o Options) withDefaults() Options {
	o.ProcRoot = cmp.Or(o.ProcRoot, "/proc")
	o.SysRoot = cmp.Or(o.SysRoot, "/sys")
	o.DevRoot = cmp.Or(o.DevRoot, "/dev")
	o.Root = cmp.Or(o.Root, "/")
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Ports == nil {
		o.Ports = usualPorts
	}
	if o.InspectGPUs == nil {
		o.InspectGPUs = gpu.Inspect
	}
	o.WandB.Environ, o.WandB.Home, o.WandB.WorkDir = o.Environ, o.Home, o.WorkDir
	return o
}

// env returns a variable of the command's environment; "" if it is not set.
func (o *Options) env(name string) string {
	value, _ := environ.Lookup(o.Environ, name)
	return value
}

// path returns a path as the command would resolve it.
func (o *Options) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.WorkDir, name)
}
