package multiproc

import (
	"strings"

	"github.com/vobs/vobs/probe/exposition"
)

// kind is what a file holds, and with that how the values of several processes become
// one. Modes that are live* differ from the others in when their files are removed alone.
type kind uint8

const (
	counterKind kind = iota
	summaryKind
	histogramKind
	gaugeAll
	gaugeMin
	gaugeMax
	gaugeSum
	gaugeMostRecent
	kinds // how many they are
)

// kindTable has what is to be known of each kind.
var kindTable = [kinds]struct {
	left   string // what is left out of a page that lacks one of its files
	prefix string // of its files' names, without live
	typ    exposition.Type
}{
	counterKind:     {"counters", "counter_", exposition.Counter},
	summaryKind:     {"summaries", "summary_", exposition.Summary},
	histogramKind:   {"histograms", "histogram_", exposition.Histogram},
	gaugeAll:        {"gauges of mode all", "all_", exposition.Gauge},
	gaugeMin:        {"gauges of mode min", "min_", exposition.Gauge},
	gaugeMax:        {"gauges of mode max", "max_", exposition.Gauge},
	gaugeSum:        {"gauges of mode sum", "sum_", exposition.Gauge},
	gaugeMostRecent: {"gauges of mode mostrecent", "mostrecent_", exposition.Gauge},
}

// cumulative says that what a process counted is part of the sums for ever.
func (k kind) cumulative() bool { return k <= histogramKind }

// fileKind reads a file's name: `counter_PID.db`, `gauge_MODE_PID.db` (values.py,
// MmapedValue.__reset). id is the process as it names itself, its number where nobody
// has changed that; live says that the file may vanish at any time.
func fileKind(name string) (k kind, id string, live, ok bool) {
	rest, ok := strings.CutSuffix(name, ".db")
	if !ok {
		return 0, "", false, false
	}
	first, last := counterKind, histogramKind
	if mode, isGauge := strings.CutPrefix(rest, "gauge_"); isGauge {
		first, last = gaugeAll, gaugeMostRecent
		rest, live = strings.CutPrefix(mode, "live")
	}
	for k := first; k <= last; k++ {
		if id, ok := strings.CutPrefix(rest, kindTable[k].prefix); ok {
			return k, id, live, true
		}
	}
	return 0, "", false, false
}
