package multiproc

import (
	"strings"

	"github.com/vobs/vobs/probe/exposition"
)

// kind is what a file holds, and thereby how the values of several processes are merged. A
// live* mode differs from the mode itself only in when its files are removed.
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
	numKinds
)

// kindTable describes each kind.
var kindTable = [numKinds]struct {
	metrics string // what its files hold, for messages
	prefix  string // of its files' names, without live
	typ     exposition.Type
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

// cumulative reports whether what a process counted stays in the sums after its end.
func (k kind) cumulative() bool { return k <= histogramKind }

// fileKind parses a file's name: `counter_PID.db`, `gauge_MODE_PID.db` (values.py,
// MmapedValue.__reset). id is the process's identifier, by default its PID. live reports
// whether the file may be removed at any time.
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
