package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

// pressureResources are the files of /proc/pressure, in the order of
// schema.Pressure's fields.
var pressureResources = [...]string{"cpu", "memory", "io"}

// pressureReading is one reading of the host's accumulated stall times; errs[i]
// says why totals[i] is missing.
type pressureReading struct {
	totals [len(pressureResources)]time.Duration
	errs   [len(pressureResources)]error
}

// readPressure reads how long, since boot, some task of the host stalled on each
// resource (procRoot/pressure; Documentation/accounting/psi.rst). The caller
// takes the difference of two readings, which is exact to the microsecond, where
// the file's own averages over 10 s and more would mostly show history.
func readPressure(procRoot string) pressureReading {
	var r pressureReading
	for i, name := range pressureResources {
		path := filepath.Join(procRoot, "pressure", name)
		data, err := proc.ReadFile(path, proc.MaxSmallFile)
		if err == nil {
			r.totals[i], err = parsePressure(data)
			if err != nil {
				err = fmt.Errorf("%s: %w", path, err)
			}
		}
		r.errs[i] = err
	}
	return r
}

// parsePressure reads the total of the line "some" of a pressure file. The
// kernel counts it in microseconds.
func parsePressure(data []byte) (time.Duration, error) {
	for line := range bytes.Lines(data) {
		word, rest := proc.NextField(line)
		if string(word) != "some" {
			continue
		}
		for len(word) > 0 {
			word, rest = proc.NextField(rest)
			digits, found := bytes.CutPrefix(word, []byte("total="))
			if !found {
				continue
			}
			us, ok := proc.ParseUint(digits)
			if !ok || us > uint64(1<<63-1)/uint64(time.Microsecond) {
				return 0, fmt.Errorf("%q is no stall time", word)
			}
			return time.Duration(us) * time.Microsecond, nil
		}
	}
	return 0, errors.New("no total in a line \"some\"")
}

// pressureDelta gives the stall times between two readings, with a reason for
// each missing one. The group is nil when none could be read, with one reason
// for all of them when it is the same.
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
			reasons[i] = "the kernel's count of stalled time went backwards"
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

// pressureReason says why a pressure file could not be read, and how to get it.
// The kernel leaves the files out when it was built without PSI, and gives
// EOPNOTSUPP on opening them when PSI was built in but left off
// (kernel/sched/psi.c, psi_show and psi_open).
func pressureReason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no /proc/pressure: the kernel has no pressure stall information (Linux 4.20 and newer, built with CONFIG_PSI=y)"
	case errors.Is(err, unix.EOPNOTSUPP):
		return "pressure stall information is off in this kernel: boot with psi=1"
	case errors.Is(err, fs.ErrPermission):
		return "no permission to read /proc/pressure: " + err.Error()
	}
	return "pressure stall information could not be read: " + err.Error()
}
