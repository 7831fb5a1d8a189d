package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// runVobs runs the program in dir and returns its stdout.
func runVobs(t *testing.T, dir string, env []string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "vobs", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("vobs %q: %v\n%s", args, err, stderr.String())
	}
	return stdout.Bytes()
}

// A golden event fixes the keys, their order, what is null, and the values that do not depend
// on the machine or the clock. go test -update rewrites it.
func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	t.Run("bare", func(t *testing.T) {
		t.Parallel()
		event := runVobs(t, t.TempDir(), []string{"LD_LIBRARY_PATH=" + brokenNVML(t)}, "run", "--label", "case=golden", "--", "sh", "-c", "exit 0")
		golden(t, "bare.json", event)
	})
	t.Run("engine and GPU", func(t *testing.T) {
		t.Parallel()
		library := fakeNVML(t)
		dir := t.TempDir()
		const script = `
device 0
name "Simulated GPU (80 GiB)"
uuid GPU-00000000-aaaa
total 80GiB
reserved 600MiB
used 20GiB
process pid=child mem=18GiB
power 300
energy rate 300 at=0
temp 64
util 0.5
sm_active 0.9
sm_occupancy 0.2
tensor_active 0.4
dram_active 0.5
throttle sw_power_cap at=0s for=1h
`
		if err := os.WriteFile(filepath.Join(dir, "gpu"), []byte(script), 0o666); err != nil {
			t.Fatal(err)
		}
		server := exec.CommandContext(t.Context(), "vllm", "serve", "a-model", "--uds", "s.sock", "--ready", "ready", "--duration", "3s")
		server.Dir = dir
		var log bytes.Buffer
		server.Stderr = &log
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = server.Process.Kill()
			_ = server.Wait()
			if t.Failed() {
				t.Logf("the server: %s", log.String())
			}
		}()
		if _, err := waitForFile(filepath.Join(dir, "ready")); err != nil {
			t.Fatal(err)
		}
		event := runVobs(t, dir, []string{"LD_LIBRARY_PATH=" + library, "FAKE_NVML_SCRIPT=" + filepath.Join(dir, "gpu"), "FAKE_NVML_LOG=" + filepath.Join(dir, "calls"), "CUDA_VISIBLE_DEVICES=0"},
			"run", "--strict", "--metrics-url", "unix://s.sock", "--scrape-interval", "1s", "--interval", "200ms", "--label", "case=golden", "--", "client", "-sampled", "-ready", "ready")
		golden(t, "engine_gpu.json", event)
	})
}

// volatile are the values that differ between runs; of those below `host`, the machine decides
// even whether they exist.
var volatile = regexp.MustCompile(`^(` + strings.Join([]string{
	`loadavg_(pre|post)\.\d`,
	`run\.(id|started_at|ended_at|duration_seconds|hostname|vobs_version)`,
	`overhead\..*`,
	`(gpus\.\d|host)\.sampling\.(period_seconds|samples|max_gap_seconds)`,
	`gpus\.\d\.(energy_joules|peak_at_seconds)`,
	`engine\.endpoints\.\d\.(process_start_time|cpu_seconds)`,
	`engine\.(window\.(duration_seconds|active_seconds_est|active_intervals|settle_seconds|final_age_seconds))`,
	`engine\.scrapes\.(count|period_seconds|median_seconds|max_gap_seconds)`,
	`engine\.requests\.(running|waiting)\.(mean|peak|mean_bounds\.\d)`, `engine\.requests\.batch_utilization`,
	`engine\.kv_cache\.(usage\.(mean|peak)|peak_tokens)`,
	`engine\.kv_offload\.(load|store)\.gigabytes_per_second_wall`,
	`engine\.kv_offload\.(cpu_pinned|tiers\.\d\.(active_\w+|primary_pinned|backpressure))(\.\w+)?\.mean`,
	`engine\.instances\.\d\.(kv_cache_usage_peak|requests_running_peak)`,
	`omni\.(pipeline\.requests\.(running|waiting)|stages\.\d\.waiting_requests)\.(mean|peak)`,
	`omni\.stages\.\d\.audio\.seconds_per_second`,
}, "|") + `)$`)

// precise are the figures that are null if the readings happen to differ too much, or to come
// too late.
var precise = regexp.MustCompile(`^(engine\.((requests\.(running|waiting)|kv_cache\.usage)\.(mean|method)|requests\.batch_utilization|kv_offload\..*\.mean|throughput\..*|instances\.\d\.requests_(running_mean|waiting_mean|waiting_peak)|requests\.waiting_by_reason\.\w+\.(mean|peak))|omni\..*\.mean|gpus\.\d\.(energy_active_joules|idle_watts)|efficiency\..*)$`)

// imprecise are the reasons for that: why, or of what.
var imprecise = regexp.MustCompile(`too few polls for a gauge|the window lasted between|"field": "(engine\.((requests\.(running|waiting)|kv_cache\.usage)\.(mean|method)|requests\.batch_utilization|instances\.\d\.requests_(running_mean|waiting_mean|waiting_peak)|requests\.waiting_by_reason\.\w+\.(mean|peak))|omni\..*\.mean|gpus\.\d\.(energy_active_joules|idle_watts)|efficiency\.\w+)"`)

var machine = regexp.MustCompile(`^host\.(cpu_count|cpu_limit|memory_.*|tree_.*|pressure.*|energy_joules)$`)

// slotLists are the lists of a curve: their length depends on how long the command ran.
var slotLists = regexp.MustCompile(`^series\.curves\.\d+\.(max|mean)$`)

// loaderSays matches the message of this machine's dynamic loader.
var loaderSays = regexp.MustCompile(`NVML cannot be loaded: .*?: check`)

func golden(t *testing.T, name string, event []byte) {
	t.Helper()
	if problems := schema.Validate(event, schema.Options{Strict: true}); len(problems) > 0 {
		t.Errorf("not valid: %v", problems)
	}
	dec := json.NewDecoder(bytes.NewReader(event))
	dec.UseNumber()
	var out bytes.Buffer
	if err := normalise(dec, &out, "", ""); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	shape := loaderSays.ReplaceAll(out.Bytes(), []byte("NVML cannot be loaded: <why>: check"))
	shape = activeBetween.ReplaceAll(shape, []byte("active for <seconds> to <seconds> s"))
	shape = ratesOver.ReplaceAll(shape, []byte("rates are <over the window or unknown>: "))
	shape = pollsAtWork.ReplaceAll(shape, []byte(`"<number> of the polls saw`))
	shape = activeIntervals.ReplaceAll(shape, []byte(`$1"<number>"$2"<number>"`))
	testkit.Golden(t, filepath.Join("testdata", "golden", name), shape)
}

// These match what depends on the times of polls: in the note short_window, and in the reasons
// for a missing active time and for missing means.
var (
	ratesOver       = regexp.MustCompile(`rates are (unknown|over the whole window, including idle time): `)
	pollsAtWork     = regexp.MustCompile(`"\d+ of the polls saw`)
	activeBetween   = regexp.MustCompile(`active for [0-9.]+ to [0-9.]+ s`)
	activeIntervals = regexp.MustCompile(`("field": "engine\.window\.active_intervals",\s*"value": )\d+(,\s*"threshold": )\d+`)
)

// normalise copies one JSON value, indented, with its keys in order, and volatile values
// replaced by their kind. Doubts and reasons about this machine, and reasons for imprecise
// means, are left out.
func normalise(dec *json.Decoder, out *bytes.Buffer, path, indent string) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	open, nested := token.(json.Delim)
	if !nested {
		b, err := json.Marshal(token)
		if err != nil {
			return err
		}
		kind := map[bool]string{true: "null", false: fmt.Sprintf("<%T>", token)}[token == nil]
		kind = strings.ReplaceAll(kind, "json.Number", "number")
		switch {
		case machine.MatchString(path):
			out.WriteString(`"<the machine's>"`)
		case precise.MatchString(path):
			out.WriteString(`"<number or null>"`)
		case volatile.MatchString(path) && token != nil:
			fmt.Fprintf(out, "%q", kind)
		case strings.HasPrefix(kind, "<number") && len(b) > 12 && bytes.IndexByte(b, '.') >= 0:
			// The last digits depend on the order in which a machine adds.
			x, err := token.(json.Number).Float64()
			if err != nil {
				return err
			}
			rounded := strconv.FormatFloat(x, 'g', 9, 64)
			if !strings.ContainsAny(rounded, ".e") {
				rounded += ".0" // as the event writes it if nothing had to be rounded
			}
			out.WriteString(rounded)
		default:
			out.Write(b)
		}
		return nil
	}
	if machine.MatchString(path) {
		out.WriteString(`"<the machine's>"`)
		out = &bytes.Buffer{}
	}
	if slotLists.MatchString(path) {
		out.WriteString(`"<slots>"`)
		out = &bytes.Buffer{}
	}
	if path == "diagnosis" { // its rules look at volatile values, too, and have tests of their own
		out.WriteString(`"<diagnosis>"`)
		out = &bytes.Buffer{}
	}
	out.WriteString(open.String())
	closing := map[json.Delim]string{'{': "}", '[': "]"}[open]
	n := 0
	for i := 0; dec.More(); i++ {
		key := fmt.Sprint(i)
		var item bytes.Buffer
		item.WriteString("\n" + indent + "\t")
		if open == '{' {
			name, err := dec.Token()
			if err != nil {
				return err
			}
			key = name.(string)
			fmt.Fprintf(&item, "%q: ", key)
		}
		if err := normalise(dec, &item, strings.TrimPrefix(path+"."+key, "."), indent+"\t"); err != nil {
			return err
		}
		if path == "validity" && strings.Contains(item.String(), `"code": "busy_host"`) {
			continue // of this machine
		}
		if path == "unavailable" && (strings.Contains(item.String(), `"field": "host.`) || imprecise.MatchString(item.String())) {
			continue
		}
		if n++; n > 1 {
			out.WriteString(",")
		}
		out.Write(item.Bytes())
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if n > 0 {
		out.WriteString("\n" + indent)
	}
	out.WriteString(closing)
	return nil
}
