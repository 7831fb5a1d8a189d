package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/demo"
	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// TestScript runs testdata/script/*/*.txtar, in a folder for each subject: what a user
// sees of the program. In addition to testscript's own commands there are:
//
//	status CODE|SIGNAL PROGRAM...   run, and compare how it ended
//	event FILE PATH VALUE           the event has this value at PATH
//	reason FILE FIELD [REGEXP]      `unavailable` explains FIELD; ! reason: it does not
//	doubt FILE CODE [REGEXP]        `validity` has a note; ! doubt: it has none
//	sound FILE...                   valid by vobs validate --strict, every null explained
//	totals EVENT FILE               the event's counts equal those that the client wrote to FILE
//	waitfor FILE...                 wait until the files exist
//	random FILE BYTES               write random bytes
//	expand FILE...                  replace $NAME in a file
//	nvml [none | -without SYMBOL...]   the NVML library that programs load from here on
func TestScript(t *testing.T) {
	t.Parallel()
	subjects, err := filepath.Glob("testdata/script/*")
	if err != nil || len(subjects) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, dir := range subjects {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			runScripts(t, dir)
		})
	}
}

func runScripts(t *testing.T, dir string) {
	noLibrary := brokenNVML(t)
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       testkit.Update(),
		Setup: func(env *testscript.Env) error {
			env.Defer(func() { endProcessesIn(env.WorkDir) })
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("NO_NVML", noLibrary)
			env.Setenv("LD_LIBRARY_PATH", noLibrary)
			env.Setenv("FAKE_NVML_SCRIPT", filepath.Join(env.WorkDir, "gpu"))
			env.Setenv("FAKE_NVML_LOG", filepath.Join(env.WorkDir, "calls"))
			recorded, err := filepath.Abs("../../probe/multiproc/testdata/bench_throughput/db")
			if err != nil {
				return err
			}
			env.Setenv("RECORDED", recorded)
			told, err := filepath.Abs("../vllm/plugin/testdata/recorded")
			if err != nil {
				return err
			}
			env.Setenv("TOLD", told)
			for name, path := range map[string]string{"RUNS": "../../testdata/compare/runs.jsonl", "EVENTS": "../../testdata/events", "NSYS": "../../testdata/traces/nsys"} {
				absolute, err := filepath.Abs(path)
				if err != nil {
					return err
				}
				env.Setenv(name, absolute)
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "cgo":
				return cgo, nil
			case "nvml": // this machine has an NVML library of its own
				return systemNVML(), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": status, "event": event, "reason": reason, "doubt": doubt, "sound": sound, "totals": totals,
			"waitfor": func(ts *testscript.TestScript, neg bool, args []string) {
				for _, name := range args {
					_, err := waitForFile(ts.MkAbs(name))
					ts.Check(err)
				}
			},
			"random": random, "expand": expandFiles, "nvml": nvml,
		},
	})
}

// endProcessesIn kills what a failed script has left running: the processes whose working
// directory is inside its own.
func endProcessesIn(dir string) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		cwd, err := os.Readlink(link)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err == nil && pid > 0 && (cwd == dir || strings.HasPrefix(cwd, dir+"/") || strings.HasPrefix(cwd, dir+" (")) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func need(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) >= 2, "status CODE|SIGNAL PROGRAM...")
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		ws := exit.Sys().(syscall.WaitStatus)
		got = strconv.Itoa(ws.ExitStatus())
		if ws.Signaled() {
			got = unix.SignalName(ws.Signal())
		}
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != args[0] {
		ts.Fatalf("ended with %s, want %s", got, args[0])
	}
}

// readJSON reads a file, or "stdout", that holds one document.
func readJSON(ts *testscript.TestScript, file string) any {
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile(file)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		ts.Fatalf("%s: %v", file, err)
	}
	return v
}

// at follows a path like gpus.0.name; a number is an index in a list, len is its length.
func at(v any, path string) (any, error) {
	if path == "." {
		return v, nil
	}
	for _, name := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			next, ok := x[name]
			if !ok {
				return nil, fmt.Errorf("no %s in %s", name, path)
			}
			v = next
		case []any:
			if name == "len" {
				return json.Number(strconv.Itoa(len(x))), nil
			}
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(x) {
				return nil, fmt.Errorf("no element %s in %s: there are %d", name, path, len(x))
			}
			v = x[i]
		default:
			return nil, fmt.Errorf("%s: nothing below %v", path, v)
		}
	}
	return v, nil
}

func event(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, len(args) == 3, "event FILE PATH VALUE")
	v, err := at(readJSON(ts, args[0]), args[1])
	ts.Check(err)
	got, isString := v.(string)
	if !isString {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		ts.Check(enc.Encode(v))
		got = strings.TrimSuffix(b.String(), "\n")
	}
	if (got == args[2]) == neg {
		ts.Fatalf("%s is %s", args[1], got)
	}
}

// notes looks for an object in a list whose key has the value, and whose text matches.
func notes(ts *testscript.TestScript, neg bool, args []string, list, key, text string) {
	all, err := at(readJSON(ts, args[0]), list)
	ts.Check(err)
	want := "."
	if len(args) > 2 {
		want = args[2]
	}
	re, err := regexp.Compile(want)
	ts.Check(err)
	found := false
	var others []string
	for _, n := range all.([]any) {
		note := n.(map[string]any)
		if note[key] == args[1] {
			found = found || re.MatchString(note[text].(string))
			others = append(others, note[text].(string))
		}
	}
	if found == neg {
		ts.Fatalf("%s of %s: %q", list, args[1], others)
	}
}

func reason(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, len(args) == 2 || len(args) == 3 && !neg, "reason FILE FIELD [REGEXP]")
	notes(ts, neg, args, "unavailable", "field", "reason")
}

func doubt(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, len(args) == 2 || len(args) == 3 && !neg, "doubt FILE CODE [REGEXP]")
	notes(ts, neg, args, "validity", "code", "message")
}

func sound(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 0, "sound FILE...")
	status(ts, false, append([]string{"0", "vobs", "validate", "--strict"}, args...))
	for _, name := range args {
		for line := range strings.Lines(ts.ReadFile(name)) {
			var e schema.GenerationObservability
			ts.Check(json.Unmarshal([]byte(line), &e))
			if nulls := schema.UnexplainedNulls(&e); len(nulls) > 0 {
				ts.Fatalf("%s: nulls without a reason: %v", name, nulls)
			}
		}
	}
}

func totals(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "totals EVENT FILE")
	var e schema.GenerationObservability
	var want demo.Totals
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &e))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &want))
	if problems := compareTotals(&e, want); len(problems) > 0 {
		ts.Fatalf("%s", strings.Join(problems, "\n"))
	}
}

// compareTotals compares an event's counts with what a client counted.
func compareTotals(e *schema.GenerationObservability, want demo.Totals) (problems []string) {
	g := e.Engine
	if g == nil || g.Requests == nil || g.Tokens == nil || g.PrefixCache == nil || g.PrefixCache.Local == nil || g.Speculative == nil || g.LatencySeconds == nil {
		return []string{fmt.Sprintf("figures are missing: %+v %v", g, e.Unavailable)}
	}
	count := func(name string, got *int64, want int) {
		if got == nil || *got != int64(want) {
			problems = append(problems, fmt.Sprintf("%s: %v, want %d", name, text(got), want))
		}
	}
	near := func(name string, got *schema.Float, want float64) {
		if got == nil || math.Abs(float64(*got)-want) > 1e-6*math.Abs(want) {
			problems = append(problems, fmt.Sprintf("%s: %v, want %v", name, text(got), want))
		}
	}
	for why, n := range g.Requests.Finished {
		count("finished "+why, &n, want.Finished[why])
	}
	count("finished kinds", schema.Ptr(g.Requests.Finished["stop"]+g.Requests.Finished["length"]), want.Requests)
	count("preemptions", g.Requests.Preemptions, want.Preemptions)
	count("prompt tokens", g.Tokens.Prompt, want.PromptTokens)
	count("generation tokens", g.Tokens.Generation, want.GenerationTokens)
	if s := g.Tokens.PromptBySource; s != nil {
		count("computed tokens", schema.Ptr(s["local_compute"]), want.ComputedTokens)
		count("cached tokens", schema.Ptr(s["local_cache_hit"]), want.CachedTokens)
	} else {
		problems = append(problems, "no prompt_by_source")
	}
	count("queries", &g.PrefixCache.Local.Queries, want.QueriedTokens)
	count("hits", &g.PrefixCache.Local.Hits, want.HitTokens)
	count("drafts", g.Speculative.Drafts, want.Drafts)
	count("draft tokens", g.Speculative.DraftTokens, want.DraftTokens)
	count("accepted tokens", g.Speculative.AcceptedTokens, want.AcceptedTokens)
	near("prefix_cache_hit_rate", e.PrefixCacheHitRate, float64(want.HitTokens)/float64(want.QueriedTokens))
	near("spec_accept_rate", e.SpecAcceptRate, float64(want.AcceptedTokens)/float64(want.DraftTokens))
	near("kv_cache_usage_perc", e.KVCacheUsagePerc, 0)
	for _, d := range []struct {
		name string
		got  *schema.Distribution
		sum  float64
	}{
		{"time_to_first_token", g.LatencySeconds.TimeToFirstToken, want.TTFTSeconds},
		{"e2e_request_latency", g.LatencySeconds.E2ERequestLatency, want.E2ESeconds},
		{"request_queue_time", g.LatencySeconds.RequestQueueTime, want.QueueSeconds},
		{"request_prefill_time", g.LatencySeconds.RequestPrefillTime, want.PrefillSeconds},
		{"request_decode_time", g.LatencySeconds.RequestDecodeTime, want.DecodeSeconds},
	} {
		if d.got == nil {
			problems = append(problems, "no "+d.name)
			continue
		}
		count(d.name+".count", &d.got.Count, want.Requests)
		near(d.name+".sum", &d.got.Sum, d.sum)
	}
	return problems
}

func text[T any](p *T) string {
	if p == nil {
		return "null"
	}
	return fmt.Sprint(*p)
}

func random(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "random FILE BYTES")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o666))
}

func expandFiles(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o666))
	}
}

func nvml(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case len(args) == 1 && args[0] == "none":
		empty := ts.MkAbs("empty")
		ts.Check(os.MkdirAll(empty, 0o777))
		ts.Setenv("LD_LIBRARY_PATH", empty)
		return
	case len(args) > 0 && args[0] == "-without":
		args = args[1:]
	default:
		need(ts, len(args) == 0, "nvml [none | -without SYMBOL...]")
	}
	dir, err := buildNVML(args...)
	ts.Check(err)
	ts.Setenv("LD_LIBRARY_PATH", dir)
}

// brokenNVML returns a directory with a libnvidia-ml.so.1 that cannot be loaded, so that a
// test finds no GPU on a machine that has one.
func brokenNVML(t *testing.T) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "libnvidia-ml.so.1"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// systemNVML reports whether the machine has an NVML library.
func systemNVML() bool {
	out, err := exec.Command("/sbin/ldconfig", "-p").Output()
	return err == nil && bytes.Contains(out, []byte("libnvidia-ml.so.1"))
}

// untilSampledMain is `until-sampled DEVICES [ROUNDS]`, a command that ends once the processes
// and the memory of so many devices have been read often enough, according to FAKE_NVML_LOG.
// Gauges have at least three readings then: the clocks are the last to be read in a round. On
// a driver without them the process lists decide, of which a round may need two.
func untilSampledMain(args []string) int {
	devices, rounds := 1, 10
	for i, to := range []*int{&devices, &rounds} {
		if i < len(args) {
			n, err := strconv.Atoi(args[i])
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 2
			}
			*to = n
		}
	}
	count := func(call string) int {
		calls, err := os.ReadFile(os.Getenv("FAKE_NVML_LOG"))
		if err != nil {
			return 0
		}
		return bytes.Count(calls, []byte(" "+call))
	}
	const processes, memory, clocks = "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetCurrentClocks"
	p, m, c := count(processes), count(memory), count(clocks)
	for deadline := time.Now().Add(samplingPatience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		lists := count(processes) - p
		measured := count(clocks) >= c+4*devices || lists >= 8*devices
		if lists >= 2*devices && measured && count(memory) >= m+rounds*devices {
			return 0
		}
	}
	fmt.Fprintln(os.Stderr, "until-sampled: waited in vain")
	return 1
}

var builds sync.Map // of func() error, by directory

// fakeNVML returns the directory of the fake NVML library, or skips the test.
func fakeNVML(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("SKIPPED: the fake NVML library needs gcc: install it (apt-get install gcc libc6-dev)")
	}
	library, err := buildNVML()
	if err != nil {
		t.Fatal(err)
	}
	return library
}

// buildNVML builds the fake NVML library without some symbols, once for each version of its
// sources, and returns its directory.
func buildNVML(missing ...string) (string, error) {
	src := filepath.Join("..", "..", "testdata", "fakenvml")
	sum := sha256.New()
	for _, name := range []string{"build.sh", "fakenvml.c", "fakenvml.h", "script.c"} {
		text, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	fmt.Fprint(sum, missing)
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("vobs-fakenvml-%d", os.Getuid()), fmt.Sprintf("%x", sum.Sum(nil)[:8]))
	build, _ := builds.LoadOrStore(dir, sync.OnceValue(func() error {
		if _, err := os.Stat(filepath.Join(dir, "libnvidia-ml.so.1")); err == nil {
			return nil
		}
		if out, err := exec.Command(filepath.Join(src, "build.sh"), append([]string{dir}, missing...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("building the fake NVML library: %w\n%s", err, out)
		}
		return nil
	}))
	return dir, build.(func() error)()
}
