package run

import (
	"strings"
	"time"

	"github.com/vobs/vobs/schema"
)

// seriesPrefix begins the keys of the event's series.
const seriesPrefix = "vobs/"

// maxSeriesRows bounds the rows of the series: an event has 120 slots at most, but a file that
// vobs did not write may have any number.
const maxSeriesRows = 1000

// seriesRows returns the event's series as rows of history, one for each slot with a reading, at
// the end of the slot. A curve has two keys, as vobs/gpus/0/power_watts/max and …/mean: a dot in
// a key would nest it.
func seriesRows(s *schema.Series, started, ended time.Time) (rows []Row) {
	if s == nil || s.SlotSeconds <= 0 {
		return nil
	}
	slots := 0
	for _, c := range s.Curves {
		slots = max(slots, len(c.Max), len(c.Mean))
	}
	for i := range min(slots, maxSeriesRows) {
		row := Row{Time: ended}
		// Not beyond the end, to which the last slot may not extend.
		if after := float64(i+1) * float64(s.SlotSeconds); after < ended.Sub(started).Seconds() {
			row.Time = started.Add(time.Duration(after * float64(time.Second))).Truncate(time.Microsecond)
		}
		for _, c := range s.Curves {
			key := seriesPrefix + strings.ReplaceAll(c.Name, ".", "/")
			for _, list := range []struct {
				name   string
				values []*schema.Rounded
			}{{"/max", c.Max}, {"/mean", c.Mean}} {
				if i < len(list.values) && list.values[i] != nil {
					row.Items = append(row.Items, Item{key + list.name, Encode(*list.values[i])})
				}
			}
		}
		if len(row.Items) > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}
