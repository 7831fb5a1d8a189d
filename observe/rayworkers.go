package observe

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/internal/vllm"
	"github.com/vobs/vobs/sampler/proc"
)

const (
	// rayTitle begins the titles of Ray's workers: ray::RayWorkerWrapper.execute_method.
	rayTitle = "ray::"
	// firstRayLook and lastRayLook are the times between two looks at workers that are not the
	// command's so far. They double from the first to the last.
	firstRayLook = 250 * time.Millisecond
	lastRayLook  = time.Minute
	// maxRayDrivers bounds the processes among which drivers are looked for. Each takes about
	// 7 µs for each of its descriptors.
	maxRayDrivers = 250
)

// rayWorkers determines which processes on the GPUs are workers of Ray that work for the command.
// They are children of Ray's daemon, and their job is that of a driver among the command's
// processes. Of a process on a GPU that is no such worker, it reads the parents and their arguments
// once; it looks for drivers only if there is a worker.
type rayWorkers struct {
	procRoot string
	// ours returns the pids of the command's processes and of the servers that are scraped.
	ours func() map[int]bool
	// discover looks for processes of the command that ours does not include yet.
	discover func() error
	debug    func(string)

	mu       sync.Mutex
	verdicts map[int]rayVerdict // of the processes that were listed last
	drivers  map[proc.RayJob]bool
	nextLook time.Time
	gap      time.Duration  // from nextLook to the look after it
	worker   int            // a worker that is the command's; 0 if none was found
	unknown  map[int]string // as in rayVerdict, also of processes that were listed before
}

// rayVerdict is what is known of a process on a GPU that does not descend from the command.
type rayVerdict struct {
	isRay   bool
	ours    bool
	unknown string // why it is unknown whether the process is ours; "" if that is known
}

func newRayWorkers(procRoot string, tree *proc.Tree, ours func() map[int]bool, debug func(string)) *rayWorkers {
	return &rayWorkers{procRoot: procRoot, ours: ours, discover: tree.Discover, debug: debug, verdicts: map[int]rayVerdict{}, drivers: map[proc.RayJob]bool{}, unknown: map[int]string{}}
}

// find implements [gpu.Config.Workers].
func (r *rayWorkers) find(pids []int) (owned []int, unknown map[int]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A pid that the driver does not list any more may be another process the next time.
	maps.DeleteFunc(r.verdicts, func(pid int, _ rayVerdict) bool { return !slices.Contains(pids, pid) })
	due := !time.Now().Before(r.nextLook)
	var first, again []int
	for _, pid := range pids {
		if v, known := r.verdicts[pid]; !known {
			first = append(first, pid)
		} else if v.isRay && due {
			again = append(again, pid)
		}
	}
	if look := slices.Concat(first, again); len(look) > 0 {
		r.look(look)
		r.gap = min(2*r.gap, lastRayLook)
		if slices.ContainsFunc(first, func(pid int) bool { return r.verdicts[pid].isRay }) {
			r.gap = firstRayLook
		}
		r.nextLook = time.Now().Add(r.gap)
	}
	unknown = map[int]string{}
	for _, pid := range pids {
		switch v := r.verdicts[pid]; {
		case v.ours:
			owned = append(owned, pid)
		case v.unknown != "":
			unknown[pid] = v.unknown
		}
	}
	return owned, unknown
}

// look determines the verdicts of processes. The caller holds r.mu.
func (r *rayWorkers) look(pids []int) {
	known := maps.Clone(r.drivers) // a look that hangs must not change what is known
	type result struct {
		verdicts map[int]rayVerdict
		drivers  map[proc.RayJob]bool
	}
	found, err := bounded.Call("the workers of Ray", ownerTimeout, func() (result, error) {
		workers := map[int]rayWorker{}
		settled := true // no driver has to be looked for
		for _, pid := range pids {
			w := readRayWorker(r.procRoot, pid)
			workers[pid] = w
			settled = settled && (!w.isRay || known[w.job])
		}
		var incomplete error
		if !settled {
			incomplete = r.findDrivers(known)
		}
		verdicts := map[int]rayVerdict{}
		for pid, w := range workers {
			verdicts[pid] = w.verdict(known, incomplete)
		}
		return result{verdicts, known}, nil
	})
	if err != nil {
		for _, pid := range pids {
			r.verdicts[pid] = rayVerdict{isRay: true, unknown: fmt.Sprintf("whether process %d is a worker of Ray is unknown: %v", pid, err)}
		}
		return
	}
	for _, pid := range slices.Sorted(maps.Keys(found.verdicts)) {
		v := found.verdicts[pid]
		if v.ours {
			r.debug(fmt.Sprintf("process %d is a worker of Ray that works for the command", pid))
			r.worker = pid
		}
		if v.unknown == "" {
			delete(r.unknown, pid)
		} else if r.unknown[pid] != v.unknown {
			r.debug(v.unknown)
			r.unknown[pid] = v.unknown
		}
		r.verdicts[pid] = v
	}
	r.drivers = found.drivers
}

// cpuElsewhere returns why the command may have used CPU time that its processes do not show, or
// "".
func (r *rayWorkers) cpuElsewhere() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.worker != 0 {
		return fmt.Sprintf("process %d, a worker of Ray, works for the command", r.worker)
	}
	for _, why := range r.unknown {
		return why
	}
	return ""
}

// findDrivers adds the jobs whose drivers are among the command's processes. The error is why it
// may have missed one.
func (r *rayWorkers) findDrivers(jobs map[proc.RayJob]bool) (err error) {
	err = r.discover()
	pids := slices.Sorted(maps.Keys(r.ours()))
	if len(pids) > maxRayDrivers {
		err = cmp.Or(err, fmt.Errorf("the command has more than %d processes", maxRayDrivers))
		pids = pids[:maxRayDrivers]
	}
	for _, pid := range pids {
		found, readErr := proc.RayDriverJobs(r.procRoot, pid)
		for _, job := range found {
			jobs[job] = true
		}
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) && !errors.Is(readErr, unix.ESRCH) {
			err = cmp.Or(err, readErr)
		}
	}
	return err
}

// rayWorker is what a process shows of the worker of Ray that it is or descends from.
type rayWorker struct {
	isRay  bool
	worker proc.Process
	job    proc.RayJob
	err    error // why the job is unknown
}

// readRayWorker reads what a process shows of its worker.
func readRayWorker(procRoot string, pid int) rayWorker {
	chain, complete := proc.Lineage(procRoot, pid)
	below, certain := proc.BelowRaylet(chain), true
	if below == nil {
		// A container may be in between, or the daemon has ended.
		below, certain = titledWorkers(procRoot, chain)
	}
	if len(below) == 0 {
		return rayWorker{}
	}
	w := rayWorker{isRay: true, worker: below[len(below)-1]}
	var firstErr error
	// The outermost one is what Ray started. Its children may not have its files.
	for _, p := range slices.Backward(below) {
		job, err := proc.RayWorkerJob(procRoot, p.PID)
		if err != nil {
			firstErr = cmp.Or(firstErr, err)
			continue
		}
		if w.job.ID == "" || job.Logs != "" {
			w.worker, w.job = p, job
		}
		if job.Logs != "" { // otherwise it may be a program that runs the worker: uv, nsys
			return w
		}
	}
	if w.job.ID != "" {
		return w
	}
	w.err = firstErr
	if !certain && (complete || errors.Is(w.err, proc.ErrNoRayJob)) {
		return rayWorker{} // an engine without Ray
	}
	return w
}

// titledWorkers returns the processes of a lineage that have the title of a worker, nearest first.
// certain is true if one of these is a title of Ray's. Others are vLLM's own, which its processes
// have without Ray too.
func titledWorkers(procRoot string, chain []proc.Process) (titled []proc.Process, certain bool) {
	for _, p := range chain {
		title := p.Comm
		if argv, err := proc.CommandLine(procRoot, p.PID); err == nil && len(argv) > 0 {
			title += "\n" + argv[0]
		}
		isRay := strings.HasPrefix(p.Comm, rayTitle) || strings.Contains(title, vllm.RayWorkerTitle)
		if isRay || strings.Contains(title, vllm.TitlePrefix) {
			titled = append(titled, p)
		}
		certain = certain || isRay
	}
	return titled, certain
}

// verdict returns whether the worker is the command's. incomplete is why a driver of the
// command's may be missing among drivers.
func (w rayWorker) verdict(drivers map[proc.RayJob]bool, incomplete error) rayVerdict {
	v := rayVerdict{isRay: w.isRay}
	if !w.isRay {
		return v
	}
	name := fmt.Sprintf("process %d (%s) is a worker of Ray", w.worker.PID, w.worker.Comm)
	switch {
	case w.err != nil:
		v.unknown = fmt.Sprintf("%s, and its job is unknown: %v", name, w.err)
	case w.job.Logs != "" && drivers[w.job]:
		v.ours = true
	case w.job.Logs == "" && hasJobID(drivers, w.job.ID):
		v.unknown = fmt.Sprintf("%s for job %s, and it is unknown of which cluster: none of its log files is open", name, w.job.ID)
	case incomplete != nil:
		v.unknown = fmt.Sprintf("%s for job %s, and the command's drivers are not all known: %v", name, w.job.ID, incomplete)
	case len(drivers) == 0:
		v.unknown = fmt.Sprintf("%s for job %s, and no process of the command is known as a driver of Ray: it may work for the command all the same", name, w.job.ID)
	}
	return v
}

// hasJobID reports whether one of the jobs has this id, in whatever cluster.
func hasJobID(jobs map[proc.RayJob]bool, id string) bool {
	for job := range jobs {
		if job.ID == id {
			return true
		}
	}
	return false
}
