package dcgm

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/vobs/vobs/probe/exposition"
)

// page is a page of dcgm-exporter 3.3.5, shortened: of two GPUs, the second one with a MIG instance.
const page = `# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a",pci_bus_id="00000000:00:04.0",device="nvidia0",modelName="NVIDIA A100-SXM4-80GB",Hostname="host1",DCGM_FI_DRIVER_VERSION="550.54"} 1410
# HELP DCGM_FI_PROF_SM_ACTIVE The ratio of cycles an SM has at least 1 warp assigned.
# TYPE DCGM_FI_PROF_SM_ACTIVE gauge
DCGM_FI_PROF_SM_ACTIVE{gpu="0",UUID="GPU-a",pci_bus_id="00000000:00:04.0",device="nvidia0",modelName="NVIDIA A100-SXM4-80GB",Hostname="host1",DCGM_FI_DRIVER_VERSION="550.54"} 0.932123
DCGM_FI_PROF_SM_ACTIVE{gpu="1",UUID="GPU-b",pci_bus_id="00000000:00:05.0",device="nvidia1",modelName="NVIDIA A100-SXM4-80GB",GPU_I_PROFILE="1g.10gb",GPU_I_ID="13",Hostname="host1",DCGM_FI_DRIVER_VERSION="550.54",pod="p"} 0.5
# HELP DCGM_FI_PROF_PIPE_TENSOR_ACTIVE The ratio of cycles the tensor (HMMA) pipe is active.
# TYPE DCGM_FI_PROF_PIPE_TENSOR_ACTIVE gauge
DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{gpu="0",UUID="GPU-a",pci_bus_id="00000000:00:04.0",device="nvidia0",modelName="NVIDIA A100-SXM4-80GB",Hostname="host1",DCGM_FI_DRIVER_VERSION="550.54"} 0.25
`

// parse parses a page as the prober does, but keeps all samples.
func parse(t testing.TB, text string) exposition.Page {
	t.Helper()
	var p exposition.Page
	if err := exposition.NewParser(nil).Parse([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTake(t *testing.T) {
	p := parse(t, page)
	got := Take(&p)
	if len(p.Samples) != 1 || p.Samples[0].Name != "DCGM_FI_DEV_SM_CLOCK" {
		t.Errorf("left on the page: %+v", p.Samples)
	}
	a := got.gpus["GPU-a"]
	want := values{SMActive: {state: valid, fraction: 0.932123}, TensorActive: {state: valid, fraction: 0.25}}
	if a == nil || *a != want {
		t.Errorf("GPU-a has %+v, want %+v", a, want)
	}
	if len(got.gpus) != 1 || len(got.instances) != 1 || !got.instances["GPU-b"] || got.Empty() {
		t.Errorf("%+v", got)
	}
}

func TestTakeValues(t *testing.T) {
	sample := func(labels string, value any) string {
		return fmt.Sprintf("DCGM_FI_PROF_DRAM_ACTIVE{%s} %v\n", labels, value)
	}
	const gpu = `UUID="GPU-a"`
	for name, c := range map[string]struct {
		page string
		want state
	}{
		"0":                       {sample(gpu, 0), valid},
		"1":                       {sample(gpu, 1), valid},
		"the old namespace":       {sample(`uuid="GPU-a"`, 0.5), valid},
		"negative":                {sample(gpu, -0.001), invalid},
		"above 1":                 {sample(gpu, 1.001), invalid},
		"per cent":                {sample(gpu, 93), invalid},
		"NaN":                     {sample(gpu, "NaN"), invalid},
		"infinite":                {sample(gpu, "+Inf"), invalid},
		"blank floating point":    {sample(gpu, "140737488355328.000000"), invalid},
		"blank integer":           {sample(gpu, "9223372036854775794"), invalid},
		"one series for each pod": {sample(gpu+`,pod="a"`, 0.5) + sample(gpu+`,pod="b"`, 0.5), valid},
		"pods that differ":        {sample(gpu+`,pod="a"`, 0.5) + sample(gpu+`,pod="b"`, 0.6), invalid},
		"one pod is invalid":      {sample(gpu+`,pod="a"`, 0.5) + sample(gpu+`,pod="b"`, "NaN") + sample(gpu+`,pod="c"`, 0.5), invalid},
		"an instance beside it":   {sample(gpu, 0.5) + sample(gpu+`,GPU_I_ID="1",GPU_I_PROFILE="1g.10gb"`, 0.7), valid},
		"no UUID":                 {sample(`gpu="0"`, 0.5), absent},
		"another GPU":             {sample(`UUID="GPU-b"`, 0.5), absent},
		"an instance":             {sample(gpu+`,GPU_I_ID="1"`, 0.5), absent},
		"another field":           {strings.Replace(sample(gpu, 0.5), "DRAM", "NVLINK", 1), absent},
	} {
		t.Run(name, func(t *testing.T) {
			p := parse(t, c.page)
			got := Take(&p).gpus["GPU-a"]
			if got == nil {
				got = &values{}
			}
			if got[DRAMActive].state != c.want {
				t.Errorf("%+v, want %v", got[DRAMActive], c.want)
			}
		})
	}
	if none := (&exposition.Page{}); !Take(none).Empty() {
		t.Error("an empty page is not empty")
	}
}

// reading is one page.
type reading struct {
	at     float64 // seconds after the start
	values string  // of SM_ACTIVE of each GPU, in order; - for none
	after  bool    // the command had ended
}

// readings returns one reading in each of the seconds from the first to the last.
func readings(from, to int, value func(second int) string) (out []reading) {
	for s := from; s <= to; s++ {
		out = append(out, reading{at: float64(s), values: value(s)})
	}
	return out
}

func TestActivity(t *testing.T) {
	alternating := func(s int) string { return fmt.Sprint(0.25 + 0.5*float64(s&1)) }
	// A collector that updates every 30 s, at 10, 40, 70, … s.
	slow := func(s int) string { return fmt.Sprint(float64((s+20)/30) / 10) }
	for name, c := range map[string]struct {
		readings  []reading
		run       float64
		mean, max float64
		why       string
	}{
		"every second": {readings: readings(-1, 9, alternating), run: 10, mean: 0.5 + 0.25/9, max: 0.75},
		// The update at 0 s covers time before the start.
		"the first one does not count":  {readings: []reading{{at: -1, values: "0"}, {at: 0, values: "1"}, {at: 1, values: "0.1"}, {at: 2, values: "0.2"}, {at: 3, values: "0.3"}}, run: 4, mean: 0.2, max: 0.3},
		"not read before the start":     {readings: []reading{{at: 0, values: "1"}, {at: 1, values: "0.9"}, {at: 2, values: "0.1"}, {at: 3, values: "0.2"}, {at: 4, values: "0.3"}}, run: 5, mean: 0.2, max: 0.3},
		"every 30 s":                    {readings: readings(-1, 120, slow), run: 120, mean: 0.3, max: 0.4},
		"every 30 s, a short run":       {readings: readings(-1, 90, slow), run: 90, why: "2 of its updates of DCGM_FI_PROF_SM_ACTIVE lie within the run, and 3 are needed"},
		"every 30 s, one second":        {readings: readings(-1, 1, slow), run: 1, why: "0 of its updates"},
		"an idle GPU beside a busy one": {readings: readings(0, 9, func(s int) string { return "0 " + alternating(s) }), run: 10, mean: 0, max: 0},
		"no value ever changes":         {readings: readings(-1, 99, func(int) string { return "0.5" }), run: 100, why: "0 of its updates"},
		"blank now and then": {readings: readings(-1, 9, func(s int) string {
			if s%3 == 0 {
				return "140737488355328 " + alternating(s)
			}
			return "0.5 " + alternating(s)
		}), run: 10, mean: 0.5, max: 0.5},
		"always blank":         {readings: readings(-1, 9, func(s int) string { return "140737488355328 " + alternating(s) }), run: 10, why: "is not a fraction, or differs between series: 1.40737488355328e+14"},
		"not exported":         {readings: readings(-1, 9, func(s int) string { return "none " + alternating(s) }), run: 10, why: "its page has no DCGM_FI_PROF_SM_ACTIVE of this GPU"},
		"unknown":              {readings: readings(-1, 9, func(s int) string { return "- " + alternating(s) }), run: 10, why: "it does not have this GPU"},
		"only an instance":     {readings: readings(-1, 9, func(s int) string { return "instance " + alternating(s) }), run: 10, why: "it has only MIG instances of this GPU"},
		"lost early":           {readings: readings(-1, 9, alternating), run: 30, why: "its updates of DCGM_FI_PROF_SM_ACTIVE cover 9.0 of the run's 30.0 s"},
		"one GPU lost early":   {readings: append(readings(-1, 9, func(s int) string { return alternating(s) + " " + alternating(s) }), readings(10, 29, func(s int) string { return "- " + alternating(s) })...), run: 30, why: "cover 9.0 of the run's 30.0 s"},
		"only before":          {readings: readings(-9, -1, alternating), run: 10, why: "it was not read while the command ran"},
		"only after":           {readings: []reading{{at: 11, values: "0.5", after: true}}, run: 10, why: "it was not read while the command ran"},
		"after does not count": {readings: append(readings(-1, 9, func(s int) string { return fmt.Sprint(0.5 + 0.01*float64(s)) }), reading{at: 10, values: "1", after: true}, reading{at: 11, values: "0.9", after: true}), run: 10, mean: 0.55, max: 0.59},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Unix(1e9, 0)
			var a Activity
			for _, r := range c.readings {
				text := ""
				for i, v := range strings.Fields(r.values) {
					name, labels := SMActive.Name(), fmt.Sprintf(`gpu="%d",UUID="GPU-%d"`, i, i)
					switch v {
					case "-":
						continue
					case "none":
						name, v = DRAMActive.Name(), "0.5"
					case "instance":
						labels, v = labels+`,GPU_I_ID="1"`, "0.5"
					}
					text += fmt.Sprintf("%s{%s} %s\n", name, labels, v)
				}
				p := parse(t, text)
				a.Add(start.Add(time.Duration(r.at*float64(time.Second))), Take(&p), r.at >= 0 && !r.after)
			}
			mean, highest, why := a.Summary("GPU-0", SMActive, time.Duration(c.run*float64(time.Second)))
			if c.why != "" {
				if !strings.Contains(why, c.why) {
					t.Errorf("%v, %v, %q, want %q", mean, highest, why, c.why)
				}
				return
			}
			if why != "" || math.Abs(mean-c.mean) > 1e-9 || math.Abs(highest-c.max) > 1e-9 {
				t.Errorf("%v, %v, %q, want %v, %v", mean, highest, why, c.mean, c.max)
			}
		})
	}
}

// An exporter whose UUIDs change with every page does not take more and more memory.
func TestActivityIsBounded(t *testing.T) {
	var a Activity
	for i := range 50 {
		var text strings.Builder
		for j := range 100 {
			fmt.Fprintf(&text, "DCGM_FI_PROF_SM_ACTIVE{UUID=\"GPU-%d-%d\"} 0\nDCGM_FI_PROF_SM_ACTIVE{UUID=\"GPU-%d-%d\",GPU_I_ID=\"1\"} 0\n", i, j, i, j)
		}
		p := parse(t, text.String())
		a.Add(time.Unix(int64(i), 0), Take(&p), true)
	}
	if len(a.gpus) > maxGPUs || len(a.instances) > maxGPUs {
		t.Errorf("%d GPUs, %d with instances", len(a.gpus), len(a.instances))
	}
}

// FuzzTake checks that any two pages are taken in without a crash, and that every figure is a
// fraction.
func FuzzTake(f *testing.F) {
	f.Add([]byte(page), []byte(strings.Replace(page, "0.93", "0.94", 1)))
	f.Add([]byte("DCGM_FI_PROF_SM_ACTIVE{UUID=\"a\"} NaN\n"), []byte("DCGM_FI_PROF_SM_ACTIVE{UUID=\"a\"} 1e99\nDCGM_FI_PROF_SM_ACTIVE{uuid=\"a\"} 0\n"))
	f.Add([]byte("DCGM_FI_PROF_SM_ACTIVE 1\n"), []byte("{\"DCGM_FI_PROF_DRAM_ACTIVE\",UUID=\"a\"} -0\n"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var pages [2]exposition.Page
		var taken [2]Page
		for i, text := range [][]byte{first, second} {
			_ = exposition.NewParser(nil).Parse(text, &pages[i]) // what precedes an invalid line stays
			before := len(pages[i].Samples)
			taken[i] = Take(&pages[i])
			for _, s := range pages[i].Samples {
				if IsWanted(s.Name) {
					t.Fatalf("%s was left", s.Name)
				}
			}
			if taken[i].Empty() && before > 0 && len(taken[i].gpus) > 0 {
				t.Fatal("not empty")
			}
		}
		var a Activity
		for i := range 8 {
			a.Add(time.Unix(int64(i), 0), taken[i%2], true)
		}
		for uuid := range a.gpus {
			for f := range NumFigures {
				mean, highest, why := a.Summary(uuid, f, 8*time.Second)
				if why == "" && !(mean >= 0 && mean <= highest+1e-12 && highest <= 1) {
					t.Fatalf("%s of %s: %v, %v", f.Name(), uuid, mean, highest)
				}
			}
		}
	})
}
