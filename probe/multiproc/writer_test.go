package multiproc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/probe/exposition"
)

// pyProcess writes like a process with prometheus_client: one file for all counters, one for
// the gauges of a mode, written in place, each doubled when it is full.
type pyProcess struct {
	dir, pid string
	counters map[string]float64
	names    []string // of the counters, in the order of their creation
	gauge    float64
}

func (p *pyProcess) path(kind string) string {
	return filepath.Join(p.dir, kind+"_"+p.pid+".db")
}

// inc adds to a counter, which it creates if necessary.
func (p *pyProcess) inc(t *testing.T, name string, by float64) {
	t.Helper()
	if _, ok := p.counters[name]; !ok {
		p.names = append(p.names, name)
	}
	p.counters[name] += by
	inPlace(t, p.path("counter"), p.counterFile().bytes())
}

func (p *pyProcess) counterFile() *dbFile {
	f := newDB()
	for _, name := range p.names {
		f.entry(name, name+"_total", "", p.counters[name])
		for f.size < len(f.data) {
			f.size *= 2
		}
	}
	return f
}

func (p *pyProcess) set(t *testing.T, to float64) {
	t.Helper()
	p.gauge = to
	inPlace(t, p.path("gauge_livesum"), newDB().entry("g", "g", "", to).bytes())
}

// inPlace writes a file without truncating it: the values first and the number of used bytes
// last, as mmap_dict.py does.
func inPlace(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() < int64(len(data)) {
		err = f.Truncate(int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range [][2]int{{8, len(data)}, {0, 8}} {
		if _, err := f.WriteAt(data[part[0]:part[1]], int64(part[0])); err != nil {
			t.Fatal(err)
		}
	}
}

// observer reads a directory like vobs does: readings, and recorded rounds where they are
// possible. It fails if a counter decreases.
type observer struct {
	r    *Reader
	page exposition.Page
	last map[string]float64
	// rounds counts the recorded rounds, readings the good readings.
	rounds, readings int
}

func newObserver(dir string) *observer {
	return &observer{r: New(dir, nil), last: map[string]float64{}}
}

// check compares the page's counters with those before.
func (o *observer) check(t *testing.T, how string) {
	t.Helper()
	for _, s := range o.page.Samples {
		if s.Name == "g" {
			continue
		}
		if s.Value < o.last[s.Name] {
			t.Fatalf("%s: %s decreased from %v to %v", how, s.Name, o.last[s.Name], s.Value)
		}
		o.last[s.Name] = s.Value
	}
}

// drain reads the rounds that are waiting.
func (o *observer) drain(t *testing.T) {
	t.Helper()
	// A recording keeps eight rounds. Under the race detector new ones may come as fast as
	// old ones are read.
	for range 16 {
		_, _, ok, err := o.r.Recorded(&o.page)
		if !ok || err != nil {
			return
		}
		o.rounds++
		o.check(t, "a recorded round")
	}
}

// read takes a reading, and records from then on if possible. A page that lacks counters is
// not compared: it is no page of lower ones.
func (o *observer) read(t *testing.T, full bool) error {
	t.Helper()
	o.drain(t)
	err := o.r.Read(&o.page, full)
	if err == nil {
		o.readings++
		o.check(t, "a reading")
	}
	return err
}

// A program like cp truncates a file and writes it anew. What it has of the file so far is
// never a lower sum, neither for a reading nor for a recorded round.
func TestRewrittenFile(t *testing.T) {
	dir := good(t)
	f := newDB().entry("c", "c_total", "", 20)
	for i := range 300 { // several pages
		f.entry("d", "d_total", fmt.Sprintf(`"i": "%d"`, i), 1)
	}
	f.write(t, dir+"/counter_2.db")
	o := newObserver(dir)
	if err := o.read(t, true); err != nil {
		t.Fatal(err)
	}
	whole := f.bytes()
	for _, n := range []int{0, 1, 4, 8, 4096, 8192, len(f.data) - 1} {
		if err := os.WriteFile(dir+"/counter_2.db", whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var partial *PartialError
			if err := o.read(t, true); !errors.As(err, &partial) || partial.Problems[0].Name != "counter_2.db" {
				t.Errorf("%d bytes: %v", n, err)
			}
			if got := flat(t, &o.page); got["c_total{}"] != "" || got["h_count{}"] == "" {
				t.Errorf("%d bytes: %v", n, got)
			}
		}
	}
	// Space without content: the file was extended first.
	if err := os.WriteFile(dir+"/counter_2.db", make([]byte, len(whole)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.read(t, false); !errors.Is(err, errEmptied) {
		t.Error(err)
	}
	if err := os.WriteFile(dir+"/counter_2.db", whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.read(t, true); err != nil || o.last["c_total"] != 25 || o.r.lostAt != 0 {
		t.Errorf("%v, c_total %v, lost at %d", err, o.last["c_total"], o.r.lostAt)
	}
}

// recordingWorks reports whether files can be recorded in this build and on this system.
func recordingWorks(t *testing.T) bool {
	t.Helper()
	fd, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return recordable(fd)
}

// Processes come, count, outgrow the recorded room, and end, at random: at every step the
// counters seen never decrease, and after the last one they are exact.
func TestRandomProcesses(t *testing.T) {
	const seed = 13
	canRecord := recordingWorks(t)
	for run := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, run))
		dir := t.TempDir()
		o := newObserver(dir)
		var processes []*pyProcess
		truth, extra := map[string]float64{}, 0
		for step := range 250 {
			switch action := rnd.IntN(20); {
			case len(processes) == 0 || action == 0 && len(processes) < 12:
				p := &pyProcess{dir: dir, pid: fmt.Sprint(100*run + uint64(step)), counters: map[string]float64{}}
				processes = append(processes, p)
				p.set(t, 1)
			case action == 1: // mark_process_dead
				if err := os.Remove(processes[rnd.IntN(len(processes))].path("gauge_livesum")); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			case action == 2: // new series, more than the recorded room
				p := processes[rnd.IntN(len(processes))]
				for range 150 {
					name := fmt.Sprintf("extra%d", extra)
					extra++
					p.names = append(p.names, name)
					p.counters[name], truth[name+"_total"] = 1, 1
				}
				inPlace(t, p.path("counter"), p.counterFile().bytes())
			case action == 3: // a program like cp rewrites a file, and is not done
				p := processes[rnd.IntN(len(processes))]
				if len(p.names) == 0 {
					break
				}
				whole := p.counterFile().bytes()
				for _, n := range []int{0, min(4096, len(p.counterFile().data)-1), len(whole)} {
					if err := os.WriteFile(p.path("counter"), whole[:n], 0o600); err != nil {
						t.Fatal(err)
					}
					_ = o.read(t, rnd.IntN(2) == 0)
				}
			default:
				name, by := fmt.Sprintf("c%d", rnd.IntN(3)), float64(rnd.IntN(100))
				truth[name+"_total"] += by
				processes[rnd.IntN(len(processes))].inc(t, name, by)
			}
			switch rnd.IntN(6) {
			case 0, 1:
				if err := o.read(t, rnd.IntN(3) == 0); err != nil {
					t.Fatalf("run %d, step %d: %v", run, step, err)
				}
			case 2:
				o.drain(t)
			case 3:
				recording := o.r.Record(2 * time.Millisecond)
				if canRecord && !recording && rnd.IntN(3) == 0 {
					testkit.Await(t, "a recording", func() bool {
						if err := o.read(t, false); err != nil {
							t.Fatalf("run %d, step %d: %v", run, step, err)
						}
						recording = o.r.Record(2 * time.Millisecond)
						return recording
					})
				}
				if recording && rnd.IntN(3) == 0 {
					testkit.Await(t, "a round", func() bool {
						before := o.rounds
						o.drain(t)
						return o.rounds > before || o.r.recorder == nil
					})
				}
			}
		}
		if err := o.read(t, true); err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		for name, want := range truth {
			if o.last[name] != want {
				t.Errorf("run %d: %s is %v, want %v", run, name, o.last[name], want)
			}
		}
		o.r.StopRecord()
		t.Logf("run %d: %d readings, %d recorded rounds, %d processes", run, o.readings, o.rounds, len(processes))
	}
}
