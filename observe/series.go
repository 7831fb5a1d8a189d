package observe

import (
	"time"

	"github.com/vobs/vobs/internal/curve"
	"github.com/vobs/vobs/schema"
)

const (
	// maxSeriesBytes is the most that the event's group series takes.
	maxSeriesBytes = 16 << 10
	// minSeriesSlots is the number of slots below which a run with very many curves loses
	// the last ones rather than more slots.
	minSeriesSlots = 8
	// seriesFrame and curveFrame are the most that a group, and a curve without its name and
	// values, takes: the keys, brackets and commas.
	seriesFrame = len(`{"slot_seconds":1234567890.25,"curves":[]}`)
	curveFrame  = len(`{"name":"","max":[],"mean":[]},`)
	// slotBytes is the most that a slot takes, in both lists together.
	slotBytes = 2 * (schema.MaxRoundedBytes + len(","))
)

// series returns the event's group of the figures over a run of that duration; nil if none has a
// reading.
func series(figures []curve.Figure, duration time.Duration) *schema.Series {
	if duration <= 0 {
		return nil
	}
	figures, slots := fitSeries(figures)
	widths := make([]time.Duration, len(figures))
	for i := range figures {
		widths[i] = figures[i].Width()
	}
	width := curve.CommonWidth(duration, slots, widths...)
	n := curve.Count(duration, width)
	out := &schema.Series{SlotSeconds: schema.Float(width.Seconds())}
	for i := range figures {
		if c, ok := curveOf(&figures[i], width, n); ok {
			out.Curves = append(out.Curves, c)
		}
	}
	if len(out.Curves) == 0 {
		return nil
	}
	return out
}

// whyNoSeries returns why no figure has a reading in the run.
func whyNoSeries(about *schema.Run) string {
	if about.StartError != nil {
		return "the command did not start"
	}
	return "nothing was read while the command ran: no GPU, no engine, and it ended before its processes could be read"
}

// treeCPU returns the CPU time of the process tree; it is negative if it is unknown.
func treeCPU(h *schema.Host) time.Duration {
	if x, ok := h.TreeCPUSeconds.Value(); ok {
		return time.Duration(x * float64(time.Second))
	}
	return -1
}

// record returns what takes every reading; nil if they are not kept.
func (r *run) record() func(curve.Reading) {
	if r.cfg.Series == nil {
		return nil
	}
	return r.cfg.Series.Add
}

// seconds converts a duration of the event.
func seconds(x schema.Float) time.Duration { return time.Duration(float64(x) * float64(time.Second)) }

// curveOf returns a figure's curve, and whether it has a reading in the run.
func curveOf(f *curve.Figure, width time.Duration, n int) (c schema.Curve, ok bool) {
	c = schema.Curve{Name: f.Name, Max: make([]*schema.Rounded, n), Mean: make([]*schema.Rounded, n)}
	for i, s := range f.Slots(width, n) {
		if s.Readings > 0 {
			c.Max[i], c.Mean[i] = schema.Round(s.Max), schema.Round(s.Mean)
			ok = true
		}
	}
	return c, ok
}

// fitSeries returns how many slots fit into maxSeriesBytes, and the figures, without the last
// ones if there are too many.
func fitSeries(figures []curve.Figure) (fitting []curve.Figure, slots int) {
	left := maxSeriesBytes - seriesFrame
	for _, f := range figures {
		need := curveFrame + len(f.Name) + minSeriesSlots*slotBytes
		if need > left {
			break
		}
		left -= need
		fitting = append(fitting, f)
	}
	slots = minSeriesSlots + left/(slotBytes*max(len(fitting), 1))
	return fitting, min(slots, curve.MaxSlots)
}
