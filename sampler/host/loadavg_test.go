package host

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/procfs"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/schema"
)

// parseLoadAvg follows the rules of NeMo Safe Synthesizer's read_loadavg
// (observability.py).
func TestParseLoadAvg(t *testing.T) {
	good := map[string]schema.LoadAvg{
		"0.52 0.58 0.59 2/107 7553\n": {0.52, 0.58, 0.59},
		"1 2 3":                       {1, 2, 3},
		"\t1e2\n-0.5\x1f+3.25 junk":   {100, -0.5, 3.25}, // no range check, any white space
		"1\u00a02\u00a03":             {1, 2, 3},
	}
	for text, want := range good {
		got, err := parseLoadAvg([]byte(text))
		if err != nil || *got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1 2", "0,5 1 2", "1 2 x", "nan inf 0", "1 2 NaN", "1 -inf 2", "1e999 1 1", "0x1p-2 1 1", "\xff 1 2", "1 2 3 \xff"} {
		if got, err := parseLoadAvg([]byte(text)); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestReadLoadAvg(t *testing.T) {
	f := proctest.New(t)
	if _, err := ReadLoadAvg(f.Root); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "only Linux") {
		t.Errorf("without the file: %v", err)
	}
	f.Write("loadavg", "0.1 x 0.3")
	if _, err := ReadLoadAvg(f.Root); err == nil || !strings.Contains(err.Error(), filepath.Join(f.Root, "loadavg")) {
		t.Errorf("with a malformed file: %v", err)
	}
	proctest.NeedProc(t)
	ref, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, "procfs reads the same averages", func() bool {
		got, err := ReadLoadAvg("/proc")
		if err != nil {
			t.Fatal(err)
		}
		want, err := ref.LoadAvg()
		if err != nil {
			t.Fatal(err)
		}
		return *got == schema.LoadAvg{schema.Float(want.Load1), schema.Float(want.Load5), schema.Float(want.Load15)}
	})
}

func FuzzParseLoadAvg(f *testing.F) {
	f.Add([]byte("0.52 0.58 0.59 2/107 7553\n"))
	f.Add([]byte("nan inf 0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseLoadAvg(data)
		if err != nil {
			return
		}
		for _, x := range got {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				t.Errorf("%q: %v is not valid in JSON", data, x)
			}
		}
		again, err := parseLoadAvg(append(bytes.Clone(data), " tail"...))
		if err != nil || *again != *got {
			// With three words, the tail becomes part of the third word.
			if len(bytes.Fields(data)) > 3 {
				t.Errorf("%q: a further word changed the result to %v, %v", data, again, err)
			}
		}
	})
}
