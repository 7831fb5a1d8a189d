package host

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/proc"
)

// cpuTimes is one reading of what the host's CPUs have done since boot, from the first line of
// /proc/stat (proc_stat(5)).
type cpuTimes struct {
	at   time.Time
	cpus int
	// busy is the time of processes: user, nice and system. Time of interrupts belongs to no
	// process, and guest time is part of user and nice.
	busy time.Duration
	// steal is the time that the hypervisor gave to other guests.
	steal time.Duration
}

// readCPUTimes reads procRoot/stat. If another file is mounted there, it is not read: LXCFS
// shows the use by a container.
func readCPUTimes(procRoot string) (cpuTimes, error) {
	path := filepath.Join(procRoot, "stat")
	if proc.Overlaid(procRoot, "stat") {
		return cpuTimes{}, fmt.Errorf("%s: another file is mounted there (LXCFS?), which describes a container, not the host", path)
	}
	data, err := proc.ReadFile(path, proc.MaxTableFile)
	if err != nil {
		return cpuTimes{}, err
	}
	t, err := parseCPUTimes(data)
	if err != nil {
		return cpuTimes{}, fmt.Errorf("%s: %w", path, err)
	}
	t.at = time.Now()
	return t, nil
}

// parseCPUTimes parses /proc/stat, all but the time of the reading.
func parseCPUTimes(data []byte) (t cpuTimes, err error) {
	if t.cpus, err = parseOnlineCPUs(data); err != nil {
		return cpuTimes{}, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	name, rest := proc.NextField(line)
	if string(name) != "cpu" {
		return cpuTimes{}, errors.New("the first line is not that of all CPUs")
	}
	// user, nice, system, idle, iowait, irq, softirq, steal
	var ticks [8]uint64
	for i := range ticks {
		var text []byte
		text, rest = proc.NextField(rest)
		n, ok := proc.ParseUint(text)
		if !ok || n > uint64(1<<63-1)/uint64(4*proc.Tick) {
			return cpuTimes{}, fmt.Errorf("%q is not a CPU time", text)
		}
		ticks[i] = n
	}
	t.busy = time.Duration(ticks[0]+ticks[1]+ticks[2]) * proc.Tick
	t.steal = time.Duration(ticks[7]) * proc.Tick
	return t, nil
}

// CPUUse is how the host's CPUs were used between two readings, in CPU time.
type CPUUse struct {
	// CPUs is their number.
	CPUs int
	// From is the time of the first reading, Elapsed the time between the readings.
	From    time.Time
	Elapsed time.Duration
	// Busy is the time of all processes, Tree that of the command's.
	Busy, Tree time.Duration
	// Steal is the time that the hypervisor gave to other guests.
	Steal time.Duration
}

// CPUUse returns how the host's CPUs were used since the start. reaped returns the CPU time of
// the command's processes that have been waited for. It is called last, so that
// a process that ends meanwhile counts twice rather than not at all. Call it after
// [Sampler.Stop]: the tree is then up to date.
func (s *Sampler) CPUUse(reaped func() time.Duration) (CPUUse, error) {
	s.mu.Lock()
	before, err := s.static.cpuTimes, s.static.cpuTimesErr
	s.mu.Unlock()
	if err != nil {
		return CPUUse{}, err
	}
	after, err := bounded.Call(filepath.Join(s.cfg.ProcRoot, "stat"), lastReadTimeout, func() (cpuTimes, error) { return readCPUTimes(s.cfg.ProcRoot) })
	if err != nil {
		return CPUUse{}, err
	}
	switch {
	case after.cpus != before.cpus:
		return CPUUse{}, fmt.Errorf("the number of CPUs changed from %d to %d", before.cpus, after.cpus)
	case after.busy < before.busy || after.steal < before.steal:
		return CPUUse{}, fmt.Errorf("the CPU times in %s decreased", filepath.Join(s.cfg.ProcRoot, "stat"))
	}
	live, err := bounded.Call("the CPU time of the processes in "+s.cfg.ProcRoot, lastReadTimeout, s.tree.CPUTime)
	if err != nil {
		return CPUUse{}, err
	}
	return CPUUse{
		CPUs: after.cpus, From: before.at, Elapsed: after.at.Sub(before.at),
		Busy: after.busy - before.busy, Steal: after.steal - before.steal, Tree: live + reaped(),
	}, nil
}
