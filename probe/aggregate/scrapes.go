package aggregate

import (
	"slices"
	"time"

	"github.com/vobs/vobs/schema"
)

// readings returns the number of successful readings of all endpoints.
func (v view) readings() int64 {
	n := int64(0)
	for _, e := range v.endpoints {
		n += e.Scrapes
	}
	return n
}

func (v view) scrapes() *schema.Scrapes {
	s := &schema.Scrapes{Count: v.readings()}
	var latencies []time.Duration
	var span, gap time.Duration
	steps := int64(0)
	for _, e := range v.endpoints {
		s.Errors += e.Errors
		latencies = append(latencies, e.Latencies...)
		if e.Scrapes > 1 {
			span += e.LastAt.Sub(e.FirstAt)
			steps += e.Scrapes - 1
			gap = max(gap, e.MaxGap)
		}
	}
	s.MedianSeconds = schema.F(medianOf(latencies).Seconds())
	if steps > 0 {
		s.PeriodSeconds = schema.F(span.Seconds() / float64(steps))
		s.MaxGapSeconds = schema.F(gap.Seconds())
	} else {
		v.Notes.Missing("engine.scrapes.period_seconds", "there was only one reading")
		v.Notes.Missing("engine.scrapes.max_gap_seconds", "there was only one reading")
	}
	return s
}

// medianOf sorts durations in place and returns the median; 0 if there are none.
func medianOf(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}
