package seriesfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vobs/vobs/internal/budget"
	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/internal/testkit"

	"golang.org/x/sys/unix"
)

func open(t *testing.T) (*File, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "series.jsonl")
	if err := os.WriteFile(name, []byte("of an earlier run\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return f, name
}

func content(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Lines are in the file after a second, without Close: a killed vobs leaves them.
func TestLinesAreWrittenSoon(t *testing.T) {
	f, name := open(t)
	defer f.Close()
	start := time.Now()
	f.Add(curve.Reading{At: start, Name: "too early", Value: 1})
	f.Start(start, func(message string) { t.Error(message) })
	f.Add(curve.Reading{At: start.Add(-time.Second), Name: "before the start", Value: 1})
	f.Add(curve.Reading{At: start.Add(1500 * time.Millisecond), Name: "gpus.0.memory_used_bytes", Value: 85899345920})
	f.Add(curve.Reading{At: start.Add(1523456 * time.Microsecond), Name: "engine.kv_cache.usage", Value: 0.25, Endpoint: "http://a/\"b", Stage: "1"})
	f.Add(curve.Reading{At: start.Add(2 * time.Second), Name: "x", Value: math.NaN()})
	f.Add(curve.Reading{At: start.Add(2 * time.Second), Name: "x", Value: 1e-9})
	want := `{"seconds":1.5000,"name":"gpus.0.memory_used_bytes","value":85899345920}
{"seconds":1.5235,"name":"engine.kv_cache.usage","value":0.25,"endpoint":"http://a/\"b","stage":"1"}
{"seconds":2.0000,"name":"x","value":1e-09}
`
	for end := time.Now().Add(testkit.Patience); content(t, name) != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the file has %q, want %q", content(t, name), want)
		}
	}
	for line := range strings.Lines(want) {
		if !json.Valid([]byte(line)) {
			t.Errorf("%q is not JSON", line)
		}
	}
}

// A thousand readings a second make one write a second.
func TestWritesAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, name := open(t)
		writes := 0
		var written bytes.Buffer
		f.write = func(b []byte) (int, error) { writes++; return written.Write(b) }
		start := time.Now()
		f.Start(start, nil)
		for i := range 10_000 {
			f.Add(curve.Reading{At: time.Now(), Name: "x", Value: float64(i)})
			time.Sleep(time.Millisecond)
		}
		f.Close()
		if writes < 9 || writes > 11 {
			t.Errorf("%d writes in 10 s", writes)
		}
		if n := bytes.Count(written.Bytes(), []byte("\n")); n != 10_000 {
			t.Errorf("%d lines", n)
		}
		f.Add(curve.Reading{At: time.Now(), Name: "x", Value: 1})
		f.Close()
		if got := content(t, name); got != "" {
			t.Errorf("the file itself has %q", got)
		}
	})
}

// A reading is in the file a second and a tick later at most, and the next tick if very many wait.
func TestWritesAreInTime(t *testing.T) {
	for perMillisecond, limit := range map[int]time.Duration{1: writeInterval + budget.Tick, 20: 2 * budget.Tick} {
		synctest.Test(t, func(t *testing.T) {
			f, _ := open(t)
			var mu sync.Mutex
			var waiting []time.Time // of the readings that are not written yet
			f.write = func(b []byte) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				for range bytes.Count(b, []byte("\n")) {
					if late := time.Since(waiting[0]); late > limit {
						t.Errorf("%d readings a millisecond: one was written after %v", perMillisecond, late)
					}
					waiting = waiting[1:]
				}
				return len(b), nil
			}
			f.Start(time.Now(), nil)
			for range 3000 {
				for range perMillisecond {
					now := time.Now()
					mu.Lock()
					waiting = append(waiting, now)
					mu.Unlock()
					f.Add(curve.Reading{At: now, Name: "x", Value: 1})
				}
				time.Sleep(time.Millisecond)
			}
			f.Close()
			if len(waiting) > 0 {
				t.Errorf("%d readings were not written", len(waiting))
			}
		})
	}
}

// A write that fails is warned about once; what is in the file ends with a whole line.
func TestFailedWrite(t *testing.T) {
	f, name := open(t)
	failing := false
	f.write = func(b []byte) (int, error) {
		if failing {
			n, _ := f.f.Write(b[:len(b)-3])
			return n, unix.ENOSPC
		}
		return f.f.Write(b)
	}
	var warnings []string
	f.Start(time.Now(), func(message string) { warnings = append(warnings, message) })
	add := func(n int) {
		for i := range n {
			f.Add(curve.Reading{At: time.Now(), Name: fmt.Sprint("r", i), Value: 1})
		}
		f.timer.Stop()
		f.flush()
	}
	add(2)
	failing = true
	add(3)
	add(4)
	f.Close()
	got := content(t, name)
	if strings.Count(got, "\n") != 4 || !strings.HasSuffix(got, "\n") {
		t.Errorf("the file has %q, want two lines and the first two of three", got)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "no space left") || !strings.Contains(warnings[0], name) {
		t.Errorf("%q", warnings)
	}
}

// A write that hangs holds up nothing, and is given up.
func TestHangingWrite(t *testing.T) {
	f, _ := open(t)
	hang := make(chan struct{})
	defer close(hang)
	calls := 0
	var mu sync.Mutex
	f.write = func([]byte) (int, error) { mu.Lock(); calls++; mu.Unlock(); <-hang; return 0, errors.New("late") }
	warned := make(chan string, 10)
	f.Start(time.Now(), func(message string) { warned <- message })
	begin := time.Now()
	for range 1000 {
		f.Add(curve.Reading{At: time.Now(), Name: "x", Value: 1})
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(begin); took > testkit.Patience {
		t.Errorf("1000 readings took %v", took)
	}
	f.Close()
	if took := time.Since(begin); took > 2*testkit.Patience {
		t.Errorf("it took %v to give the write up", took)
	}
	f.Add(curve.Reading{At: time.Now(), Name: "x", Value: 1})
	f.Close()
	if len(warned) != 1 {
		t.Errorf("%d warnings", len(warned))
	}
	mu.Lock()
	defer mu.Unlock()
	if calls != 1 {
		t.Errorf("%d writes", calls)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		filepath.Join(dir, "none", "x"): "does not exist",
		dir:                             "is a directory",
		fifo:                            "not a regular file",
		"/dev/null":                     "not a regular file",
	} {
		if _, err := Open(name); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "series "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var none *File
	none.Start(time.Now(), nil)
	none.Add(curve.Reading{})
	none.Close()
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	name := filepath.Join(b.TempDir(), "series.jsonl")
	f, err := Open(name)
	if err != nil {
		b.Fatal(err)
	}
	f.write = func(p []byte) (int, error) { return len(p), nil }
	start := time.Now()
	f.Start(start, nil)
	for i := range b.N {
		f.Add(curve.Reading{At: start.Add(time.Duration(i) * time.Millisecond), Name: "engine.kv_cache.usage", Value: 0.25})
		if i%1000 == 0 {
			f.flush()
		}
	}
}
