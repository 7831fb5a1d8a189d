package host

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/sampler/internal/proctest"
	"github.com/vobs/vobs/schema"
)

const somePressure = "some avg10=0.00 avg60=0.12 avg300=0.30 total=1234567\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n"

func TestParsePressure(t *testing.T) {
	got, err := parsePressure([]byte(somePressure))
	if err != nil || got != 1234567*time.Microsecond {
		t.Errorf("got %v, %v", got, err)
	}
	for _, text := range []string{"", "full avg10=0.00 total=99\n", "some avg10=0.00\n", "some total=x\n", "some total=-1\n", "some total=18446744073709551615\n"} {
		if got, err := parsePressure([]byte(text)); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func pressureText(total string) string {
	return "some avg10=0.00 avg60=0.00 avg300=0.00 total=" + total + "\n"
}

func TestPressureDelta(t *testing.T) {
	f := proctest.New(t)
	for _, name := range pressureResources {
		f.Write("pressure/"+name, pressureText("1000000"))
	}
	before := readPressure(f.Root, testkit.Patience)
	f.Write("pressure/cpu", pressureText("2200000"))
	f.Write("pressure/io", pressureText("1400000"))
	var notes schema.Notes
	got := pressureDelta(before, readPressure(f.Root, testkit.Patience), &notes)
	want := &schema.Pressure{CPU: schema.F(1.2), Memory: schema.F(0), IO: schema.F(0.4)}
	if diff := cmp.Diff(want, got); diff != "" || len(notes.Unavailable) != 0 {
		t.Errorf("notes %v; (-want +got):\n%s", notes, diff)
	}

	// One file is malformed, another total decreased.
	f.Write("pressure/cpu", "some\n")
	f.Write("pressure/io", pressureText("999999"))
	got = pressureDelta(before, readPressure(f.Root, testkit.Patience), &notes)
	if diff := cmp.Diff(&schema.Pressure{Memory: schema.F(0)}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if u := notes.Unavailable; len(u) != 2 || u[0].Field != "host.pressure_some_seconds.cpu" || u[1].Field != "host.pressure_some_seconds.io" {
		t.Errorf("notes: %v", notes)
	}
}

func TestPressureMissing(t *testing.T) {
	empty := proctest.New(t)
	off := pressureReading{}
	for i := range off.errs {
		off.errs[i] = &os.PathError{Op: "read", Path: "x", Err: unix.EOPNOTSUPP}
	}
	for hint, r := range map[string]pressureReading{"CONFIG_PSI": readPressure(empty.Root, testkit.Patience), "psi=1": off} {
		var notes schema.Notes
		if got := pressureDelta(r, r, &notes); got != nil {
			t.Errorf("got %v", got)
		}
		if u := notes.Unavailable; len(u) != 1 || u[0].Field != "host.pressure_some_seconds" || !strings.Contains(u[0].Reason, hint) {
			t.Errorf("notes: %v; want one about the group that contains %q", notes, hint)
		}
	}
}

func TestReadPressureReal(t *testing.T) {
	proctest.NeedProc(t)
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range pressureResources {
		before, err := fs.PSIStatsForResource(name)
		if err != nil {
			t.Skipf("SKIPPED: this kernel has no pressure stall information (%v): boot with psi=1", err)
		}
		r := readPressure("/proc", testkit.Patience)
		after, err := fs.PSIStatsForResource(name)
		if err != nil {
			t.Fatal(err)
		}
		us := uint64(r.totals[i].Microseconds())
		if r.errs[i] != nil || us < before.Some.Total || us > after.Some.Total {
			t.Errorf("%s: %d µs, %v; procfs has %d before and %d after", name, us, r.errs[i], before.Some.Total, after.Some.Total)
		}
	}
}

func FuzzParsePressure(f *testing.F) {
	f.Add([]byte(somePressure))
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := parsePressure(data); err == nil && (d < 0 || d%time.Microsecond != 0) {
			t.Errorf("%q: %v", data, d)
		}
	})
}
