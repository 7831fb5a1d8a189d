package run

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/schema"
)

func TestSeriesRows(t *testing.T) {
	r := schema.Round
	s := &schema.Series{SlotSeconds: 0.5, Curves: []schema.Curve{
		{Name: "gpus.0.memory_used_bytes", Max: []*schema.Rounded{r(8.59e10), nil, r(2)}, Mean: []*schema.Rounded{r(1), nil, r(1.5)}},
		{Name: "engine.kv_cache.usage", Max: []*schema.Rounded{r(0.5), nil}, Mean: []*schema.Rounded{r(0.25), nil}},
	}}
	item := func(key, value string) Item { return Item{key, []byte(value)} }
	want := []Row{
		{now.Add(500 * time.Millisecond), []Item{
			item("vobs/gpus/0/memory_used_bytes/max", "8.59e10"), item("vobs/gpus/0/memory_used_bytes/mean", "1"),
			item("vobs/engine/kv_cache/usage/max", "0.5"), item("vobs/engine/kv_cache/usage/mean", "0.25"),
		}},
		{now.Add(1200 * time.Millisecond), []Item{item("vobs/gpus/0/memory_used_bytes/max", "2"), item("vobs/gpus/0/memory_used_bytes/mean", "1.5")}},
	}
	if d := cmp.Diff(want, seriesRows(s, now, now.Add(1200*time.Millisecond))); d != "" {
		t.Error(d)
	}
	s.SlotSeconds = 0
	if rows := append(seriesRows(s, now, now), seriesRows(nil, now, now)...); len(rows) != 0 {
		t.Errorf("%d rows", len(rows))
	}
	// A foreign file with any number of slots.
	long := schema.Curve{Name: "x", Max: make([]*schema.Rounded, 5000)}
	for i := range long.Max {
		long.Max[i] = r(1)
	}
	s = &schema.Series{SlotSeconds: 1e300, Curves: []schema.Curve{long}}
	if rows := seriesRows(s, now, now.Add(time.Hour)); len(rows) != maxSeriesRows || !rows[0].Time.Equal(now.Add(time.Hour)) {
		t.Errorf("%d rows, want %d", len(rows), maxSeriesRows)
	}
}
