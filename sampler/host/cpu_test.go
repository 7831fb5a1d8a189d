package host

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/sampler/proc"
)

// statText is /proc/stat of two CPUs with these ticks: user, nice, system, steal.
func statText(user, nice, system, steal string) string {
	return "cpu  " + user + " " + nice + " " + system + " 5000 60 7 8 " + steal + " 9 0\ncpu0 1 2\ncpu1 1 2\nintr 4\n"
}

func TestParseCPUTimes(t *testing.T) {
	for text, want := range map[string]cpuTimes{
		statText("100", "20", "3", "4"): {cpus: 2, busy: 1230 * time.Millisecond, steal: 40 * time.Millisecond},
		statText("0", "0", "0", "0"):    {cpus: 2},
	} {
		if got, err := parseCPUTimes([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                             "no line cpu0",
		"cpu  1 2 3 4 5 6 7 8\n":       "no line cpu0",
		"cpu  1 2 3 4\ncpu0 1 2 3 4\n": `"" is not a CPU time`,
		"cpu0 1 2 3 4 5 6 7 8\n":       "first line",
		statText("-1", "0", "0", "0"):  "not a CPU time",
		statText("0", "0", "0", "9999999999999999"): "not a CPU time",
	} {
		if got, err := parseCPUTimes([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", text, got, err, want)
		}
	}
}

// cpuSampler starts a sampler on a fixture whose CPU times have been read, and returns both.
func cpuSampler(t *testing.T, stat string) (*Sampler, *proctest.Proc) {
	t.Helper()
	f := hostFixture(t)
	f.Write("stat", stat)
	s := Start(Config{ProcRoot: f.Root, CgroupRoot: f.Root, RootPID: proctest.VobsPID, Interval: time.Millisecond})
	t.Cleanup(func() { s.Stop(0) })
	<-s.staticDone
	return s, f
}

func TestCPUUse(t *testing.T) {
	s, f := cpuSampler(t, statText("1000", "0", "500", "10"))
	f.Put(103, proctest.Stat{PPID: 101, Comm: "VLLM::EngineCor", CPU: [4]int{100, 50, 10, 5}})
	s.CommandStarted()
	testkit.Await(t, "the tree is known", func() bool { return len(s.Tree().PIDs()) >= 3 })
	s.Stop(time.Second)
	f.Write("stat", statText("1200", "10", "530", "14"))
	reaped := 3 * time.Second
	use, err := s.CPUUse(func() time.Duration { return reaped })
	if err != nil {
		t.Fatal(err)
	}
	if use.CPUs != 2 || use.Busy != 2400*time.Millisecond || use.Steal != 40*time.Millisecond || use.Tree != reaped+1650*time.Millisecond || use.Elapsed <= 0 || use.From.IsZero() {
		t.Errorf("%+v", use)
	}
}

// What is not certain is an error, not a figure.
func TestCPUUseUnknown(t *testing.T) {
	good := statText("1000", "0", "500", "10")
	for name, c := range map[string]struct{ before, after, want string }{
		"the counters restarted": {good, statText("999", "0", "500", "10"), "decreased"},
		"steal decreased":        {good, statText("1000", "0", "500", "9"), "decreased"},
		"a CPU went offline":     {good, strings.Replace(good, "cpu1 1 2\n", "", 1), "from 2 to 1"},
		"no times before":        {"cpu0 1 2\n", good, "first line"},
		"no times after":         {good, "cpu0 1 2\n", "first line"},
	} {
		s, f := cpuSampler(t, c.before)
		f.Write("stat", c.after)
		if use, err := s.CPUUse(func() time.Duration { return 0 }); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v", name, use, err)
		}
	}
}

// On the real kernel the times are those that procfs reads, and contain what a command uses.
func TestCPUUseReal(t *testing.T) {
	proctest.NeedProc(t)
	s := Start(Config{})
	<-s.staticDone
	if s.static.cpuTimesErr != nil {
		t.Skip("SKIPPED: /proc/stat cannot be read here: ", s.static.cpuTimesErr)
	}
	sh := proctest.StartTree(t, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo burnt; wait; read end <&3")
	s.CommandStarted()
	sh.Line(t)
	s.Stop(0)
	use, err := s.CPUUse(func() time.Duration { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	stat, err := fs.Stat()
	if err != nil {
		t.Fatal(err)
	}
	total := time.Duration((stat.CPUTotal.User + stat.CPUTotal.Nice + stat.CPUTotal.System) * float64(time.Second))
	if now := s.static.cpuTimes.busy + use.Busy; now > total+time.Microsecond || total-now > slack { // total is rounded
		t.Errorf("busy for %v since boot, procfs has %v", now, total)
	}
	if use.Tree <= 0 || use.Tree > use.Busy+10*proc.Tick {
		t.Errorf("the command used %v of %v", use.Tree, use.Busy)
	}
}
