//go:build linux && cgo

package gpu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vobs/vobs/internal/curve"
)

// helperEnv makes a new process of the test binary a program that samples: the dynamic
// loader reads LD_LIBRARY_PATH only when a program starts, and a driver that ends the
// process must not end the test.
const helperEnv = "VOBS_GPU_HELPER"

func init() {
	if text := os.Getenv(helperEnv); text != "" {
		os.Exit(helperMain(text))
	}
}

// helperConfig configures the helper process.
type helperConfig struct {
	Visible  *string
	Order    string
	Devices  []string
	Interval time.Duration
	Command  []string      // the command; its process is owned
	Run      time.Duration // without Command: how long to sleep instead
	Strict   time.Duration // longest wait for Ready before the start; 0: do not wait
	Leaks    bool          // check for goroutine leaks
}

// helperResult is the helper's output, as JSON.
type helperResult struct {
	Readings
	Ready     string        // the error of Ready
	Stop      time.Duration // how long Stop took
	CPU       time.Duration // of the process, from the start of the command to the end of Stop
	ThreadCPU time.Duration // the part of it that the memory thread measured
	Ran       time.Duration // how long the command ran
	PID       int           // of the command
	Memory    map[int]int64 // from MemoryOf
	Leak      string
	Slots     map[string][]curve.Slot // of Readings.Curves
}

func helperMain(text string) int {
	var c helperConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var r helperResult
	var mu sync.Mutex
	owned := map[int]bool{}
	s := Start(Config{
		Visible: c.Visible, Order: c.Order, Devices: c.Devices, Interval: c.Interval,
		OwnedPIDs: func() map[int]bool {
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(owned)
		},
	})
	if c.Strict > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), c.Strict)
		if err := s.Ready(ctx); err != nil {
			r.Ready = err.Error()
		}
		cancel()
	}
	before := processCPU()
	started := time.Now()
	s.CommandStarted(started)
	if len(c.Command) > 0 {
		cmd := exec.Command(c.Command[0], c.Command[1:]...)
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		mu.Lock()
		owned[cmd.Process.Pid] = true
		mu.Unlock()
		r.PID = cmd.Process.Pid
		_ = cmd.Wait()
	} else {
		mu.Lock()
		owned[1<<30] = true // a process that the driver never lists
		mu.Unlock()
		time.Sleep(c.Run)
	}
	r.Ran = time.Since(started)
	end := time.Now()
	r.Readings = s.Stop(r.Ran)
	r.Stop = time.Since(end)
	r.Slots = map[string][]curve.Slot{}
	for _, f := range r.Readings.Curves {
		r.Slots[f.Name] = f.Slots(f.Width(), curve.Count(r.Ran, f.Width()))
	}
	r.Readings.Curves = nil
	r.CPU = processCPU() - before
	if s.watcher != nil {
		_, state := s.watcher.read()
		r.ThreadCPU = state.cpu
	}
	r.Memory = s.MemoryOf(map[int]bool{r.PID: true, 4242: true})
	if c.Leaks {
		if err := goleak.Find(); err != nil {
			r.Leak = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var builds sync.Map // *sync.Once by directory

// fakeLibrary builds the fake NVML library without some symbols, once per version of its
// sources, and returns its directory.
func fakeLibrary(t *testing.T, missing ...string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("SKIPPED: the fake NVML library needs gcc: install it (apt-get install gcc libc6-dev)")
	}
	src := filepath.Join("..", "..", "testdata", "fakenvml")
	sum := sha256.New()
	for _, name := range []string{"build.sh", "fakenvml.c", "fakenvml.h", "script.c"} {
		text, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	fmt.Fprint(sum, missing)
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("vobs-fakenvml-%d", os.Getuid()), fmt.Sprintf("%x", sum.Sum(nil)[:8]))
	once, _ := builds.LoadOrStore(dir, &sync.Once{})
	once.(*sync.Once).Do(func() {
		if _, err := os.Stat(filepath.Join(dir, "libnvidia-ml.so.1")); err == nil {
			return
		}
		cmd := exec.Command(filepath.Join(src, "build.sh"), append([]string{dir}, missing...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("building the fake NVML library: %v\n%s", err, out)
		}
	})
	if _, err := os.Stat(filepath.Join(dir, "libnvidia-ml.so.1")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// until returns shell code for a helper's command that waits for this many further calls
// for device 0; call is a regular expression.
func until(call string, times int) string {
	return fmt.Sprintf("n=$(grep -c ' %s 0$' \"$DIR/calls\")\n", call) + untilTotal(call, fmt.Sprintf("$((n + %d))", times))
}

// untilTotal returns shell code that waits for this many calls for device 0 in all.
func untilTotal(call, times string) string { return untilTotalOn(0, call, times) }

// untilTotalOn is untilTotal for any device.
func untilTotalOn(device int, call, times string) string {
	return fmt.Sprintf("for i in $(seq 600); do [ $(grep -c ' %s %d$' \"$DIR/calls\") -ge %s ] && break; sleep 0.05; done\n", call, device, times)
}

// untilListed is shell code that waits until the command's process was listed. It waits
// for two lists: the first one may have been made before the process existed.
var untilListed = until("nvmlDeviceGetComputeRunningProcesses[_v23]*", 2)

// untilMeasured is shell code that waits until every gauge has three readings inside the
// command's run, the processes two lists. A call is logged before it returns.
var untilMeasured = until("nvmlDeviceGetCurrentClocks[A-Za-z]*", minGaugeReadings+1) + untilTotal("nvmlDeviceGetComputeRunningProcesses[_v23]*", "3")

// run samples in a helper process with the fake library and this script. $DIR in the
// script is a temporary directory, which the command has in its environment too. It fails
// the test unless the helper exits with code 0 in time.
func (c helperConfig) run(t *testing.T, library, script string, env ...string) helperResult {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "script")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(script, "$DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+string(text), "FAKE_NVML_SCRIPT="+path, "FAKE_NVML_LOG="+filepath.Join(dir, "calls"), "DIR="+dir, "LD_LIBRARY_PATH="+library)
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("helper process: %v (exit code %d)\n%s", err, cmd.ProcessState.ExitCode(), stderr.String())
	}
	var r helperResult
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v in %q", err, stdout.String())
	}
	if r.Leak != "" {
		t.Errorf("leaked goroutines: %s", r.Leak)
	}
	if problems := unexplainedNulls(r.Readings); len(problems) > 0 {
		t.Errorf("nulls without a reason: %s", strings.Join(problems, ", "))
	}
	return r
}
