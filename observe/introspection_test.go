package observe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vobs/vobs/internal/redact"
	"github.com/vobs/vobs/internal/vllm/plugin"
	"github.com/vobs/vobs/sampler/gpu"
	"github.com/vobs/vobs/schema"
)

// reported returns an introspection with reports of the plugin; each is the content of a file.
func reported(t *testing.T, files ...string) *introspection {
	t.Helper()
	folder, err := plugin.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range files {
		if err := os.WriteFile(filepath.Join(folder.Dir, "reports", fmt.Sprintf("process-%d.json", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &introspection{enabled: true, folder: folder, report: folder.Read()}
}

func worker(pid int, rank, devices string) string {
	return fmt.Sprintf(`{"format":1,"pid":%d,"hooks":[],"worker":{"rank":%s,"cuda":"initialized","devices":[%s]}}`, pid, rank, devices)
}

func device(uuid string, allocated int) string {
	return fmt.Sprintf(`{"index":0,"uuid":%s,"max_allocated_bytes":%d,"max_reserved_bytes":%d}`, uuid, allocated, allocated+1)
}

const hookMissing = `{"format":1,"pid":9,"hooks":[{"name":"W.init","state":"missing","error":"m has no W"}]}`

func TestAddTorch(t *testing.T) {
	gpus := func() gpu.Readings {
		r := gpu.Readings{
			GPUs: []schema.GPU{{UUID: "GPU-aaaa-0"}, {UUID: "GPU-bbbb-1"}, {UUID: "MIG-cccc-2"}},
			PIDs: []map[int]bool{{10: true, 12: true}, {11: true, 12: true}, {13: false}},
		}
		for i := range r.GPUs {
			r.Notes.Missing(fmt.Sprintf("gpus.%d.torch", i), "needs --instrument")
		}
		return r
	}
	for _, c := range []struct {
		name  string
		files []string
		want  string // the workers of each device as RANK/PID/ALLOCATED
		why   string
	}{
		{"by UUID", []string{worker(1, "1", device(`"bbbb-1"`, 5)), worker(2, "0", device(`"aaaa-0"`, 7)), worker(3, "2", device(`"cccc-2"`, 9))}, "0/2/7 | 1/1/5 | 2/3/9", ""},
		{"two engines on one device", []string{worker(4, "0", device(`"aaaa-0"`, 5)), worker(2, "0", device(`"aaaa-0"`, 7)), worker(1, "1", device(`"aaaa-0"`, 7))}, "0/2/7 0/4/5 1/1/7 | [] | []", ""},
		{"by the driver's list", []string{worker(11, "0", device("null", 5))}, "[] | 0/11/5 | []", ""},
		{"on two devices by that list", []string{worker(12, "0", device("null", 5)), worker(11, "1", device("null", 6))}, "null | 1/11/6 | null", "process 12 is not one of those sampled, or cannot be matched"},
		{"ids that cannot be compared", []string{worker(13, "0", device("null", 5))}, "null | null | null", "process 13"},
		{"a device that is not sampled", []string{worker(1, "0", device(`"dddd"`, 5))}, "null | null | null", "the device 0 dddd of the worker in process 1"},
		{"no rank", []string{worker(1, "null", device(`"aaaa-0"`, 5))}, "null | null | null", "rank of the worker in process 1 is unknown"},
		{"nothing allocated", []string{worker(1, "0", "")}, "null | null | null", "torch allocated no memory"},
		{"without CUDA", []string{strings.Replace(worker(1, "0", ""), "initialized", "not built", 1)}, "null | null | null", "did not use CUDA"},
		{"no worker", []string{`{"format":1,"pid":9,"hooks":[]}`}, "null | null | null", "no worker of the command started"},
		{"a name is missing", []string{hookMissing}, "null | null | null", "this vLLM has no W.init (m has no W)"},
		{"no report", nil, "null | null | null", "no process of the command loaded vobs's plugin"},
		{"a cut report", []string{"{"}, "null | null | null", "process-0.json: not a report, or cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := reported(t, c.files...)
			given := gpus()
			r := given
			in.addTorch(&r)
			var all []string
			for i, g := range r.GPUs {
				text := "null"
				if g.Torch != nil {
					text = "[]"
				}
				var entries []string
				for _, m := range g.Torch {
					entries = append(entries, fmt.Sprintf("%d/%d/%d", m.Rank, m.PID, *m.MaxAllocatedBytes))
					if *m.MaxReservedBytes != *m.MaxAllocatedBytes+1 {
						t.Error(m)
					}
				}
				if len(entries) > 0 {
					text = strings.Join(entries, " ")
				}
				all = append(all, text)
				why := ""
				for _, u := range r.Notes.Unavailable {
					if u.Field == fmt.Sprintf("gpus.%d.torch", i) {
						why = u.Reason
					}
				}
				if (why != "") != (g.Torch == nil) || g.Torch == nil && !strings.Contains(why, c.why) {
					t.Errorf("device %d: reason %q, want %q", i, why, c.why)
				}
			}
			if got := strings.Join(all, " | "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if given.GPUs[0].Torch != nil || given.Notes.Unavailable[0].Reason != "needs --instrument" {
				t.Error("the sampler's own readings were changed")
			}
		})
	}
	r := gpus()
	(&introspection{}).addTorch(&r)
	if r.Notes.Unavailable[0].Reason != "needs --instrument" {
		t.Error("without the flag:", r.Notes)
	}
}

func TestIntrospection(t *testing.T) {
	recorded := func(name string) string {
		b, err := os.ReadFile("../internal/vllm/plugin/testdata/recorded/process-" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	in := reported(t, recorded("front_end"), recorded("core"), recorded("worker"))
	w := in.toProbe()
	if !w.Enabled || len(w.Cores) != 1 || w.Cores[0].Values["num_gpu_blocks"] != int64(40) || len(w.Backends) != 1 || w.DataParallelSizes[0] != 1 || w.Version != "0.32.0" || w.Reason != "" {
		t.Errorf("%+v", w)
	}
	if n := in.notes(redact.New(nil), func(string) {}); len(n.Validity) != 0 {
		t.Error(n)
	}
	// A core that never became ready counts only if no other did.
	early := strings.Replace(recorded("core"), `"phase": "ready"`, `"phase": "kv_caches"`, 1)
	if w := reported(t, recorded("core"), early).toProbe(); len(w.Cores) != 1 {
		t.Error(w.Cores)
	}
	if w := reported(t, early).toProbe(); len(w.Cores) != 1 {
		t.Error(w.Cores)
	}
	if w := reported(t, recorded("core"), strings.Replace(recorded("core"), "0.32.0", "0.31.0", 1)).toProbe(); w.Version != "" {
		t.Error(w.Version)
	}
	for _, c := range []struct {
		in        *introspection
		why, note string
	}{
		{reported(t), "no process of the command loaded vobs's plugin", "no process of the command loaded vobs's plugin"},
		{&introspection{enabled: true, failed: "no room"}, "no room", "no room"},
		{reported(t, recorded("front_end")), "no engine core of the command started", ""},
		{reported(t, hookMissing), "no engine core reported its configuration: this vLLM has no W.init", "this vLLM has no W.init (m has no W)"},
		{reported(t, strings.Replace(hookMissing, "missing", "failed", 1)), "W.init failed (m has no W)", "W.init failed"},
		{reported(t, strings.Replace(hookMissing, "missing", "waiting", 1)), "no engine core of the command started", ""},
		{reported(t, strings.Replace(recorded("core"), `"config": {`, `"config": {}, "x": {`, 1)), "the configuration reported by process 8107 cannot be read", ""},
		{reported(t, "{"), "a report cannot be read: process-0.json", "a report cannot be read"},
		// A class that another version has in another module: one of the two is enough.
		{reported(t, hookMissing, strings.Replace(hookMissing, "missing", "found", 1)), "no engine core of the command started", ""},
		{reported(t, strings.Replace(recorded("core"), `"missing": []`, `"missing": ["scheduler.x"]`, 1)), "", "this vLLM has no scheduler.x"},
	} {
		w := c.in.toProbe()
		if !strings.Contains(w.Reason, c.why) || (w.Reason == "") != (c.why == "") {
			t.Errorf("reason %q, want %q", w.Reason, c.why)
		}
		n := c.in.notes(redact.New(nil), func(string) {})
		if (len(n.Validity) == 1) != (c.note != "") || c.note != "" && (n.Validity[0].Code != "instrument_incomplete" || !strings.Contains(n.Validity[0].Message, c.note)) {
			t.Errorf("notes %+v, want %q", n.Validity, c.note)
		}
	}
}
