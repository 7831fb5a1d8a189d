package observe

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/vllm/args"
	"github.com/vobs/vobs/sampler/proc"
)

// setResident sets the resident memory of a process, in pages.
func (f procFixture) setResident(pid, pages int) {
	f.t.Helper()
	text := fmt.Sprintf("%d %d 396 5 0 123 0\n", pages+700, pages)
	if err := os.WriteFile(filepath.Join(f.root, strconv.Itoa(pid), "statm"), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// memoryReadings returns a discovery that records, and what reads the engines' memory at a time.
func memoryReadings(d *discovery) (recorded *[]curve.Reading, read func(seconds float64, frontEnds ...int)) {
	recorded = &[]curve.Reading{}
	d.started = time.Unix(1e9, 0)
	d.record = func(r curve.Reading) { *recorded = append(*recorded, r) }
	return recorded, func(seconds float64, frontEnds ...int) {
		processes, _ := d.tree.Processes()
		var found []proc.Process
		for _, p := range processes {
			if slices.Contains(frontEnds, p.PID) {
				found = append(found, p)
			}
		}
		d.readEngineMemory(d.started.Add(time.Duration(seconds*1e9)), found, processes)
	}
}

// pagesOf returns the readings in pages.
func pagesOf(readings []curve.Reading) (pages []int) {
	for _, r := range readings {
		pages = append(pages, int(r.Value)/os.Getpagesize())
	}
	return pages
}

// The memory of a server that is not the command's is that of its process and its descendants.
func TestMemoryOfOutsideEngine(t *testing.T) {
	f, d := serverFixture(t, "http://127.0.0.1:8000/metrics")
	recorded, read := memoryReadings(d)
	f.setResident(200, 1000)
	f.setResident(201, 5000)
	read(1)
	f.setResident(201, 5100)
	read(2) // not due yet
	read(6.5)
	f.Put(201, procStat{PPID: 50, Start: 999, Comm: "sleep"}) // the pid is another process's
	read(12)
	f.Remove(200)
	read(18)
	if got := pagesOf(*recorded); !slices.Equal(got, []int{6000, 6100, 1000}) {
		t.Errorf("recorded %v", got)
	}
	figures := d.memoryCurves(20 * time.Second)
	if len(figures) != 1 || figures[0].Name != "host.engine_rss_bytes" {
		t.Fatalf("%+v", figures)
	}
	for i, s := range figures[0].Slots(curve.Shortest, 80) {
		want := map[int]float64{4: 6000, 26: 6100, 48: 1000}[i] * float64(os.Getpagesize())
		if s.Max != want {
			t.Errorf("slot %d: %v, want %v", i, s.Max, want)
		}
	}
}

// Of the command's processes only the engine's count: its front end and the descendants of that.
func TestMemoryOfCommandsEngine(t *testing.T) {
	f := newProcFixture(t)
	f.Put(110, procStat{PPID: vobsPID, Comm: "python"}) // a client
	d := testDiscovery(f.root)
	d.tree = proc.NewTree(f.root, vobsPID)
	if err := d.tree.Discover(); err != nil {
		t.Fatal(err)
	}
	recorded, read := memoryReadings(d)
	for pid, pages := range map[int]int{101: 10, 102: 200, 103: 3000, 110: 40000} {
		f.setResident(pid, pages)
	}
	read(0.5) // no server yet
	read(1, 101)
	read(7, 101, 102) // a process counts once
	if got := pagesOf(*recorded); !slices.Equal(got, []int{3210, 3210}) {
		t.Errorf("recorded %v", got)
	}
	if figures := testDiscovery(f.root).memoryCurves(time.Second); figures != nil {
		t.Errorf("a curve without a reading: %+v", figures)
	}
}

// Many processes are read less often.
func TestMemoryReadingsKeepTheBudget(t *testing.T) {
	f, d := serverFixture(t, "http://127.0.0.1:8000/metrics")
	e := d.engines["http://127.0.0.1:8000/metrics"]
	for pid := 300; pid < 550; pid++ {
		f.Put(pid, procStat{PPID: 201, Comm: "VLLM::Worker"})
		e.processes = append(e.processes, proc.Process{PID: pid, PPID: 201, StartTicks: uint64(pid)})
	}
	d.engines["http://127.0.0.1:8000/metrics"] = e
	recorded, read := memoryReadings(d)
	for second := range 60 {
		read(float64(second))
	}
	if n := len(*recorded); n != 3 { // 252 processes of 40 µs each: every 20 s for 0.05 % of a core
		t.Errorf("%d readings in a minute", n)
	}
}

func TestIsFrontEnd(t *testing.T) {
	parents := map[int]bool{7: true}
	for _, c := range []struct {
		pid  int
		argv []string
		want bool
	}{
		{1, []string{"vllm", "serve", "m"}, true},
		{1, []string{"vobs", "demo-engine"}, true},
		{1, []string{"python", "client.py"}, false},
		{7, []string{"python", "script.py"}, true}, // it has started an engine core
		{1, []string{"vllm", "bench", "serve"}, false},
	} {
		line := processCommandLine{line: args.Parse(c.argv, "")}
		if got := isFrontEnd(proc.Process{PID: c.pid}, line, parents); got != c.want {
			t.Errorf("%v: %v", c.argv, got)
		}
	}
}
