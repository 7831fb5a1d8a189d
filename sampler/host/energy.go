package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vobs/vobs/internal/bounded"
	"github.com/vobs/vobs/sampler/proc"
	"github.com/vobs/vobs/schema"
)

const (
	// energyInterval is how often the energy counters are read at least, if the readings of
	// the process tree come that often: they wrap around, on a CPU of 250 W after 17 minutes,
	// with a narrow counter after 4.
	energyInterval = 30 * time.Second
	// maxZoneWatts is more than any CPU package, or its memory, can draw.
	maxZoneWatts = 1000
)

// energyZone is one counter of RAPL (Documentation/power/powercap/powercap.rst of Linux). Its
// numbers are microjoules.
type energyZone struct {
	path   string // of energy_uj
	wrap   uint64 // max_energy_range_uj, where the counter starts again at 0
	last   uint64
	lastAt time.Time
	sum    uint64
}

// energyCounters are the energy counters of the host's CPU packages and of their memory.
// The zone psys includes the packages, the zones core and uncore are parts of one, and those
// of intel-rapl-mmio are the packages again: none of these is read.
type energyCounters struct {
	mu    sync.Mutex // held while files are read
	dir   string
	zones []energyZone
	err   error // why the energy is unknown

	once  sync.Once // of end
	total float64   // joules
	why   error     // why total is unknown
}

func newEnergyCounters(sysRoot string) *energyCounters {
	if sysRoot == "" {
		sysRoot = "/sys"
	}
	return &energyCounters{dir: filepath.Join(sysRoot, "class", "powercap"), err: errNotRead}
}

// open finds the zones and reads them for the first time.
func (c *energyCounters) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.zones, c.err = findEnergyZones(c.dir)
	for i := range c.zones {
		if c.err == nil {
			c.err = c.zones[i].read(false)
		}
	}
}

// readIfDue reads the counters if that has not happened for energyInterval, and if no other
// reading of them is in progress.
func (c *energyCounters) readIfDue(now time.Time) {
	if !c.mu.TryLock() {
		return
	}
	due := c.err == nil && now.Sub(c.zones[0].lastAt) >= energyInterval
	c.mu.Unlock()
	if due {
		_, _ = bounded.Call(c.dir, readTimeout, func() (struct{}, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.readAll()
			return struct{}{}, nil
		})
	}
}

// end reads the counters for the last time, at its first call, and returns the energy since
// open, in joules.
func (c *energyCounters) end(limit time.Duration) (joules float64, err error) {
	c.once.Do(func() { c.total, c.why = bounded.Call(c.dir, limit, c.readLast) })
	return c.total, c.why
}

// readLast reads the counters and returns the energy since open, in joules.
func (c *energyCounters) readLast() (joules float64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readAll(); c.err != nil {
		return 0, c.err
	}
	sum := uint64(0)
	for _, z := range c.zones {
		sum += z.sum
	}
	if sum == 0 {
		return 0, fmt.Errorf("the counters in %s did not move", c.dir)
	}
	return float64(sum) / 1e6, nil
}

// readAll reads all zones: there is no sum of some of them.
func (c *energyCounters) readAll() {
	if c.err != nil {
		return
	}
	for i := range c.zones {
		if err := c.zones[i].read(true); err != nil {
			c.err = err
			return
		}
	}
}

// read reads the counter, and adds up what it gained if add is set.
func (z *energyZone) read(add bool) error {
	value, err := readUint(z.path)
	if err != nil {
		return err
	}
	now := time.Now()
	if add {
		gain := value - z.last
		if value < z.last {
			if value > z.wrap || z.last > z.wrap {
				return fmt.Errorf("%s decreased from %d to %d", z.path, z.last, value)
			}
			gain = z.wrap - z.last + value
		}
		if gap := now.Sub(z.lastAt); float64(z.wrap) < maxZoneWatts*1e6*gap.Seconds() && gap > 2*energyInterval {
			return fmt.Errorf("%s was not read for %.0f s, in which it may have wrapped around more than once", z.path, gap.Seconds())
		}
		z.sum += gain
	}
	z.last, z.lastAt = value, now
	return nil
}

// findEnergyZones returns the zones of the CPU packages and of their memory.
func findEnergyZones(dir string) (zones []energyZone, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, fmt.Errorf("%s has no energy counters: this CPU has none, or a virtual machine or a container hides them", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for energy counters: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "intel-rapl:") { // also with a CPU of AMD
			continue
		}
		zone := filepath.Join(dir, entry.Name())
		name, err := proc.ReadFile(filepath.Join(zone, "name"), proc.MaxSmallFile)
		if err != nil {
			return nil, fmt.Errorf("reading the name of an energy counter: %w", err)
		}
		if kind := strings.TrimSpace(string(name)); kind != "dram" && !strings.HasPrefix(kind, "package-") {
			continue
		}
		z := energyZone{path: filepath.Join(zone, "energy_uj")}
		if _, err = readUint(z.path); err != nil { // the most likely failure first
			return nil, err
		}
		if z.wrap, err = readUint(filepath.Join(zone, "max_energy_range_uj")); err != nil {
			return nil, err
		}
		zones = append(zones, z)
	}
	if len(zones) == 0 {
		return nil, fmt.Errorf("%s has no energy counter of a CPU package", dir)
	}
	return zones, nil
}

// readUint reads a file that consists of a number.
func readUint(path string) (uint64, error) {
	text, err := proc.ReadFile(path, proc.MaxSmallFile)
	if err != nil {
		return 0, energyError(path, err)
	}
	n, ok := proc.ParseUint([]byte(strings.TrimSpace(string(text))))
	if !ok {
		return 0, fmt.Errorf("reading an energy counter: %s is not a number", path)
	}
	return n, nil
}

// energyError wraps an error of reading a counter's file.
func energyError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("reading an energy counter: %w: since Linux 5.10 only root may (CVE-2020-8694), unless root runs chmod a+r %s", err, path)
	}
	return fmt.Errorf("reading an energy counter: %w", err)
}

// reportEnergy fills in the energy of the host.
func (r *readings) reportEnergy(host *schema.Host, notes *schema.Notes) {
	if r.energyErr != nil {
		notes.Missing("host.energy_joules", r.energyErr.Error())
		return
	}
	host.EnergyJoules = schema.F(r.energy)
}
