package observe

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe"
	"github.com/vobs/vobs/probe/scrape"
	"github.com/vobs/vobs/sampler/proc"
)

// runningGauge is the gauge in the files of these tests.
const runningGauge = "vllm:num_requests_running"

// local returns the target of a server in this process.
func local(t *testing.T, handler http.Handler) scrape.Target {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	target, err := scrape.ParseTarget(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if pid, _ := listenerOf(socketsIn("/proc"), target); pid != os.Getpid() {
		t.Skip("SKIPPED: /proc does not show who listens here")
	}
	return target
}

// apiProcess is a child of the process that listens, as vLLM's API servers are: it has
// PROMETHEUS_MULTIPROC_DIR in its environment, and its own file of gauges open.
type apiProcess struct {
	pid  string
	stop func()
}

func startAPIProcess(t *testing.T, value, cwd string) apiProcess {
	t.Helper()
	cmd := exec.Command("sh", "-c", `exec 3>>"$PROMETHEUS_MULTIPROC_DIR/gauge_mostrecent_$$.db"; echo $$; read -r line`)
	cmd.Env = append(os.Environ(), "PROMETHEUS_MULTIPROC_DIR="+value)
	cmd.Dir = cwd
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("SKIPPED: no shell: ", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	p := apiProcess{pid: strings.TrimSpace(line)}
	p.stop = func() {
		if !ended {
			ended = true
			stdin.Close()
			_ = cmd.Wait() // it has read the end of its input
		}
	}
	t.Cleanup(p.stop)
	return p
}

func (p apiProcess) file() string { return "gauge_mostrecent_" + p.pid + ".db" }

// The directory is that of a process of the server that has a file there open, whatever the
// form of the variable. Files of ended processes, and of those that only have the name, do
// not count.
func TestFindServerFiles(t *testing.T) {
	target := local(t, nil)
	debug := func(message string) { t.Log(message) }
	if f, err := findServerFiles("/proc", socketsIn("/proc"), target, debug); f != nil || err != nil {
		t.Fatalf("without a process that shares its metrics: %v, %v", f, err)
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "db")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ value, cwd string }{{dir, ""}, {"db", parent}, {"./db/", parent}} {
		first, second := startAPIProcess(t, c.value, c.cwd), startAPIProcess(t, c.value, c.cwd)
		f, err := findServerFiles("/proc", socketsIn("/proc"), target, debug)
		if err != nil || f == nil || f.Dir != dir {
			t.Fatalf("%+v: %+v, %v; want %s", c, f, err, dir)
		}
		if !f.Writes(first.pid, first.file()) || !f.Writes(second.pid, second.file()) {
			t.Errorf("%+v: the files of living processes do not count", c)
		}
		me := strconv.Itoa(os.Getpid())
		if err := os.WriteFile(filepath.Join(dir, "gauge_mostrecent_"+me+".db"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{me, "1", "host_1", "999999999"} {
			if f.Writes(name, "gauge_mostrecent_"+name+".db") {
				t.Errorf("%+v: the file of %s counts, which does not have it open", c, name)
			}
		}
		second.stop()
		if !f.Writes(first.pid, first.file()) || f.Writes(second.pid, second.file()) {
			t.Errorf("%+v: the file of an ended process counts, or that of a living one does not", c)
		}
		third := startAPIProcess(t, c.value, c.cwd)
		testkit.Await(t, "the file of a process that started later", func() bool { return f.Writes(third.pid, third.file()) })
		first.stop()
		third.stop()
		if f, err := findServerFiles("/proc", socketsIn("/proc"), target, debug); f != nil || err != nil {
			t.Errorf("%+v: after the processes: %v, %v", c, f, err)
		}
	}
}

// What cannot be used is an error, and a line for -v: the page is polled as before.
func TestUnusableServerFiles(t *testing.T) {
	target := local(t, nil)
	var lines []string
	debug := func(message string) { lines = append(lines, message) }
	dir := filepath.Join(t.TempDir(), "db")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := startAPIProcess(t, dir, "")
	check := func(what, want string) {
		t.Helper()
		lines = nil
		if f, err := findServerFiles("/proc", socketsIn("/proc"), target, debug); f != nil || err == nil || !strings.Contains(strings.Join(lines, "\n"), want) {
			t.Errorf("%s: %v, %v, %q", what, f, err, lines)
		}
	}
	if err := os.Rename(filepath.Join(dir, p.file()), filepath.Join(dir, "gauge_mostrecent_1.db")); err != nil {
		t.Fatal(err)
	}
	check("no file under the process's own pid", "no process of the server that is alive")
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		check("not permitted", "permission denied")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	check("gone", "no such file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("a file", "not a directory")
	elsewhere, err := scrape.ParseTarget("http://192.0.2.1:8000")
	if err != nil {
		t.Fatal(err)
	}
	if f, err := findServerFiles("/proc", socketsIn("/proc"), elsewhere, debug); f != nil || err == nil {
		t.Errorf("a server of another host: %v, %v", f, err)
	}
}

// In a container the process has another root directory, and no name of the directory is
// valid outside.
func TestProcessPath(t *testing.T) {
	procRoot, host := t.TempDir(), t.TempDir()
	dir, container := filepath.Join(host, "db"), t.TempDir()
	link := func(pid, name, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(procRoot, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(procRoot, pid, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Join(container, dir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link("7", "root", "/")
	link("7", "cwd", host)
	link("8", "root", container)
	link("8", "cwd", filepath.Join(container, host))
	for _, c := range []struct {
		pid       int
		dir, want string
	}{
		{7, dir, dir},
		{7, "db", dir},
		{7, "../" + filepath.Base(host) + "/db", dir},
		{7, "absent", filepath.Join(procRoot, "7/cwd/absent")},
		{8, dir, filepath.Join(procRoot, "8/root", dir)},
		{8, "db", filepath.Join(container, dir)},
		{9, dir, filepath.Join(procRoot, "9/root", dir)},
		{9, "db", filepath.Join(procRoot, "9/cwd/db")},
	} {
		if got := processPath(procRoot, c.pid, c.dir); got != c.want {
			t.Errorf("process %d, %s: %s, want %s", c.pid, c.dir, got, c.want)
		}
	}
}

// A server whose page shows one process's view, and the files of two: from its address to
// the event.
func TestGaugesOfServerFiles(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		const labels = `{engine="0",model_name="m"}`
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# TYPE %s gauge\n%s%s 1\n", runningGauge, runningGauge, labels)
		fmt.Fprintf(w, "# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc%s 0.1\n", labels)
		fmt.Fprintf(w, "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total%s %d\n", labels, time.Now().UnixMilli())
	}
	target := local(t, http.HandlerFunc(page))
	dir := t.TempDir()
	first, second := startAPIProcess(t, dir, ""), startAPIProcess(t, dir, "")
	one := testkit.NewGaugeFile(t, dir, first.pid, runningGauge)
	two := testkit.NewGaugeFile(t, dir, second.pid, runningGauge)
	testkit.NewGaugeFile(t, dir, "999999999", runningGauge).SetAt(runningGauge, 99, time.Now().Add(time.Hour))
	one.Set(runningGauge, 3)
	p := probe.New(probe.Config{
		Interval: 5 * time.Millisecond,
		ServerFiles: func(target scrape.Target) (*probe.ServerFiles, error) {
			return findServerFiles("/proc", socketsIn("/proc"), target, func(message string) { t.Log(message) })
		},
	})
	p.Add(target)
	p.ScrapeBaseline(context.Background())
	p.Start(time.Now())
	peak := func() float64 {
		out := p.Snapshot(time.Now())
		if out.Engine == nil || out.Engine.Requests.Running == nil {
			return 0
		}
		value, _ := out.Engine.Requests.Running.Peak.Value()
		return value
	}
	testkit.Await(t, "the value of the first process", func() bool { return peak() == 3 })
	two.Set(runningGauge, 8)
	testkit.Await(t, "the value of the second process", func() bool { return peak() == 8 })
	second.stop()
	testkit.Await(t, "the value of the process that is left", func() bool {
		out := p.Snapshot(time.Now())
		return *out.Engine.Requests.Running.Last == 3
	})
	out := p.Finish(context.Background(), time.Now())
	if e := out.Engine.Endpoints[0]; e.GaugesFrom == nil || *e.GaugesFrom != "multiprocess" || *out.Engine.Requests.Running.Peak != 8 {
		t.Errorf("%s, %s", testkit.JSON(e), testkit.JSON(out.Engine.Requests))
	}
}

// An unknown file is not looked for again and again.
func TestStaleFilesCostLittle(t *testing.T) {
	s := &serverProcesses{procRoot: t.TempDir(), table: proc.NewTable(t.TempDir()), dir: t.TempDir(), root: os.Getpid(), writers: map[string]writer{}, processes: []proc.Process{{PID: os.Getpid()}}, listedAt: time.Now()}
	for range 3 {
		if s.writes("1", "gauge_all_1.db") || s.writers["gauge_all_1.db"].final {
			t.Fatal("a file without a writer has one, or is not looked for once more")
		}
	}
	s.listedAt = s.listedAt.Add(-2 * writerRetry)
	s.writes("1", "gauge_all_1.db")
	if !s.writers["gauge_all_1.db"].final {
		t.Error("the search goes on")
	}
}
