package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/schema"
)

func init() {
	programs["until-called"] = func() { os.Exit(untilCalledMain(os.Args[1:])) }
	programs["fault"] = func() { os.Exit(faultMain(os.Args[1:])) }
}

// gpuFault is a way in which a GPU or its driver misbehaves, and what the event must then
// contain. Nothing in it depends on the machine's speed: the command waits until its memory
// was sampled, triggers the fault, and waits until it has happened.
type gpuFault struct {
	without []string // symbols that the library lacks
	script  string   // of the fake library; the file "used" has 3 GiB at first
	env     []string
	inside  []string // a program that runs vobs
	command string   // of sh; it ends with code 3

	want    map[string]string // paths of the event and their JSON; /…/ is a regular expression
	reasons map[string]string // fields of `unavailable` and regular expressions; no other figure of a GPU may be null
	doubts  map[string]string // codes of `validity` about GPUs and regular expressions; no other may be there
	loose   bool              // which other figures there are depends on the machine's speed
}

// latestExit bounds what vobs adds after the command's end, exitNoise what a busy machine
// adds to that.
const (
	latestExit = 2 * time.Second
	exitNoise  = 1500 * time.Millisecond
)

// Whatever the GPU does, the command ends as it would, vobs ends at most 2 s later, and the
// event keeps what was sampled and says what was not, and why.
func TestGPUFaults(t *testing.T) {
	t.Parallel()
	if !cgo {
		t.Skip("SKIPPED: reading GPUs needs cgo: CGO_ENABLED=1, and gcc")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("SKIPPED: the fake NVML library needs gcc: install it (apt-get install gcc libc6-dev)")
	}
	for name, fault := range gpuFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dir string
			var event []byte
			for attempt := 1; ; attempt++ {
				dir = t.TempDir()
				var late time.Duration
				if event, late = fault.run(t, dir); late <= latestExit+exitNoise {
					break
				}
				t.Logf("vobs ended %v after the command", late)
				if attempt == 4 { // pauses of the machine come and go, a fault of vobs does not
					t.Errorf("vobs ended too late %d times", attempt)
					break
				}
			}
			if _, problems, err := schema.ValidateStream(bytes.NewReader(event), schema.Options{Strict: true}); err != nil || len(problems) > 0 {
				t.Errorf("not valid: %v %v", err, problems)
			}
			var e schema.GenerationObservability
			if err := json.Unmarshal(event, &e); err != nil {
				t.Fatal(err)
			}
			if nulls := schema.UnexplainedNulls(&e); len(nulls) > 0 {
				t.Errorf("nulls without a reason: %v", nulls)
			}
			if e.Run.ExitCode == nil || *e.Run.ExitCode != 3 || e.Partial {
				t.Errorf("exit code %s, partial %v", text(e.Run.ExitCode), e.Partial)
			}
			fault.check(t, event, &e)
			if t.Failed() {
				t.Logf("the event: %s", event)
				t.Logf("the driver's calls:\n%s", lastCalls(filepath.Join(dir, "calls")))
			}
		})
	}
}

// run brackets the command and returns the event, and how long after the command vobs ended.
func (f gpuFault) run(t *testing.T, dir string) (event []byte, late time.Duration) {
	t.Helper()
	library, err := buildNVML(f.without...)
	if err != nil {
		t.Fatal(err)
	}
	inside := slices.Clone(f.inside)
	if len(inside) > 0 {
		if os.Geteuid() != 0 {
			inside = append(inside, "--map-root-user")
		}
		if out, err := exec.Command(inside[0], append(inside[1:], "true")...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: %s cannot be had here (%v: %s): run the test as root, or where namespaces may be made", strings.Join(inside, " "), err, bytes.TrimSpace(out))
		}
	}
	for name, text := range map[string]string{"gpu": f.script, "used": "3GiB\n", "energy": "5000\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	// Longer than any bound checked here: what hangs must not outlive the test.
	ctx, cancel := context.WithTimeout(t.Context(), 2*samplingPatience)
	defer cancel()
	args := append(inside, "vobs", "run", "-o", "e.json", "--", "sh", "-c", f.command+"\n: >ended; exit 3")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+library, "FAKE_NVML_SCRIPT="+filepath.Join(dir, "gpu"), "FAKE_NVML_LOG="+filepath.Join(dir, "calls"))
	cmd.Env = append(cmd.Env, f.env...)
	t.Cleanup(func() { endProcessesIn(dir) })
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	ended := time.Now()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("vobs ended with %v, want the command's 3", err)
	}
	if output.Len() > 0 {
		t.Errorf("output: %s", output.String())
	}
	mark, err := os.Stat(filepath.Join(dir, "ended"))
	if err != nil {
		t.Fatalf("the command did not come to its end: %v\n%s", err, lastCalls(filepath.Join(dir, "calls")))
	}
	event, err = os.ReadFile(filepath.Join(dir, "e.json"))
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.partial")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return event, ended.Sub(mark.ModTime())
}

// check compares the event with what it should contain about the GPUs.
func (f gpuFault) check(t *testing.T, event []byte, e *schema.GenerationObservability) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(event))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	for path, want := range f.want {
		v, err := at(doc, path)
		if err != nil {
			t.Error(err)
			continue
		}
		got, isString := v.(string)
		if !isString {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if want != got && !(strings.HasPrefix(want, "/") && regexp.MustCompile(strings.Trim(want, "/")).MatchString(got)) {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}

	reasons := map[string]string{}
	for _, u := range e.Unavailable {
		reasons[u.Field] += u.Reason + "\n"
	}
	for field, want := range f.reasons {
		if !regexp.MustCompile(want).MatchString(reasons[field]) {
			t.Errorf("the reason of %s is %q, want %q", field, reasons[field], want)
		}
	}
	// These are in every event, or depend on the machine's speed.
	always := regexp.MustCompile(`\.(torch|energy_active_joules|idle_watts|sm_active|sm_occupancy|tensor_active|dram_active|activity_source|baseline_bytes|sampling\..*)$`)
	for _, field := range slices.Sorted(maps.Keys(reasons)) {
		if strings.HasPrefix(field, "gpus") && f.reasons[field] == "" && !always.MatchString(field) && !f.loose {
			t.Errorf("%s is null: %s", field, reasons[field])
		}
	}

	doubts := map[string]string{}
	for _, v := range e.Validity {
		doubts[string(v.Code)] += v.Message + "\n"
	}
	for code, want := range f.doubts {
		if !regexp.MustCompile(want).MatchString(doubts[code]) {
			t.Errorf("validity %s says %q, want %q", code, doubts[code], want)
		}
	}
	for _, code := range []string{"devices_not_matched", "foreign_processes", "device_order_unknown", "gpu_driver_stuck", "gpu_sampling_broke"} {
		if doubts[code] != "" && f.doubts[code] == "" && !f.loose {
			t.Errorf("validity has %s: %s", code, doubts[code])
		}
	}
}

// lastCalls returns the end of the fake driver's log.
func lastCalls(path string) []byte {
	b, _ := os.ReadFile(path)
	return b[max(0, len(b)-4000):]
}

// untilCalledMain is `until-called CALL`, a command that ends once the fake driver has ever
// been called so, and `until-called CALL TIMES`, which ends after so many more such calls.
// CALL may be a prefix.
func untilCalledMain(args []string) int {
	if len(args) < 1 || len(args) > 2 {
		fmt.Fprintln(os.Stderr, "usage: until-called CALL [TIMES]")
		return 2
	}
	before, times := 0, 1
	if len(args) == 2 {
		var err error
		if times, err = strconv.Atoi(args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		before = driverCalls(args[0])
	}
	return awaitDriver(func() bool { return driverCalls(args[0]) >= before+times })
}

// faultMain is `fault CALL`, a command that triggers what the fake driver's script has under
// when=fault, and ends once that, or another rule, has affected such a call.
func faultMain(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: fault CALL")
		return 2
	}
	if err := os.WriteFile("fault", nil, 0o666); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return awaitDriver(func() bool { return driverCalls("rule:"+args[0]) > 0 })
}

// driverCalls counts the lines of the fake driver's log about a call.
func driverCalls(call string) int {
	log, err := os.ReadFile(os.Getenv("FAKE_NVML_LOG"))
	if err != nil {
		return 0 // not started yet
	}
	return bytes.Count(log, []byte(" "+call))
}

func awaitDriver(happened func() bool) int {
	for deadline := time.Now().Add(samplingPatience); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, "waited in vain")
			return 1
		}
	}
	return 0
}
