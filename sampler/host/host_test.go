package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"
	"go.uber.org/goleak"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// nullsExplained checks that each null of the group has an entry in the notes for
// itself or a group above it, and no other field has one.
func nullsExplained(t *testing.T, host schema.Host, notes schema.Notes) {
	t.Helper()
	missing := make(map[string]bool)
	for _, u := range notes.Unavailable {
		if u.Reason == "" || strings.HasSuffix(u.Reason, ".") {
			t.Errorf("%s: reason %q", u.Field, u.Reason)
		}
		missing[u.Field] = true
	}
	nulls := map[string]bool{
		"host.cpu_count":             host.CPUCount == nil,
		"host.cpu_limit":             host.CPULimit == nil,
		"host.memory_total_bytes":    host.MemoryTotalBytes == nil,
		"host.memory_limit_bytes":    host.MemoryLimitBytes == nil,
		"host.tree_cpu_seconds":      host.TreeCPUSeconds == nil,
		"host.tree_peak_rss_bytes":   host.TreePeakRSSBytes == nil,
		"host.pressure_some_seconds": host.PressureSomeSeconds == nil,
		"host.sampling":              host.Sampling == nil,
	}
	if p := host.PressureSomeSeconds; p != nil {
		nulls["host.pressure_some_seconds.cpu"] = p.CPU == nil
		nulls["host.pressure_some_seconds.memory"] = p.Memory == nil
		nulls["host.pressure_some_seconds.io"] = p.IO == nil
	}
	if s := host.Sampling; s != nil {
		nulls["host.sampling.period_seconds"] = s.PeriodSeconds == nil
		nulls["host.sampling.max_gap_seconds"] = s.MaxGapSeconds == nil
	}
	for field, null := range nulls {
		if null != missing[field] {
			t.Errorf("%s: null %v, explained %v", field, null, missing[field])
		}
		delete(missing, field)
	}
	for field := range missing {
		t.Errorf("%s: no such field", field)
	}
}

// A whole fixture: every figure is what the files say.
func TestHostFixture(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := proctest.VLLM(t)
	f.Write("stat", "cpu  1 2\ncpu0 1 2\ncpu1 1 2\nintr 4\n")
	f.Write("meminfo", "MemTotal:       1024 kB\n")
	f.Write("self/cgroup", "0::/\n")
	f.Write("self/mountinfo", "35 24 0:30 / /cg rw - cgroup2 cgroup2 rw\n")
	f.Write("cg/cpu.max", "150000 100000\n")
	f.Write("cg/memory.max", "4096\n")
	for _, name := range pressureResources {
		f.Write("pressure/"+name, pressureText("1000000"))
	}
	f.Put(103, proctest.Stat{PPID: 101, Comm: "VLLM::EngineCor", Pages: 300, CPU: [4]int{100, 50, 10, 5}})
	h := Start(Config{ProcRoot: f.Root, CgroupRoot: f.Root, RootPID: proctest.VobsPID, Interval: time.Millisecond})
	h.CommandStarted()
	h.CommandStarted() // harmless
	testkit.Await(t, "the tree is known", func() bool { return len(h.Tree().PIDs()) == 4 })
	f.Put(104, proctest.Stat{PPID: 103, Comm: "worker", Pages: 1 << 20})
	big := int64(330+1<<20) * int64(os.Getpagesize())
	testkit.Await(t, "the peak was read", func() bool {
		rss, err := h.Tree().Refresh()
		return err == nil && rss == big
	})
	for _, name := range pressureResources {
		f.Write("pressure/"+name, pressureText("1500000"))
	}
	f.Remove(102)
	host, notes := h.Stop(2 * time.Second)
	if host.Sampling == nil || host.Sampling.Samples < 2 {
		t.Fatalf("sampling = %+v, notes %v", host.Sampling, notes)
	}
	if s := host.Sampling; s.Errors != 0 || *s.PeriodSeconds <= 0 || *s.MaxGapSeconds < *s.PeriodSeconds {
		t.Errorf("sampling = %+v", s)
	}
	host.Sampling = nil
	// The last pass saw 104 but no longer 102, or an earlier one both.
	without := big - 20*int64(os.Getpagesize())
	if p := host.TreePeakRSSBytes; p == nil || *p != big && *p != without {
		t.Errorf("peak = %v, want %d or %d", p, big, without)
	}
	host.TreePeakRSSBytes = nil
	want := schema.Host{
		CPUCount: schema.Ptr(2), CPULimit: schema.F(1.5),
		MemoryTotalBytes: schema.Ptr(int64(1 << 20)), MemoryLimitBytes: schema.Ptr(int64(4096)),
		TreeCPUSeconds:      schema.F(2 + 1.65),
		PressureSomeSeconds: &schema.Pressure{CPU: schema.F(0.5), Memory: schema.F(0.5), IO: schema.F(0.5)},
	}
	if diff := cmp.Diff(want, host); diff != "" || len(notes.Unavailable)+len(notes.Validity) != 0 {
		t.Errorf("notes %v (-want +got):\n%s", notes, diff)
	}
}

// Nothing of what the host could lack is a number, and each lack is told.
func TestHostNulls(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	unlimited := func(t *testing.T) string {
		f := proctest.VLLM(t)
		f.Write("stat", "cpu0 1 2\n")
		f.Write("meminfo", "MemTotal: 1 kB\n")
		f.Write("self/cgroup", "0::/\n")
		f.Write("self/mountinfo", "35 24 0:30 / /cg rw - cgroup2 cgroup2 rw\n")
		f.Write("cg/cpu.max", "max 100000\n")
		f.Write("cg/memory.max", "max\n")
		return f.Root
	}
	bare := func(t *testing.T) string {
		f := proctest.New(t)
		f.Write("stat", "")
		return f.Root
	}
	tests := []struct {
		name    string
		root    func(t *testing.T) string
		started bool
		cpu     time.Duration
		reasons map[string]string
	}{
		{"no /proc", func(t *testing.T) string { return filepath.Join(t.TempDir(), "none") }, true, -1, map[string]string{
			"host.cpu_count": "only Linux", "host.sampling": "only Linux", "host.tree_cpu_seconds": "not reported"}},
		{"an empty /proc", bare, true, -1, map[string]string{
			"host.cpu_count": "cpu0", "host.memory_total_bytes": "meminfo", "host.cpu_limit": "cgroups", "host.memory_limit_bytes": "cgroups",
			"host.pressure_some_seconds": "CONFIG_PSI", "host.tree_peak_rss_bytes": "ended before"}},
		{"no limits", unlimited, false, 0, map[string]string{
			"host.cpu_limit": "the cgroup sets no limit", "host.memory_limit_bytes": "the cgroup sets no limit",
			"host.tree_peak_rss_bytes": "the command was not started", "host.sampling.period_seconds": "fewer than two"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := test.root(t)
			h := Start(Config{ProcRoot: root, CgroupRoot: root, RootPID: proctest.VobsPID})
			if test.started {
				h.CommandStarted()
			}
			host, notes := h.Stop(test.cpu)
			nullsExplained(t, host, notes)
			for field, reason := range test.reasons {
				if !slices.ContainsFunc(notes.Unavailable, func(u schema.Unavailable) bool {
					return u.Field == field && strings.Contains(u.Reason, reason)
				}) {
					t.Errorf("%s: no reason with %q in %v", field, reason, notes.Unavailable)
				}
			}
			if test.cpu >= 0 && (host.TreeCPUSeconds == nil || float64(*host.TreeCPUSeconds) != test.cpu.Seconds()) {
				t.Errorf("tree_cpu_seconds = %v", host.TreeCPUSeconds)
			}
			if left := h.Leftovers(); test.name != "no limits" && len(left) != 0 {
				t.Errorf("leftovers %v", left)
			}
			again, notes2 := h.Stop(time.Hour)
			if diff := cmp.Diff(host, again) + cmp.Diff(notes, notes2); diff != "" {
				t.Errorf("a second Stop says otherwise: %s", diff)
			}
		})
	}
	// Known CPU time of what was waited for is not thrown away without a /proc.
	h := Start(Config{ProcRoot: filepath.Join(t.TempDir(), "none")})
	host, notes := h.Stop(time.Second)
	if host.TreeCPUSeconds == nil || *host.TreeCPUSeconds != 1 || len(notes.Validity) != 1 || notes.Validity[0].Code != "tree_cpu_incomplete" {
		t.Errorf("tree_cpu_seconds = %v, validity %v", host.TreeCPUSeconds, notes.Validity)
	}
}

// Readings that fail are counted; what the others gave is kept.
func TestHostSamples(t *testing.T) {
	var s treeSamples
	start := time.Now()
	s.add(start, 100, nil)
	s.add(start.Add(time.Second), 300, fmt.Errorf("one process was not readable"))
	s.add(start.Add(4*time.Second), 200, nil)
	s.add(start.Add(5*time.Second), 50, nil)
	var host schema.Host
	var notes schema.Notes
	s.figures(&host, &notes)
	want := &schema.Sampling{PeriodSeconds: schema.F(2.5), Samples: 3, Errors: 1, MaxGapSeconds: schema.F(4)}
	if diff := cmp.Diff(want, host.Sampling); diff != "" || *host.TreePeakRSSBytes != 300 || len(notes.Unavailable) != 0 {
		t.Errorf("peak %d, notes %v (-want +got):\n%s", *host.TreePeakRSSBytes, notes, diff)
	}
	s = treeSamples{}
	s.add(start, 0, fmt.Errorf("no permission"))
	host, notes = schema.Host{}, schema.Notes{}
	s.figures(&host, &notes)
	if host.TreePeakRSSBytes != nil || !strings.Contains(fmt.Sprint(notes), "no permission") {
		t.Errorf("peak %v, notes %v", host.TreePeakRSSBytes, notes)
	}
}

// The real kernel: a command that holds 64 MiB, burns CPU time and leaves a process.
func TestHostReal(t *testing.T) {
	proctest.NeedProc(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	h := Start(Config{Interval: time.Millisecond})
	// tail keeps its input until a line ends, which it does with this test.
	sh := proctest.StartTree(t, `
i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done
(head -c 67108864 /dev/zero; cat <&3) | tail -n 1 >/dev/null &
echo burnt
wait`)
	h.CommandStarted()
	const held = 64 << 20
	testkit.Await(t, "64 MiB are held, and known to be", func() bool {
		left := h.Leftovers()
		i := slices.IndexFunc(left, func(a Leftover) bool { return a.Comm == "tail" })
		return i >= 0 && left[i].RSSBytes != nil && *left[i].RSSBytes >= held && slices.Equal(left[i].CommandLine, []string{"tail", "-n", "1"})
	})
	sh.Line(t)
	var live time.Duration
	testkit.Await(t, "the CPU time of those alive", func() bool {
		var err error
		live, err = h.Tree().CPUTime()
		return err == nil && live > 0
	})
	host, notes := h.Stop(time.Second)
	nullsExplained(t, host, notes)
	if host.TreePeakRSSBytes == nil || *host.TreePeakRSSBytes < held || *host.TreePeakRSSBytes > 4*held {
		t.Errorf("peak %v, want 64 MiB and some", host.TreePeakRSSBytes)
	}
	if got := float64(*host.TreeCPUSeconds); got < 1+live.Seconds() {
		t.Errorf("tree_cpu_seconds = %v, want at least the second given and %v of those alive", got, live)
	}
	if s := host.Sampling; s.Samples < 2 || s.Errors != 0 {
		t.Errorf("sampling %+v", s)
	}
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	stat, err := fs.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if host.CPUCount == nil || *host.CPUCount != len(stat.CPU) {
		t.Errorf("cpu_count = %v, procfs says %d", host.CPUCount, len(stat.CPU))
	}
	if len(h.Leftovers()) == 0 {
		t.Error("no leftovers after Stop")
	}
	sh.End()
	testkit.Await(t, "no leftovers", func() bool { return len(h.Leftovers()) == 0 })
}

// A process that hangs with its memory map locked does not hold up the exit: here
// its command line is a FIFO that nobody writes to.
func TestLeftoversHang(t *testing.T) {
	proctest.NeedProc(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := proctest.VLLM(t)
	f.Write("stat", "cpu0 1 2\n")
	f.Write("101/cmdline", "vllm\x00serve\x00")
	f.Write("102/cmdline", "")
	fifo := filepath.Join(f.Root, "103/cmdline")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	h := Start(Config{ProcRoot: f.Root, RootPID: proctest.VobsPID})
	left := h.Leftovers()
	// Let go of the goroutine that hangs.
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	page := int64(os.Getpagesize())
	want := []Leftover{
		{proc.Process{PID: 101, PPID: proctest.VobsPID, StartTicks: 101, Comm: "vllm"}, []string{"vllm", "serve"}, schema.Ptr(10 * page)},
		{proc.Process{PID: 102, PPID: 101, StartTicks: 102, Comm: "python"}, nil, schema.Ptr(20 * page)},
		{proc.Process{PID: 103, PPID: 101, StartTicks: 103, Comm: "VLLM::EngineCor"}, nil, schema.Ptr(300 * page)},
		{proc.Process{PID: 104, PPID: 103, StartTicks: 104, Comm: "VLLM::Worker) (1"}, nil, schema.Ptr(4000 * page)},
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.Stop(0)
}

// BenchmarkStartHost is what the host adds in front of the command's start.
func BenchmarkStartHost(b *testing.B) {
	proctest.NeedProc(b)
	for b.Loop() {
		h := Start(Config{})
		b.StopTimer()
		h.Stop(0)
		b.StartTimer()
	}
}

// BenchmarkHostShare is the share of a core that sampling a tree of ten real processes takes, by this
// process's own CPU time over 20 s.
func BenchmarkHostShare(b *testing.B) {
	proctest.StartTen(b)
	usage := func() time.Duration {
		var ru syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
			b.Fatal(err)
		}
		return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	for b.Loop() {
		before, begin := usage(), time.Now()
		h := Start(Config{})
		h.CommandStarted()
		timer := time.NewTimer(20 * time.Second)
		<-timer.C
		wall := time.Since(begin)
		host, _ := h.Stop(0)
		b.ReportMetric(100*(usage()-before).Seconds()/wall.Seconds(), "%core")
		b.ReportMetric(float64(host.Sampling.Samples), "samples")
		b.ReportMetric(100*h.gov.spent.Seconds()/wall.Seconds(), "%charged")
	}
}
