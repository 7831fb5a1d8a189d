package demo

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// processFamilies are those that prometheus_client's ProcessCollector reads from /proc:
// the real figures of this process. Without /proc they are absent, as in Python. A
// scenario simulates them.
type processFamilies struct {
	virtual, resident, start, cpu, fds, maxFDs *family

	simulated bool
}

// ticksPerSecond is USER_HZ, 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// register adds the python_* families, whose values are meaningless here, and the
// process_* families.
func (p *processFamilies) register(r *registry) {
	plain := func(kind, name, help string) *family {
		f := r.add(kind, name, help)
		f.with().created = noCreated
		return f
	}
	for _, g := range [][2]string{
		{"python_gc_objects_collected", "Objects collected during gc"},
		{"python_gc_objects_uncollectable", "Uncollectable objects found during GC"},
		{"python_gc_collections", "Number of times this generation was collected"},
	} {
		f := r.add(counter, g[0], g[1])
		for _, gen := range []string{"0", "1", "2"} {
			f.with("generation", gen).created = noCreated
		}
	}
	r.add(gauge, "python_info", "Python platform information").
		with("implementation", "simulated", "major", "3", "minor", "12", "patchlevel", "1", "version", "3.12.1").value = 1
	p.virtual = plain(gauge, "process_virtual_memory_bytes", "Virtual memory size in bytes.")
	p.resident = plain(gauge, "process_resident_memory_bytes", "Resident memory size in bytes.")
	p.start = plain(gauge, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.")
	p.cpu = plain(counter, "process_cpu_seconds", "Total user and system CPU time spent in seconds.")
	p.fds = plain(gauge, "process_open_fds", "Number of open file descriptors.")
	p.maxFDs = plain(gauge, "process_max_fds", "Maximum number of open file descriptors.")
	p.read()
}

// wanted reports whether a restricted page needs the figures of the process.
func (p *processFamilies) wanted(names nameSet) bool {
	if names == nil {
		return true
	}
	for n := range names {
		if strings.HasPrefix(n, "process_") {
			return true
		}
	}
	return false
}

// simulate sets the figures of a simulated API server: its start in seconds of Unix time,
// its CPU time in seconds, and its resident memory in bytes.
func (p *processFamilies) simulate(start, cpu, resident float64) {
	p.simulated = true
	for f, v := range map[*family]float64{
		p.start: start, p.cpu: cpu, p.resident: resident, p.virtual: 32 << 30, p.fds: 64, p.maxFDs: 65536,
	} {
		f.hidden, f.children[0].value = false, v
	}
}

// read puts the current figures into the families, or hides those that cannot be read.
func (p *processFamilies) read() {
	if p.simulated {
		return
	}
	set := func(f *family, v float64, ok bool) {
		f.hidden = !ok
		f.children[0].value = v
	}
	// The fields after the command's name, which ends with the last ")":
	// number 0 is the state, field 3 of proc_pid_stat(5).
	stat, _ := os.ReadFile("/proc/self/stat")
	_, after, ok := cutLast(string(stat), ')')
	field := strings.Fields(after)
	ok = ok && len(field) > 21
	num := func(i int) float64 {
		if !ok {
			return 0
		}
		v, _ := strconv.ParseFloat(field[i], 64)
		return v
	}
	set(p.virtual, num(20), ok)
	set(p.resident, num(21)*float64(os.Getpagesize()), ok)
	set(p.cpu, (num(11)+num(12))/ticksPerSecond, ok)
	boot, bootOK := procNumber("/proc/stat", "btime ")
	set(p.start, boot+num(19)/ticksPerSecond, ok && bootOK)
	fds, err := os.ReadDir("/proc/self/fd")
	set(p.fds, float64(len(fds)), err == nil)
	limit, limitOK := procNumber("/proc/self/limits", "Max open files ")
	set(p.maxFDs, limit, limitOK)
}

// cutLast splits s around the last sep.
func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// procNumber returns the first number after key at the beginning of a line.
func procNumber(path, key string) (float64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			if f := bytes.Fields(rest); len(f) > 0 {
				v, err := strconv.ParseFloat(string(f[0]), 64)
				return v, err == nil
			}
		}
	}
	return 0, false
}
