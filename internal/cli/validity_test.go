package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// doubts returns the messages of an event's notes with a code.
func doubts(e schema.GenerationObservability, code schema.Code) (messages []string) {
	for _, v := range e.Validity {
		if v.Code == code {
			messages = append(messages, v.Message)
		}
	}
	return messages
}

// ofMachine are the codes that a busy machine gives rise to in any run.
var ofMachine = []schema.Code{schema.CodeBusyHost, schema.CodeShortWindow, schema.CodeSparseSamples, schema.CodeGPUSamplingLate, schema.CodeScrapesFailed, schema.CodeScrapeCost}

// Of a clean run, one that starts its engine and outlives none of its requests, nothing is
// doubtful: only that the engine came up during the run, and that the power cap held the GPU
// back, is noted.
func TestCleanRun(t *testing.T) {
	t.Parallel()
	library := fakeNVML(t)
	dir := t.TempDir()
	gpu := "device 0\nname \"Simulated GPU\"\ntotal 80GiB\nreserved 600MiB\nused file " + dir + "/memory\nprocess pid=child mem=file:" + dir + "/memory\npower 300\nenergy rate 300 at=0\nthrottle sw_power_cap at=0s for=1h\n"
	script := "vobs demo-engine --memory-file memory --done done &\nread line <>done\n"
	for name, text := range map[string]string{"gpu": gpu, "generate.sh": script} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "done"), 0o666); err != nil {
		t.Fatal(err)
	}
	out := runVobs(t, dir, []string{"LD_LIBRARY_PATH=" + library, "FAKE_NVML_SCRIPT=" + filepath.Join(dir, "gpu")}, "run", "--strict", "--", "sh", "generate.sh")
	var e schema.GenerationObservability
	if err := json.Unmarshal(out, &e); err != nil {
		t.Fatal(err)
	}
	want := []schema.Code{schema.CodeEngineWarmedUp}
	if e.GPUs[0].ThrottledFraction != nil { // there were readings enough
		want = append(want, schema.CodeThrottled)
	}
	var got []schema.Code
	for _, v := range e.Validity {
		if slices.Contains(ofMachine, v.Code) {
			continue
		}
		got = append(got, v.Code)
		if v.Severity != schema.Info {
			t.Errorf("%s: %s", v.Code, v.Message)
		}
	}
	if !slices.Equal(got, want) || e.Engine == nil || e.Engine.Window.Final != "settled" {
		t.Errorf("%v, want %v: %s", got, want, testkit.JSON(e))
	}
}

// Another process that burns CPU time is noted. What the command burns is not charged to
// others, nor what its children burned that it has waited for.
func TestBusyHost(t *testing.T) {
	t.Parallel()
	// Two seconds of CPU time, however long it takes.
	const burn = "sh -c 'ulimit -t 2; while :; do :; done'"
	run := func(t *testing.T, command string) (e schema.GenerationObservability) {
		t.Helper()
		if err := json.Unmarshal(runVobs(t, t.TempDir(), nil, "run", "--", "sh", "-c", command), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	t.Run("another process", func(t *testing.T) {
		for range runtime.NumCPU()/4 + 1 {
			other := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = other.Process.Kill()
				_ = other.Wait()
			}()
		}
		e := run(t, "sleep 2")
		if got := doubts(e, schema.CodeBusyHost); len(got) == 0 || !strings.Contains(got[0], "other than the command's") {
			t.Errorf("%s", testkit.JSON(e.Validity))
		}
	})
	t.Run("the command", func(t *testing.T) {
		// The machine may be busy beside this. So the CPU time that others have is compared
		// with what they have while the command sleeps.
		others := func(e schema.GenerationObservability) (share float64) {
			for _, v := range e.Validity {
				if v.Code == schema.CodeBusyHost && strings.Contains(v.Message, "other than the command's") {
					share = v.Evidence.Value.(float64)
				}
			}
			return share
		}
		command := "(" + burn + " & " + burn + "; wait); true"
		for attempt := range 6 {
			asleep, burning := others(run(t, "sleep 2")), run(t, command)
			if cpu := float64(*burning.Host.TreeCPUSeconds); cpu < 3 {
				t.Fatalf("the command used only %.2f s of CPU time", cpu)
			}
			if others(burning) <= asleep+0.1 {
				return
			}
			t.Logf("attempt %d: others had %.2f of the CPUs beside the command, %.2f while it slept", attempt, others(burning), asleep)
		}
		t.Error("what the command burns is charged to others")
	})
}

// A gap is noted: here, both clocks advance by a minute at once.
func TestSparseSamples(t *testing.T) {
	t.Parallel()
	clock := newClock(t)
	server := newPageServer(t, recorded(t, "serve_default_pre"))
	p := prepare(t, append([]string{"vobs", "run", "-o", "e.json", "--scrape-interval", "20ms", "--metrics-url", server.listen(), "--"}, untilGo...)...)
	clock.drive(p)
	if err := p.launch(t); err != nil {
		t.Fatal(err)
	}
	p.waitFile(t, "up")
	server.await("the usual period is a small part of the gap", func() bool { return server.polls >= 30 })
	clock.pass(t, time.Minute)
	p.touch(t, "go")
	if got := p.finish(t); got != "5" {
		t.Errorf("vobs ended with %s", got)
	}
	e := p.event(t, "e.json")
	if got := doubts(e, schema.CodeSparseSamples); len(got) == 0 || !strings.Contains(strings.Join(got, "; "), "the engine was not sampled for") {
		t.Errorf("%q, %s", got, testkit.JSON(e.Engine.Scrapes))
	}
}
