package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// pressureResources are the files of /proc/pressure, in the order of
// schema.Pressure's fields.
var pressureResources = [...]string{"cpu", "memory", "io"}

// pressureReading is one reading of the host's accumulated stall times; errs[i] is why
// totals[i] is missing.
type pressureReading struct {
	totals [len(pressureResources)]time.Duration
	errs   [len(pressureResources)]error
}

// readPressure reads how long, since boot, at least one task of the host stalled on
// each resource (procRoot/pressure; Documentation/accounting/psi.rst). The difference
// of two readings is exact to the microsecond, whereas the file's own averages over
// 10 s and more would mostly reflect the time before.
//
// The files are read side by side, and each is given up after the limit. One that is not
// the kernel's own is not read.
func readPressure(procRoot string, limit time.Duration) pressureReading {
	var r pressureReading
	var wg sync.WaitGroup
	for i, name := range pressureResources {
		path := filepath.Join(procRoot, "pressure", name)
		if proc.Overlaid(procRoot, filepath.Join("pressure", name)) {
			r.errs[i] = errOverlaid
			continue
		}
		wg.Go(func() {
			r.totals[i], r.errs[i] = bounded.Call(path, limit, func() (time.Duration, error) { return readStall(path) })
		})
	}
	wg.Wait()
	return r
}

// errOverlaid means that LXCFS, or an administrator, has mounted another file over a pressure
// file.
var errOverlaid = errors.New("another file is mounted over the kernel's in /proc/pressure (LXCFS?), which describes a container, not the host")

// readStall reads one pressure file.
func readStall(path string) (time.Duration, error) {
	data, err := proc.ReadFile(path, proc.MaxSmallFile)
	if err != nil {
		return 0, err
	}
	total, err := parsePressure(data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return total, nil
}

// parsePressure returns the total in the line "some" of a pressure file, which the
// kernel counts in microseconds.
func parsePressure(data []byte) (time.Duration, error) {
	for line := range bytes.Lines(data) {
		field, rest := proc.NextField(line)
		if string(field) != "some" {
			continue
		}
		for len(field) > 0 {
			field, rest = proc.NextField(rest)
			digits, found := bytes.CutPrefix(field, []byte("total="))
			if !found {
				continue
			}
			us, ok := proc.ParseUint(digits)
			if !ok || us > uint64(1<<63-1)/uint64(time.Microsecond) {
				return 0, fmt.Errorf("%q is not a stall time", field)
			}
			return time.Duration(us) * time.Microsecond, nil
		}
	}
	return 0, errors.New("no line \"some\" with a total")
}

// pressureDelta returns the stall times between two readings and adds a reason for each
// missing one. If all are missing for the same reason, it returns nil and adds one
// reason for the group.
func pressureDelta(before, after pressureReading, notes *schema.Notes) *schema.Pressure {
	const group = "host.pressure_some_seconds"
	var p schema.Pressure
	fields := [...]**schema.Float{&p.CPU, &p.Memory, &p.IO}
	var reasons [len(pressureResources)]string
	missing, same := 0, true
	for i := range pressureResources {
		switch {
		case before.errs[i] != nil:
			reasons[i] = pressureReason(before.errs[i])
		case after.errs[i] != nil:
			reasons[i] = pressureReason(after.errs[i])
		case after.totals[i] < before.totals[i]:
			reasons[i] = "the kernel's total of stalled time decreased"
		default:
			*fields[i] = schema.F((after.totals[i] - before.totals[i]).Seconds())
			continue
		}
		missing++
		same = same && reasons[i] == reasons[0]
	}
	if missing == len(pressureResources) && same {
		notes.Missing(group, reasons[0])
		return nil
	}
	for i, name := range pressureResources {
		if reasons[i] != "" {
			notes.Missing(group+"."+name, reasons[i])
		}
	}
	return &p
}

// pressureReason returns why a pressure file could not be read, and what to do about
// it. The files are missing if the kernel was built without PSI; opening them fails with
// EOPNOTSUPP if PSI is built in but disabled (kernel/sched/psi.c, psi_show and
// psi_open).
func pressureReason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no /proc/pressure: the kernel lacks pressure stall information, which needs Linux 4.20 or newer, built with CONFIG_PSI=y"
	case errors.Is(err, unix.EOPNOTSUPP):
		return "pressure stall information is disabled in this kernel: boot with psi=1"
	case errors.Is(err, fs.ErrPermission):
		return "no permission to read /proc/pressure: " + err.Error()
	case err == errOverlaid:
		return err.Error()
	}
	return "pressure stall information could not be read: " + err.Error()
}
