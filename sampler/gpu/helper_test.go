//go:build linux && cgo

package gpu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// helperEnv makes the test binary, started anew, a program that samples: the
// dynamic loader reads LD_LIBRARY_PATH at a program's start only, and a driver
// that ends the process must end another one than the test.
const helperEnv = "VOBS_GPU_HELPER"

func init() {
	if text := os.Getenv(helperEnv); text != "" {
		os.Exit(helperMain(text))
	}
}

// helperConfig is what the helper is to do.
type helperConfig struct {
	Visible  *string
	Order    string
	Devices  []string
	Interval time.Duration
	Command  []string      // run as ours; else time passes for Run
	Run      time.Duration // how long the command lasts, without Command
	Strict   time.Duration // wait so long for Ready before the start
	NotOurs  bool          // the command's processes are not known
	ProcRoot string
	Leaks    bool // check for goroutines left
}

// helperResult is what it writes to stdout, as JSON.
type helperResult struct {
	Readings
	Ready    string
	Stop     time.Duration
	CPU      time.Duration // of the process between the start of the command and the end of Stop
	Accounts time.Duration // of it, what the memory thread measured of itself
	Ran      time.Duration
	PID      int
	Memory   map[int]int64
	Leak     string
}

func helperMain(text string) int {
	var c helperConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var r helperResult
	var mu sync.Mutex
	ours := map[int]bool{}
	cfg := Config{Visible: c.Visible, Order: c.Order, Devices: c.Devices, Interval: c.Interval, ProcRoot: c.ProcRoot}
	if !c.NotOurs {
		cfg.Ours = func() map[int]bool {
			mu.Lock()
			defer mu.Unlock()
			out := map[int]bool{}
			for pid := range ours {
				out[pid] = true
			}
			return out
		}
	}
	g := Start(cfg)
	if c.Strict > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), c.Strict)
		if err := g.Ready(ctx); err != nil {
			r.Ready = err.Error()
		}
		cancel()
	}
	before := processCPU()
	started := time.Now()
	g.CommandStarted(started)
	if len(c.Command) > 0 {
		cmd := exec.Command(c.Command[0], c.Command[1:]...)
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		mu.Lock()
		ours[cmd.Process.Pid] = true
		mu.Unlock()
		r.PID = cmd.Process.Pid
		_ = cmd.Wait()
	} else {
		mu.Lock()
		ours[1<<30] = true // a process that the driver never lists
		mu.Unlock()
		time.Sleep(c.Run)
	}
	r.Ran = time.Since(started)
	end := time.Now()
	r.Readings = g.Stop(r.Ran)
	r.Stop = time.Since(end)
	r.CPU = processCPU() - before
	if g.watch != nil {
		_, s := g.watch.read()
		r.Accounts = s.cpu
	}
	r.Memory = g.MemoryOf(map[int]bool{r.PID: true, 4242: true})
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

var builds sync.Map // of *sync.Once, by directory

// fakeLibrary builds the fake NVML library without some symbols, once for a
// version of its sources, and gives its directory.
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

// until is a line of shell for a helper's command: it waits until device 0 was asked
// so often from then on; call is a regular expression.
func until(call string, times int) string {
	return fmt.Sprintf("n=$(grep -c ' %s 0$' \"$DIR/calls\")\n", call) + ever(call, fmt.Sprintf("$((n + %d))", times))
}

// ever waits until device 0 was asked so often in all.
func ever(call, times string) string { return everOn(0, call, times) }

func everOn(device int, call, times string) string {
	return fmt.Sprintf("for i in $(seq 600); do [ $(grep -c ' %s %d$' \"$DIR/calls\") -ge %s ] && break; sleep 0.05; done\n", call, device, times)
}

// listed is a line of shell that waits until the command's process was listed: the
// first of two lists may have been made before it was there.
var listed = until("nvmlDeviceGetComputeRunningProcesses[_v23]*", 2)

// run samples in a helper process on a fake driver with this script, in which $DIR is
// a folder of its own that the command knows too, and fails the test unless that ends
// with exit code 0 in time.
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
		t.Fatalf("the helper: %v (exit code %d)\n%s", err, cmd.ProcessState.ExitCode(), stderr.String())
	}
	var r helperResult
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v in %q", err, stdout.String())
	}
	if r.Leak != "" {
		t.Errorf("goroutines left: %s", r.Leak)
	}
	if problems := unexplainedNulls(r.Readings); len(problems) > 0 {
		t.Errorf("nulls without a reason: %s", strings.Join(problems, ", "))
	}
	return r
}
