package observe

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

func testDiscovery(procRoot string) *discovery {
	return newDiscovery(discoveryConfig{procRoot: procRoot, sockets: socketsIn(procRoot), prober: probe.New(probe.Config{}), debug: func(string) {}})
}

func TestMayServe(t *testing.T) {
	for comm, want := range map[string]bool{
		"vllm": true, "python3.12": true, "python": true, "pt_main_thread": true, "VLLM::APIServer": true, "ray::worker": true, "uv": true, "vobs": true,
		"sh": false, "sleep": false, "nginx": false, "": false, "ipython": false,
	} {
		if got := mayServe(comm); got != want {
			t.Errorf("mayServe(%q) = %v", comm, got)
		}
	}
}

func TestIsDemoEngine(t *testing.T) {
	for line, want := range map[string]bool{
		"vobs demo-engine": true, "/x/bin/vobs demo-engine --listen 1": true,
		"vobs run -- vobs demo-engine": false, "vobs": false, "demo-engine": false, "": false, "xvobs demo-engine": false,
	} {
		if got := isDemoEngine(strings.Fields(line)); got != want {
			t.Errorf("isDemoEngine(%q) = %v", line, got)
		}
	}
}

func TestStatedPort(t *testing.T) {
	for line, want := range map[string]int{
		"vllm serve m": 8000, "vllm serve m --port 1234": 1234, "vllm serve m --host 10.1.2.3 --port=99": 99, "vllm serve m --host somewhere --port 7": 0,
		"vllm serve m --host ::1 --port 8": 8, "vllm serve m --uds /x.sock": 0,
	} {
		c := probe.ReadCommandLine(args.Parse(strings.Fields(line), ""))
		if len(c.Targets) != 1 {
			t.Fatalf("%s: %d targets", line, len(c.Targets))
		}
		if got := statedPort(c.Targets[0]); got != want {
			t.Errorf("%s: port %d, want %d", line, got, want)
		}
	}
}

func TestAddListeners(t *testing.T) {
	tcp := func(address string) proc.Listener {
		a := netip.MustParseAddrPort(address)
		return proc.Listener{Network: "tcp", Addr: a.Addr().String(), Port: int(a.Port())}
	}
	unix := func(path string) proc.Listener { return proc.Listener{Network: "unix", Addr: path} }
	var many []proc.Listener
	for port := range uint16(20) {
		many = append(many, tcp(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 9000+port).String()))
	}
	for _, c := range []struct {
		name      string
		line      string
		listeners []proc.Listener
		foreign   string
		want      []string
		exact     bool
	}{
		{"the stated port alone", "vllm serve m --port 81", []proc.Listener{tcp("127.0.0.1:80"), tcp("0.0.0.0:81"), tcp("127.0.0.1:82")}, "", []string{"http://127.0.0.1:81/metrics"}, false},
		{"every port if none is stated", "python server.py", []proc.Listener{tcp("127.0.0.1:80"), tcp("[::1]:81")}, "", []string{"http://127.0.0.1:80/metrics", "http://[::1]:81/metrics"}, false},
		{"every port if the stated one is not open", "vllm serve m --port 0", []proc.Listener{tcp("127.0.0.1:4711")}, "", []string{"http://127.0.0.1:4711/metrics"}, false},
		{"all addresses of the host", "python server.py", []proc.Listener{tcp("0.0.0.0:80"), tcp("[::]:81")}, "", []string{"http://127.0.0.1:80/metrics", "http://[::1]:81/metrics"}, false},
		{"the scheme of the command line", "vllm serve m --port 81 --ssl-keyfile k", []proc.Listener{tcp("127.0.0.1:81")}, "", []string{"https://127.0.0.1:81/metrics"}, false},
		{"the stated socket", "vllm serve m --uds /x/y.sock", []proc.Listener{unix("/other"), unix("/x/y.sock"), tcp("127.0.0.1:80")}, "", []string{"unix:///x/y.sock"}, false},
		{"no other unix socket", "python server.py", []proc.Listener{unix("/tmp/zmq"), unix("@abstract")}, "", nil, false},
		{"a foreign address", "vllm serve m --port 81", []proc.Listener{tcp("127.0.0.1:81")}, "http://127.0.0.1:81/metrics", nil, false},
		{"not too many", "python server.py", many, "", nil, false},
		{"a quiet access log", "vllm serve m --port 81 --disable-access-log-for-endpoints /metrics,/health", []proc.Listener{tcp("127.0.0.1:81")}, "", []string{"http://127.0.0.1:81/metrics"}, true},
		{"max_num_seqs", "vllm serve m --port 81 --max-num-seqs 5", []proc.Listener{tcp("127.0.0.1:81")}, "", []string{"http://127.0.0.1:81/metrics"}, false},
		{"an invalid address", "python server.py", []proc.Listener{{Network: "tcp", Addr: "x", Port: 1}}, "", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := testDiscovery("/proc")
			d.foreign[c.foreign] = true
			line := args.Parse(strings.Fields(c.line), "")
			d.addListeners(processCommandLine{line: line, engines: probe.ReadCommandLine(line)}, c.listeners)
			var got []string
			for _, target := range d.prober.Targets() {
				got = append(got, target.Name())
				if want := map[bool]int{true: 5}[strings.Contains(c.line, "--max-num-seqs 5")]; target.MaxNumSeqs != want {
					t.Errorf("max_num_seqs %d, want %d", target.MaxNumSeqs, want)
				}
				if target.Origin != scrape.FromTree || !target.Started || target.ExactPath != c.exact {
					t.Errorf("%s: %+v", target.Name(), target)
				}
			}
			if c.name == "not too many" {
				if len(got) != maxListeners {
					t.Errorf("%d addresses", len(got))
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// --max-num-seqs of a server that was up before the run comes from its command line, or
// from that of its parent if a title replaces it.
func TestReadServerFlags(t *testing.T) {
	root := t.TempDir()
	for pid, line := range map[string]string{
		"10": "python /venv/bin/vllm serve m --max-num-seqs 64", "11": "VLLM::APIServer_0      ", "12": "/bin/sh /x/proxy.sh", "13": "bash -c vllm serve m --max-num-seqs 7",
	} {
		if err := os.Mkdir(filepath.Join(root, pid), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, pid, "cmdline"), []byte(strings.ReplaceAll(line, " ", "\x00")), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		pids []int
		want int
	}{{[]int{10, 13}, 64}, {[]int{11, 10}, 64}, {[]int{12, 13}, 0}, {[]int{99, 10}, 64}, {nil, 0}} {
		d := testDiscovery(root)
		target, err := scrape.ParseTarget("http://127.0.0.1:8000")
		if err != nil {
			t.Fatal(err)
		}
		d.prober.Add(target)
		d.readServerFlags(target, c.pids...)
		if got := d.prober.Targets()[0].MaxNumSeqs; got != c.want {
			t.Errorf("processes %v: max_num_seqs %d, want %d", c.pids, got, c.want)
		}
	}
}

// The command line of a process is parsed once, unless it changes.
func TestCommandLineOfAProcess(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "7"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(line string) {
		if err := os.WriteFile(filepath.Join(root, "7", "cmdline"), []byte(strings.ReplaceAll(line, " ", "\x00")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := testDiscovery(root)
	parsed := func(startTicks uint64) (p *args.Options, port string) {
		l, ok := d.commandLine(proc.Process{PID: 7, StartTicks: startTicks})
		if !ok || len(l.engines.Targets) != 1 {
			t.Fatalf("%+v, %v", l, ok)
		}
		return l.line.Options, l.engines.Targets[0].URL.Port()
	}
	write("vllm serve m --port 81")
	first, port := parsed(1)
	if again, _ := parsed(1); again != first || port != "81" {
		t.Error("parsed twice, or wrongly: port", port)
	}
	if other, _ := parsed(2); other == first {
		t.Error("another process with the same pid has the first one's command line")
	}
	write("vllm serve m --port 82")
	if other, port := parsed(2); other == first || port != "82" {
		t.Error("after an exec: port", port)
	}
	if _, ok := d.commandLine(proc.Process{PID: 8}); ok {
		t.Error("a process that has ended has a command line")
	}
}

// The arguments of a client among the command's processes name an engine if it is on this
// host, and those of docker run the port that they publish.
func TestAddArguments(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want string
	}{
		{strings.Fields("python client.py --url http://127.0.0.1:81/v1"), "http://127.0.0.1:81/metrics"},
		{strings.Fields("client --url localhost:81"), "http://localhost:81/metrics"},
		{strings.Fields("vllm bench serve --model m"), "http://127.0.0.1:8000/metrics"},
		{[]string{"/bin/sh", "-c", "python client.py --url http://127.0.0.1:81 --n 5"}, "http://127.0.0.1:81/metrics"},
		{strings.Fields("docker run -p 81:8000 vllm/vllm-openai m"), "http://127.0.0.1:81/metrics"},
		{strings.Fields("docker run -p 10.0.0.1:81:8000 vllm/vllm-openai m"), ""},
		{strings.Fields("python client.py --url http://far:81"), ""},
		{strings.Fields("python client.py --url http://10.0.0.1:81"), ""},
		{strings.Fields("vllm serve m --port 81"), ""}, // its listeners are found
		{strings.Fields("client --url http://127.0.0.1:66"), ""},
		{nil, ""},
	} {
		d := testDiscovery("/proc")
		d.foreign["http://127.0.0.1:66/metrics"] = true
		line := args.Parse(c.argv, "")
		for range 2 {
			d.addArguments(proc.Process{PID: 7}, processCommandLine{line: line, engines: probe.ReadCommandLine(line)})
		}
		var names []string
		for _, target := range d.prober.Targets() {
			names = append(names, target.Name())
			if target.Origin != scrape.FromTree || target.Started {
				t.Errorf("%q: %+v", c.argv, target)
			}
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.argv, got, c.want)
		}
	}
}

// The arguments of a process are read twice under each of its names.
func TestNeedsReading(t *testing.T) {
	d := testDiscovery("/proc")
	shell, client := proc.Process{PID: 7, PPID: 1, StartTicks: 5, Comm: "sh"}, proc.Process{PID: 7, PPID: 2, StartTicks: 5, Comm: "timeout"}
	next := proc.Process{PID: 7, PPID: 1, StartTicks: 6, Comm: "timeout"}
	for i, c := range []struct {
		process proc.Process
		want    bool
	}{{shell, true}, {shell, true}, {shell, false}, {client, true}, {client, true}, {client, false}, {next, true}, {next, true}, {next, false}} {
		if got := d.needsReading(c.process, false); got != c.want {
			t.Errorf("%d: %+v: %v", i, c.process, got)
		}
	}
}

// If many processes are new, only those are read that are still there in the next look.
func TestNeedsReadingOfMany(t *testing.T) {
	d := testDiscovery("/proc")
	p := proc.Process{PID: 7, PPID: 1, StartTicks: 5, Comm: "sh"}
	for i, want := range []bool{false, true, true, false} {
		if got := d.needsReading(p, true); got != want {
			t.Errorf("look %d: %v, want %v", i, got, want)
		}
	}
}

// The metrics directory of an engine's process is found in its environment, once. Its
// counters count from zero unless it has files from before the run.
func TestFindMetricsDir(t *testing.T) {
	procRoot := t.TempDir()
	environ := func(pid, env string) {
		if err := os.Mkdir(filepath.Join(procRoot, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(procRoot, pid, "environ"), []byte(env), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	started := time.Now()
	fresh, old := t.TempDir(), t.TempDir()
	for dir, at := range map[string]time.Time{fresh: started.Add(time.Second), old: started.Add(-time.Second)} {
		name := filepath.Join(dir, "counter_7.db")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	environ("7", "HOME=/root\x00PROMETHEUS_MULTIPROC_DIR="+fresh+"\x00")
	environ("8", "PROMETHEUS_MULTIPROC_DIR="+old)
	environ("9", "PROMETHEUS_MULTIPROC_DIR=relative\x00PROMETHEUS_MULTIPROC_DIRS=/x")
	environ("10", "")
	find := func(metricsDirs bool) map[string]bool {
		prober := probe.New(probe.Config{})
		d := newDiscovery(discoveryConfig{procRoot: procRoot, sockets: socketsIn(procRoot), prober: prober, metricsDirs: metricsDirs, debug: func(string) {}})
		d.started = started
		for _, pid := range []int{7, 7, 8, 9, 10, 11} {
			d.findMetricsDir(proc.Process{PID: pid})
		}
		found := map[string]bool{}
		for _, t := range prober.Targets() {
			found[t.Dir] = t.Started
		}
		return found
	}
	found := find(true)
	if isFresh, ok := found[fresh]; !ok || !isFresh {
		t.Errorf("the fresh directory: %v", found)
	}
	if isFresh, ok := found[old]; !ok || isFresh {
		t.Errorf("the directory with files from before the run: %v", found)
	}
	if len(found) != 2 {
		t.Errorf("found %v", found)
	}
	if found := find(false); len(found) != 0 {
		t.Errorf("--multiproc off found %v", found)
	}
}
