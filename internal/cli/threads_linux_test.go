package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/threads"
)

// threadsOf returns the ids of a process's threads, none if it has ended.
func threadsOf(pid int) (ids []string) {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids
}

// watchThreads checks, until p ends, that vobs creates no thread once the command has created
// the file up.
func (p *process) watchThreads(t *testing.T) {
	t.Helper()
	done, stop := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		var first []string
		samples := 0
		for {
			if first == nil {
				if _, err := os.Stat(filepath.Join(p.Dir, "up")); err == nil {
					first = threadsOf(p.Process.Pid)
				}
			} else {
				samples++
				ids := threadsOf(p.Process.Pid)
				if i := slices.IndexFunc(ids, func(id string) bool { return !slices.Contains(first, id) }); i >= 0 {
					name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/comm", p.Process.Pid, ids[i]))
					t.Errorf("thread %s (%s) was created while the command ran: there were %d threads before, now %d", ids[i], strings.TrimSpace(string(name)), len(first), len(ids))
					return
				}
			}
			select {
			case <-p.ended:
				if len(first) > threads.Max {
					t.Errorf("%d threads, want at most %d", len(first), threads.Max)
				}
				t.Logf("%d threads, seen %d times", len(first), samples)
				return
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
}

// Whatever vobs has to do while the command runs and afterwards, it does on the threads that
// existed before.
func TestThreads(t *testing.T) {
	t.Parallel()
	if threads.Max > 16 {
		t.Errorf("%d threads", threads.Max)
	}
	const wait = ": >up; until [ -e go ]; do sleep 0.02; done; exit 7"
	start := func(t *testing.T, p *process) {
		if err := p.launch(t); err != nil {
			t.Fatal(err)
		}
		p.watchThreads(t)
		p.waitFile(t, "up")
	}
	vobs := func(t *testing.T, command string, flags ...string) *process {
		return prepare(t, slices.Concat([]string{"vobs", "run", "-o", "e.json"}, flags, []string{"--", "sh", "-c", command})...)
	}
	finish := func(t *testing.T, p *process) {
		p.touch(t, "go")
		if got := p.finish(t); got != "7" {
			t.Errorf("vobs ended with %s; it said:\n%s", got, &p.output)
		}
		wantRun(t, p.event(t, "e.json"), "7", false)
	}
	t.Run("engines and signals", func(t *testing.T) {
		t.Parallel()
		var flags, urls []string
		for range 6 {
			e := prepare(t, "vllm", "serve", "m", "-ready", "address")
			if err := e.launch(t); err != nil {
				t.Fatal(err)
			}
			e.waitFile(t, "address")
			url, err := os.ReadFile(filepath.Join(e.Dir, "address"))
			if err != nil {
				t.Fatal(err)
			}
			urls = append(urls, string(url))
			// The name needs the resolver.
			flags = append(flags, "--metrics-url", strings.Replace(string(url), "127.0.0.1", "localhost", 1)+"/metrics")
		}
		flags = append(flags, "--metrics-url", "http://no-such-host.invalid/metrics")
		p := vobs(t, "trap : USR1; for url in "+strings.Join(urls, " ")+"; do client $url & done; wait; "+wait, flags...)
		start(t, p)
		for range 100 {
			p.send(t, syscall.SIGUSR1)
			time.Sleep(time.Millisecond)
		}
		finish(t, p)
	})
	t.Run("multiprocess files", func(t *testing.T) {
		t.Parallel()
		var files []*testkit.GaugeFile
		dir := t.TempDir()
		const gauge = "vllm:num_requests_running"
		for _, process := range []string{"11", "12", "13"} {
			files = append(files, testkit.NewGaugeFile(t, dir, process, gauge))
		}
		p := vobs(t, wait)
		p.Env = append(p.Env, "PROMETHEUS_MULTIPROC_DIR="+dir)
		start(t, p)
		for i := range 200 {
			for _, f := range files {
				f.Set(gauge, float64(i))
			}
			time.Sleep(10 * time.Millisecond)
		}
		finish(t, p)
	})
	for name, rule := range map[string]string{"GPUs": "", "a GPU that hangs": "\nrule nvmlDeviceGetTotalEnergyConsumption device=1 hang when=fault"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !cgo {
				t.Skip("SKIPPED: reading GPUs needs cgo: CGO_ENABLED=1, and gcc")
			}
			library := fakeNVML(t)
			p := vobs(t, wait)
			for name, text := range map[string]string{"gpu": twoGPUs + rule, "used": "3GiB\n", "energy": "5000\n"} {
				if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			p.Env = append(p.Env, "LD_LIBRARY_PATH="+library, "FAKE_NVML_SCRIPT="+filepath.Join(p.Dir, "gpu"), "FAKE_NVML_LOG="+filepath.Join(p.Dir, "calls"))
			start(t, p)
			p.eventually(t, func() error {
				calls, err := os.ReadFile(filepath.Join(p.Dir, "calls"))
				if n := bytes.Count(calls, []byte("nvmlDeviceGetMemoryInfo")); n < 100 {
					return fmt.Errorf("%d readings of the memory, %v", n, err)
				}
				return nil
			})
			if rule != "" {
				p.touch(t, "fault") // the last round hangs
			}
			finish(t, p)
		})
	}
	t.Run("a full stderr", func(t *testing.T) {
		t.Parallel()
		_, full := fullPipe(t)
		p := prepare(t, "vobs", "run", "-v", "--summary", "-o", "e.json", "--", "sh", "-c", wait)
		p.launchWith(t, nil, full)
		p.watchThreads(t)
		p.waitFile(t, "up")
		finish(t, p)
	})
}
