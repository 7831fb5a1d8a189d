package host

import (
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"
	"go.uber.org/goleak"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/schema"
)

func mustList(t *testing.T, s *Sampler) []Leftover {
	t.Helper()
	left, err := s.Leftovers()
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// Every figure is as in the files of a complete fixture.
func TestSampler(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := hostFixture(t)
	f.Write("stat", "cpu  1 2\ncpu0 1 2\ncpu1 1 2\nintr 4\n")
	f.Put(103, proctest.Stat{PPID: 101, Comm: "VLLM::EngineCor", Pages: 300, CPU: [4]int{100, 50, 10, 5}})
	sys := raplFixture(t)
	s := Start(Config{ProcRoot: f.Root, CgroupRoot: f.Root, SysRoot: sys.Root, RootPID: proctest.VobsPID, Interval: time.Millisecond})
	s.CommandStarted()
	s.CommandStarted() // a second call does nothing
	testkit.Await(t, "the tree is known", func() bool { return len(s.Tree().PIDs()) == 4 })
	f.Put(104, proctest.Stat{PPID: 103, Comm: "worker", Pages: 1 << 20})
	big := int64(330+1<<20) * int64(os.Getpagesize())
	testkit.Await(t, "the peak was read", func() bool {
		rss, err := s.Tree().Refresh()
		return err == nil && rss == big
	})
	for _, name := range pressureResources {
		f.Write("pressure/"+name, pressureText("1500000"))
	}
	f.Remove(102)
	<-s.staticDone
	setEnergy(sys, map[string]uint64{"intel-rapl:1": 8e6})
	host, notes := s.Stop(2 * time.Second)
	if host.Sampling == nil || host.Sampling.Samples < 2 {
		t.Fatalf("sampling = %+v, notes %v", host.Sampling, notes)
	}
	if s := host.Sampling; s.Errors != 0 || *s.PeriodSeconds <= 0 || *s.MaxGapSeconds < *s.PeriodSeconds {
		t.Errorf("sampling = %+v", s)
	}
	host.Sampling = nil
	// Either the last pass saw 104 without 102, or an earlier one saw both.
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
		EnergyJoules:        schema.F(7),
	}
	if diff := cmp.Diff(want, host); diff != "" || len(notes.Unavailable)+len(notes.Validity) != 0 {
		t.Errorf("notes %v (-want +got):\n%s", notes, diff)
	}
}

// On the real kernel, a command holds 64 MiB, uses CPU time and leaves a process behind.
func TestSamplerReal(t *testing.T) {
	proctest.NeedProc(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := Start(Config{Interval: time.Millisecond})
	// tail holds its input in memory until it ends, at the end of this test.
	sh := proctest.StartTree(t, `
i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done
(head -c 67108864 /dev/zero; cat <&3) | tail -n 1 >/dev/null &
echo burnt
wait`)
	s.CommandStarted()
	const held = 64 << 20
	testkit.Await(t, "tail is listed with 64 MiB", func() bool {
		left := mustList(t, s)
		i := slices.IndexFunc(left, func(a Leftover) bool { return a.Comm == "tail" })
		return i >= 0 && left[i].RSSBytes != nil && *left[i].RSSBytes >= held && slices.Equal(left[i].CommandLine, []string{"tail", "-n", "1"})
	})
	sh.Line(t)
	var live time.Duration
	testkit.Await(t, "living descendants have CPU time", func() bool {
		var err error
		live, err = s.Tree().CPUTime()
		return err == nil && live > 0
	})
	host, notes := s.Stop(time.Second)
	nullsExplained(t, host, notes)
	if host.TreePeakRSSBytes == nil || *host.TreePeakRSSBytes < held || *host.TreePeakRSSBytes > 4*held {
		t.Errorf("peak %v, want at least 64 MiB and at most 256 MiB", host.TreePeakRSSBytes)
	}
	if got := float64(*host.TreeCPUSeconds); got < 1+live.Seconds() {
		t.Errorf("tree_cpu_seconds = %v, want at least the second passed to Stop and %v of living descendants", got, live)
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
		t.Errorf("cpu_count = %v, procfs has %d", host.CPUCount, len(stat.CPU))
	}
	if len(mustList(t, s)) == 0 {
		t.Error("no leftovers after Stop")
	}
	sh.End()
	testkit.Await(t, "no leftovers", func() bool { return len(mustList(t, s)) == 0 })
}

// BenchmarkStart measures by how much the host's sampler delays the command's start.
func BenchmarkStart(b *testing.B) {
	proctest.NeedProc(b)
	for b.Loop() {
		s := Start(Config{})
		b.StopTimer()
		s.Stop(0)
		b.StartTimer()
	}
}

// BenchmarkShare measures the share of a core that sampling a tree of ten real processes
// takes, by this process's own CPU time over 20 s.
func BenchmarkShare(b *testing.B) {
	if !testkit.Long() {
		b.Skip("SKIPPED: it takes 20 s: make bench-long runs it")
	}
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
		s := Start(Config{})
		s.CommandStarted()
		timer := time.NewTimer(20 * time.Second)
		<-timer.C
		wall := time.Since(begin)
		host, _ := s.Stop(0)
		b.ReportMetric(100*(usage()-before).Seconds()/wall.Seconds(), "%core")
		b.ReportMetric(float64(host.Sampling.Samples), "samples")
		b.ReportMetric(100*s.governor.spent.Seconds()/wall.Seconds(), "%charged")
	}
}
