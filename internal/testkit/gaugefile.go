package testkit

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// GaugeFile is a file with the gauges of one process as Python's prometheus_client writes
// it in multiprocess mode (mmap_dict.py): mode mostrecent, labels engine="0" and
// model_name="m".
type GaugeFile struct {
	t    testing.TB
	file *os.File
	at   map[string]int64 // offset of each value
}

// NewGaugeFile creates the file of a process in a directory, or writes to the one that the
// process has created. A gauge that was never set has the time 0.
func NewGaugeFile(t testing.TB, dir, process string, names ...string) *GaugeFile {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "gauge_mostrecent_"+process+".db"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	g := &GaugeFile{t: t, file: f, at: map[string]int64{}}
	data := make([]byte, 8)
	for _, name := range names {
		key := fmt.Sprintf(`["%s", "%s", {"engine": "0", "model_name": "m"}, "help"]`, name, name)
		data = binary.NativeEndian.AppendUint32(data, uint32(len(key)))
		data = append(data, key...)
		for range 8 - (len(key)+4)%8 {
			data = append(data, ' ')
		}
		g.at[name] = int64(len(data))
		data = append(data, make([]byte, 16)...)
	}
	if err := f.Truncate(1 << 16); err != nil {
		t.Fatal(err)
	}
	g.write(data, 0)
	g.write(binary.NativeEndian.AppendUint32(nil, uint32(len(data))), 0) // last, as mmap_dict.py does
	return g
}

// Set sets a gauge, now.
func (g *GaugeFile) Set(name string, value float64) {
	g.t.Helper()
	g.SetAt(name, value, time.Now())
}

// SetAt sets a gauge as of a time.
func (g *GaugeFile) SetAt(name string, value float64, at time.Time) {
	g.t.Helper()
	data := binary.NativeEndian.AppendUint64(nil, math.Float64bits(value))
	data = binary.NativeEndian.AppendUint64(data, math.Float64bits(float64(at.UnixNano())/1e9))
	g.write(data, g.at[name])
}

func (g *GaugeFile) write(data []byte, at int64) {
	g.t.Helper()
	if _, err := g.file.WriteAt(data, at); err != nil {
		g.t.Fatal(err)
	}
}
