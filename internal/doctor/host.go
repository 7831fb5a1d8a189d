package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/render"
	"github.com/vobs/vobs/sampler/host"
	"github.com/vobs/vobs/sampler/proc"
)

// noProcesses is the message of a machine whose processes cannot be seen at all.
const noProcesses = "no process can be seen: there is no /proc"

// processes checks whether the processes of this host can be seen and inspected.
func (o *Options) processes(context.Context) []Check {
	fix := "mount /proc"
	if runtime.GOOS != "linux" {
		fix = "run vobs on Linux for figures of the host and of the process tree"
	}
	entries, _ := os.ReadDir(o.ProcRoot)
	count, hidden := 0, 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		count++
		if _, err := proc.Read(o.ProcRoot, pid); errors.Is(err, fs.ErrPermission) {
			hidden++
		}
	}
	if count == 0 {
		return []Check{note("proc", fix, noProcesses)}
	}
	checks := []Check{o.procVisibility(count, hidden)}
	return append(checks, o.inspection())
}

// procVisibility checks the options that /proc is mounted with.
func (o *Options) procVisibility(count, hidden int) Check {
	option := o.hidepid()
	switch {
	case option != "" && !o.canTraceAll():
		return note("proc", "run vobs as the user of the engine, or join the group of the mount option gid=", "%s is mounted with %s: of other users' processes nothing can be read", o.ProcRoot, option)
	case hidden > 0:
		return note("proc", "run vobs as the user of the engine", "%d of the %s in %s may not be read", hidden, render.Count(count, "process"), o.ProcRoot)
	}
	return ok("proc", "%s in %s", render.Count(count, "process"), o.ProcRoot)
}

// hidepid returns the mount option of /proc that hides processes (proc(5)): hidepid, by number
// or by name; "" if there is none.
func (o *Options) hidepid() string {
	mounts, err := proc.ReadFile(filepath.Join(o.ProcRoot, "self/mountinfo"), proc.MaxTableFile)
	if err != nil {
		return ""
	}
	option := ""
	for line := range strings.Lines(string(mounts)) {
		before, after, found := strings.Cut(line, " - proc ")
		fields := strings.Fields(before)
		if !found || len(fields) < 5 || fields[4] != "/proc" {
			continue
		}
		option = "" // a later mount hides an earlier one
		_, options, _ := strings.Cut(strings.TrimSpace(after), " ")
		for word := range strings.SplitSeq(options, ",") {
			if value, found := strings.CutPrefix(word, "hidepid="); found && value != "0" && value != "off" {
				option = word
			}
		}
	}
	return option
}

// inspection checks whether the environments of processes can be read. That needs the right to
// trace them, in the mode PTRACE_MODE_READ of ptrace(2), which Yama does not restrict.
func (o *Options) inspection() Check {
	const name = "inspection"
	const others = "run vobs as the user that the engine runs as, or with the capability SYS_PTRACE"
	status, err := proc.ReadFile(filepath.Join(o.ProcRoot, "self/status"), proc.MaxSmallFile)
	if err != nil {
		return note(name, "", "the rights of this process are unknown: %v", err)
	}
	parent := 0
	if value, found := proc.StatusField(status, "PPid"); found {
		parent, _ = strconv.Atoi(string(value))
	}
	if parent > 0 && o.ownedByUser(parent) {
		if _, err := proc.Environ(o.ProcRoot, parent); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return note(name, "check the sandbox (seccomp, AppArmor) that vobs runs in: it needs to read /proc/PID/environ of its own user's processes", "the environment of process %d, which started vobs, cannot be read: %v; metrics directories of processes and their sockets may not be found", parent, err)
		}
	}
	if capability(status, capSysPtrace) {
		return ok(name, "all processes can be inspected (SYS_PTRACE)")
	}
	return Check{name, OK, "processes of this user can be inspected, those of others cannot", "for an engine of another user: " + others}
}

// ownedByUser reports whether a process belongs to the user that vobs runs as. Under sudo -u, the
// parent does not.
func (o *Options) ownedByUser(pid int) bool {
	info, err := os.Stat(filepath.Join(o.ProcRoot, strconv.Itoa(pid)))
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(stat.Uid) == os.Geteuid()
}

// canTraceAll reports whether this process may inspect those of all users.
func (o *Options) canTraceAll() bool {
	status, err := proc.ReadFile(filepath.Join(o.ProcRoot, "self/status"), proc.MaxSmallFile)
	return err == nil && capability(status, capSysPtrace)
}

// capSysPtrace is CAP_SYS_PTRACE of linux/capability.h.
const capSysPtrace = 19

// capability reports whether the process has an effective capability (CapEff in proc(5)).
func capability(status []byte, number uint) bool {
	value, found := proc.StatusField(status, "CapEff")
	mask, err := strconv.ParseUint(string(value), 16, 64)
	return found && err == nil && mask>>number&1 == 1
}

// host checks the CPUs, the cgroup, the pressure and the energy counters.
func (o *Options) host(context.Context) []Check {
	in := host.Inspect(host.Config{ProcRoot: o.ProcRoot, SysRoot: o.SysRoot, CgroupRoot: o.CgroupRoot})
	return []Check{cpus(&in), cgroup(&in), pressure(&in), energy(&in)}
}

func cpus(in *host.Inspection) Check {
	switch {
	case in.CPUsErr != nil:
		return note("cpu", "", "%v", in.CPUsErr)
	case in.CPULimitErr == nil && in.CPULimit > 0 && in.CPULimit < 1:
		return note("cpu", "raise the CPU limit: vLLM's API server and engine core need a core each", "%s, of which the cgroup allows %.3g", render.Count(in.CPUs, "CPU"), in.CPULimit)
	case in.CPULimitErr == nil && in.CPULimit > 0:
		return ok("cpu", "%s, of which the cgroup allows %.3g", render.Count(in.CPUs, "CPU"), in.CPULimit)
	}
	return ok("cpu", "%s, no limit", render.Count(in.CPUs, "CPU"))
}

func cgroup(in *host.Inspection) Check {
	const name = "cgroup"
	const mount = "mount the cgroup hierarchy in the container (/sys/fs/cgroup)"
	limit := "no memory limit"
	if in.MemoryLimitBytes > 0 {
		limit = "memory limit " + render.Bytes(in.MemoryLimitBytes)
	}
	switch {
	case in.CgroupErr != nil:
		return note(name, mount, "%v: limits and kills for lack of memory will not be seen", in.CgroupErr)
	case in.CgroupVersion == 0:
		return note(name, mount, "no cgroup with a controller of memory: kills for lack of memory are not counted")
	case in.MemoryLimitErr != nil:
		return note(name, mount, "version %d: %v", in.CgroupVersion, in.MemoryLimitErr)
	case in.OOMErr != nil:
		return note(name, "", "version %d, %s; %v", in.CgroupVersion, limit, in.OOMErr)
	}
	return ok(name, "version %d, %s, kills for lack of memory are counted", in.CgroupVersion, limit)
}

func pressure(in *host.Inspection) Check {
	if reason, fix, found := strings.Cut(in.PressureReason(), ": boot with "); found {
		return note("pressure", "boot with "+fix, "%s", reason)
	} else if reason != "" {
		return note("pressure", "", "%s", reason)
	}
	return ok("pressure", "stall times of CPU, memory and I/O can be read")
}

func energy(in *host.Inspection) Check {
	if errors.Is(in.EnergyErr, fs.ErrPermission) {
		return note("energy", "let root run chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj (until the next boot), or run vobs as root", "the CPUs' energy counters (RAPL) may be read by root only, since Linux 5.10 (CVE-2020-8694); GPU energy is not affected")
	}
	if in.EnergyErr != nil {
		return note("energy", "", "%v; GPU energy is not affected", in.EnergyErr)
	}
	return ok("energy", "%s of CPU packages and memory (RAPL)", render.Count(in.EnergyZones, "counter"))
}

// fastClocks are the clock sources that are read without a system call
// (Documentation/timers/timekeeping.rst, and vdso_clock_mode of the drivers).
var fastClocks = []string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "timebase"}

// slackLimit is the timer slack, in nanoseconds, from which readings every 5 ms are late. The
// kernel's default is 50000 (prctl(2), PR_SET_TIMERSLACK).
const slackLimit = 1_000_000

// clock checks what the times of readings depend on.
func (o *Options) clock(context.Context) []Check {
	const name = "clock"
	source, err := os.ReadFile(filepath.Join(o.SysRoot, "devices/system/clocksource/clocksource0/current_clocksource"))
	if err != nil {
		return nil // not every system has it, and nothing depends on it
	}
	clock := strings.TrimSpace(string(source))
	slack := 0
	if text, err := os.ReadFile(filepath.Join(o.ProcRoot, "self/timerslack_ns")); err == nil {
		slack, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	switch {
	case slack >= slackLimit:
		return []Check{note(name, "start vobs without the larger timer slack: systemd's TimerSlackNSec=, or the power settings of the session", "timers may be %v late (timer slack): GPU memory is read less evenly", fmt.Sprintf("%.3g ms", float64(slack)/1e6))}
	case !slices.Contains(fastClocks, clock):
		return []Check{note(name, "see dmesg for why the kernel does not use tsc", "clock source %s: each reading of the clock is a system call, for vLLM too", clock)}
	}
	return []Check{ok(name, "clock source %s", clock)}
}

// leastFiles, leastThreads and leastAddresses are the least limits that are not worth a note. vobs
// itself needs fewer than 100 files and at most 16 threads, and the Go runtime reserves 1.3 GiB of
// addresses; the rest is for the engine.
const (
	leastFiles     = 4096
	leastThreads   = 1024
	leastAddresses = 64 << 30
)

// limits checks the resource limits that the command inherits.
func (o *Options) limits(context.Context) []Check {
	const name = "limits"
	var checks []Check
	text := make([]string, 0, 2)
	for _, l := range []struct {
		resource int
		what     string
		option   string
		least    uint64
		why      string
	}{
		{unix.RLIMIT_NOFILE, "open files", "n", leastFiles, "a server needs one per connection"},
		{rlimitNProc, "processes and threads of this user", "u", leastThreads, "a vLLM engine starts hundreds of threads"},
		{unix.RLIMIT_AS, "bytes of address space", "v", leastAddresses, "CUDA and vLLM reserve far more than they use"},
	} {
		var limit unix.Rlimit
		if err := unix.Getrlimit(l.resource, &limit); err != nil {
			continue
		}
		unlimited := limit.Cur >= 1<<62 // RLIM_INFINITY
		switch {
		case !unlimited && limit.Cur < l.least:
			checks = append(checks, note(name, fmt.Sprintf("raise it: ulimit -%s, LimitNOFILE= and its like in systemd, --ulimit of docker run", l.option), "at most %d %s (ulimit -%s): %s", limit.Cur, l.what, l.option, l.why))
		case unlimited:
			text = append(text, "-"+l.option+" unlimited")
		default:
			text = append(text, fmt.Sprintf("-%s %d", l.option, limit.Cur))
		}
	}
	if len(checks) == 0 {
		checks = append(checks, ok(name, "ulimit %s", strings.Join(text, ", ")))
	}
	return checks
}
