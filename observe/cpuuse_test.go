package observe

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// vobsPID is the pid of vobs in a fixture.
const vobsPID = 100

// procFixture is a directory laid out like /proc.
type procFixture struct {
	t    *testing.T
	root string
}

// procStat is the status of a process.
type procStat struct {
	PPID, Start int // Start 0 means the pid
	Comm        string
	CPU         [4]int // clock ticks: user, system, and the same of waited-for children
}

// newProcFixture returns one with vobs, a shell and the command's processes 101 to 103.
func newProcFixture(t *testing.T) procFixture {
	f := procFixture{t, t.TempDir()}
	f.Put(1, procStat{Comm: "systemd"})
	f.Put(50, procStat{PPID: 1, Comm: "bash"})
	f.Put(vobsPID, procStat{PPID: 50, Comm: "vobs"})
	f.Put(101, procStat{PPID: vobsPID, Comm: "vllm"})
	f.Put(102, procStat{PPID: 101, Comm: "python"})
	f.Put(103, procStat{PPID: 101, Comm: "VLLM::EngineCor"})
	return f
}

// Put adds a process or changes it.
func (f procFixture) Put(pid int, s procStat) {
	f.t.Helper()
	if s.Start == 0 {
		s.Start = pid
	}
	dir := filepath.Join(f.root, strconv.Itoa(pid))
	err := os.MkdirAll(dir, 0o755)
	for name, text := range map[string]string{
		"stat":  fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194304 98 0 0 0 %d %d %d %d 20 0 1 0 %d 3133440 10\n", pid, s.Comm, s.PPID, s.CPU[0], s.CPU[1], s.CPU[2], s.CPU[3], s.Start),
		"statm": "765 10 396 5 0 123 0\n",
	} {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
		}
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// Remove removes a process.
func (f procFixture) Remove(pid int) { os.RemoveAll(filepath.Join(f.root, strconv.Itoa(pid))) }

// serverFixture returns a /proc with a vLLM server that is not in the command's tree, below
// the user's shell, and the discovery that has found it at the address.
func serverFixture(t *testing.T, address string) (procFixture, *discovery) {
	t.Helper()
	f := newProcFixture(t)
	f.Put(200, procStat{PPID: 50, Comm: "vllm", CPU: [4]int{100, 20, 30, 0}})
	f.Put(201, procStat{PPID: 200, Comm: "VLLM::EngineCor", CPU: [4]int{1000, 0, 0, 0}})
	target, err := scrape.ParseTarget(address)
	if err != nil {
		t.Fatal(err)
	}
	d := testDiscovery(f.root)
	d.tree = proc.NewTree(f.root, vobsPID)
	if err := d.tree.Discover(); err != nil {
		t.Fatal(err)
	}
	d.prober.Add(target)
	processes, err := d.sockets.Table().Descendants(200)
	if err != nil || len(processes) != 2 {
		t.Fatalf("%v, %v", processes, err)
	}
	d.engines[target.Name()] = d.readEngineProcesses(processes)
	return f, d
}

// The CPU time of an engine is what its processes used since it was found, wherever it is
// counted by now.
func TestEngineCPU(t *testing.T) {
	const address = "http://127.0.0.1:8000/metrics"
	second := 100 // clock ticks
	for _, c := range []struct {
		name   string
		change func(f procFixture, d *discovery)
		names  []string
		want   time.Duration
		later  time.Duration // of processes that appeared since
		err    string
	}{
		{name: "nothing", change: func(procFixture, *discovery) {}},
		{name: "both processes", change: func(f procFixture, _ *discovery) {
			f.Put(200, procStat{PPID: 50, Comm: "VLLM::APIServer", CPU: [4]int{100 + second, 20, 30, 0}})
			f.Put(201, procStat{PPID: 200, Comm: "VLLM::EngineCor", CPU: [4]int{1000, second, 0, 0}})
		}, want: 2 * time.Second},
		{name: "a child that was reaped", change: func(f procFixture, _ *discovery) {
			f.Remove(201)
			f.Put(200, procStat{PPID: 50, Comm: "vllm", CPU: [4]int{100, 20, 30 + 1000 + second, 0}})
		}, want: 11 * time.Second},
		{name: "a new child", change: func(f procFixture, _ *discovery) {
			f.Put(300, procStat{PPID: 201, Comm: "VLLM::Worker", CPU: [4]int{second, 0, 0, 0}})
		}, later: time.Second},
		{name: "another process", change: func(f procFixture, _ *discovery) {
			f.Put(300, procStat{PPID: 50, Comm: "burn", CPU: [4]int{second, 0, 0, 0}})
		}},
		{name: "twice", change: func(f procFixture, _ *discovery) {
			f.Put(201, procStat{PPID: 200, Comm: "VLLM::EngineCor", CPU: [4]int{1000, second, 0, 0}})
		}, names: []string{address, address}, want: time.Second},
		{name: "the server ended", change: func(f procFixture, _ *discovery) { f.Remove(200) }, err: "process 200 of the engine ended"},
		{name: "its pid was reused", change: func(f procFixture, _ *discovery) {
			f.Put(200, procStat{PPID: 1, Comm: "cron", Start: 999})
		}, err: "process 200 of the engine ended"},
		{name: "an unknown address", change: func(procFixture, *discovery) {}, names: []string{"http://10.1.2.3:8000/metrics"}, err: "not known"},
		{name: "an unknown process", change: func(_ procFixture, d *discovery) { clear(d.engines) }, err: "no process is known"},
		{name: "a proxy", change: func(_ procFixture, d *discovery) {
			e := d.engines[address]
			e.server.Comm = "docker-proxy"
			d.engines[address] = e
		}, err: "is not an engine's"},
		{name: "Ray", change: func(f procFixture, _ *discovery) {
			f.Put(300, procStat{PPID: 1, Comm: "ray::RayWorkerW", CPU: [4]int{second, 0, 0, 0}})
		}, err: "may work for the engine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, d := serverFixture(t, address)
			if d.engines[address].inTree {
				t.Fatal("the server is in the command's tree")
			}
			c.change(f, d)
			d.sockets = socketsIn(f.root) // the next round
			names := c.names
			if names == nil {
				names = []string{address}
			}
			use, err := d.engineCPU(names)
			cpu, found := use.cpu, use.found
			var later time.Duration
			if err == nil {
				if later, err = d.newEngineCPU(names); found.IsZero() {
					t.Error("it is unknown when the server was found")
				}
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, %v, error %v, want %q", cpu, later, err, c.err)
				}
				return
			}
			if err != nil || cpu != c.want || later != c.later {
				t.Errorf("%v and %v, %v, want %v and %v", cpu, later, err, c.want, c.later)
			}
		})
	}
}

// The time of a server in the command's tree is part of the tree's.
func TestEngineCPUInTree(t *testing.T) {
	f := newProcFixture(t)
	d := testDiscovery(f.root)
	d.tree = proc.NewTree(f.root, vobsPID)
	target, err := scrape.ParseTarget("127.0.0.1:8000")
	if err != nil {
		t.Fatal(err)
	}
	d.prober.Add(target)
	processes, err := d.sockets.Table().Descendants(101)
	if err != nil {
		t.Fatal(err)
	}
	d.engines[target.Name()] = d.readEngineProcesses(processes)
	started := probe.Directory("/somewhere", true)
	d.prober.Add(started)
	use, err := d.engineCPU([]string{target.Name(), started.Name()})
	if err != nil || use != (engineUse{}) {
		t.Errorf("%+v, %v", use, err)
	}
}

func TestProfilerIn(t *testing.T) {
	for line, want := range map[string]string{
		"nsys profile -o x python serve.py":                           "nsys",
		"/opt/nvidia/bin/nsys launch vllm serve m":                    "nsys",
		"env A=1 nsys profile --trace-fork-before-exec=true python x": "nsys",
		"numactl -N 0 ncu --set full vllm serve m":                    "ncu",
		"timeout 10 rocprofv3 --hip-trace -- vllm serve m":            "rocprofv3",
		"nsys stats report.nsys-rep":                                  "",
		"python nsys profile":                                         "",
		"vllm serve m":                                                "",
		"vllm serve m --profiler-config.profiler torch":               "",
		"vllm bench throughput --model m --profile":                   "--profile",
		"vllm bench latency --model m":                                "",
		"vllm bench serve --model m --profile":                        "",
		"":                                                            "",
	} {
		if got := profilerIn(args.Parse(strings.Fields(line), "")); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestClockJump(t *testing.T) {
	from := time.Now()
	to := from.Add(5 * time.Second) // by both clocks
	if got := clockJump(from, to); got != 0 {
		t.Errorf("%v", got)
	}
}

// The engines are those at addresses that were read, that the user gave, or whose process is
// known, such as a server without samples.
func TestEngineNames(t *testing.T) {
	const known = "http://127.0.0.1:8000/metrics"
	_, d := serverFixture(t, known)
	for address, origin := range map[string]scrape.Origin{"127.0.0.1:1": scrape.FromFlag, "127.0.0.1:2": scrape.FromTree} {
		target, err := scrape.ParseTarget(address)
		if err != nil {
			t.Fatal(err)
		}
		target.Origin = origin
		d.prober.Add(target)
	}
	read := &schema.Engine{Endpoints: []schema.Endpoint{{URL: "http://127.0.0.1:3/metrics"}, {URL: known}}}
	for want, engine := range map[string]*schema.Engine{
		known + " http://127.0.0.1:1/metrics":                                 nil,
		"http://127.0.0.1:3/metrics " + known + " http://127.0.0.1:1/metrics": read,
	} {
		got := d.engineNames(engine)
		slices.Sort(got)
		wanted := strings.Fields(want)
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) {
			t.Errorf("%q, want %q", got, wanted)
		}
	}
}
