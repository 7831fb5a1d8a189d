package aggregate

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/schema"
)

// scenario returns a scenario's pages: pre, mid if there is one, and post.
func scenario(t testing.TB, name string) []string {
	pages := []string{offloadPage(t, name+"_pre")}
	if _, err := os.Stat("../../testdata/offload/" + name + "_mid.prom"); err == nil {
		pages = append(pages, offloadPage(t, name+"_mid"))
	}
	return append(pages, offloadPage(t, name+"_post"))
}

// transferred is what expected.json has of one direction.
type transferred struct {
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	Operations int64   `json:"operations"`
}

// The figures are those that make.py added up from the events, whether the flat or the
// deprecated families have them. Both count the same events and are never added up.
func TestLoadsAndStores(t *testing.T) {
	text, err := os.ReadFile("../../testdata/offload/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]map[string]transferred
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	if len(expected) < 12 {
		t.Fatalf("only %d scenarios", len(expected))
	}
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		t.Run(name, func(t *testing.T) {
			v, g := offloadView(t, scenario(t, name)...)
			for way, got := range map[string]*schema.KVTransfer{"load": g.KVOffload.Load, "store": g.KVOffload.Store} {
				want := expected[name][way]
				if got.Bytes == nil || *got.Bytes != want.Bytes || got.Seconds == nil || !testkit.Near(got.Seconds, want.Seconds) || got.Operations == nil || *got.Operations != want.Operations {
					t.Errorf("%s %s, want %+v; %v", way, testkit.JSON(got), want, v.Notes.Unavailable)
					continue
				}
				if !testkit.Near(got.GigabytesPerSecondWall, float64(want.Bytes)/4e9) {
					t.Errorf("%s, wall: %s", way, testkit.JSON(got))
				}
				busy := reasonAt(v, "engine.kv_offload."+way+".gigabytes_per_second_busy")
				switch {
				case want.Seconds > 0 && !testkit.Near(got.GigabytesPerSecondBusy, float64(want.Bytes)/want.Seconds/1e9),
					want.Seconds == 0 && got.GigabytesPerSecondBusy != nil,
					want.Seconds == 0 && want.Bytes == 0 && !strings.Contains(busy, "nothing was"),
					want.Seconds == 0 && want.Bytes > 0 && !strings.Contains(busy, "reports no time"):
					t.Errorf("%s, busy: %s %q", way, testkit.JSON(got.GigabytesPerSecondBusy), busy)
				}
				if d := got.SizeBytes; want.Operations > 0 && (d == nil || d.Count != want.Operations || d.Sum != schema.Float(want.Bytes)) || want.Operations == 0 && d != nil {
					t.Errorf("%s sizes: %s", way, testkit.JSON(d))
				}
			}
			if undercounted := strings.Contains(testkit.Codes(v.Output.Notes), "kv_offload_undercounted"); undercounted != (name == "omni") {
				t.Errorf("notes %q", testkit.Codes(v.Output.Notes))
			}
			if strings.HasPrefix(name, "tiers") { // the pages have a gauge of SimpleCPUOffload too
				if c := g.KVConnectors; len(c) != 1 || c[0].Name != "simple_cpu_offload" || *c[0].OffloadBlocks.Pinned.Last != 14 {
					t.Errorf("connectors %s", testkit.JSON(c))
				}
			} else if g.KVConnectors != nil || !strings.Contains(reasonAt(v, "engine.kv_connectors"), "no metrics of a KV connector that vobs reads") {
				t.Errorf("connectors %s", testkit.JSON(g.KVConnectors))
			}
			if !strings.HasPrefix(name, "tiers") && (g.KVOffload.Tiers != nil || !strings.Contains(reasonAt(v, "engine.kv_offload.tiers"), "kv_offload_tiering")) {
				t.Errorf("tiers %s", testkit.JSON(g.KVOffload.Tiers))
			}
		})
	}
}

// Sizes beyond the last bound, and four ranks that copy in parallel: their time together
// exceeds the window.
func TestOffloadRanks(t *testing.T) {
	v, g := offloadView(t, offloadPage(t, "ranks_pre"), offloadPage(t, "ranks_post"))
	load := g.KVOffload.Load
	if load.SizeBytes.P50Est == nil || load.SizeBytes.P99Est != nil || *load.SizeBytes.Above != 2e8 || *load.SizeBytes.Mean != 92_500_000 {
		t.Errorf("sizes: %s", testkit.JSON(load.SizeBytes))
	}
	// The number of ranks is unknown, so nothing is divided by it.
	v.Engine.Window.DurationSeconds = 0.05
	if load = v.kvTransfer(loads); *load.Seconds < 0.05 || !testkit.Near(load.GigabytesPerSecondBusy, 20) || !testkit.Near(load.GigabytesPerSecondWall, 1.48e9/0.05/1e9) {
		t.Errorf("in a short window: %s", testkit.JSON(load))
	}
}

// Which families are read depends on the first and the last page.
func TestDeprecatedFamilies(t *testing.T) {
	const flat, old = "vllm:kv_offload_load_", "vllm:kv_offload_total_"
	pre, post := offloadPage(t, "both_pre"), offloadPage(t, "both_post")
	without := func(page, begins string) string { return testkit.ReplaceLines(t, page, begins, "") }
	// If the offload tier is not CPU memory, the deprecated ones do not move.
	isOld := func(line string) bool {
		return strings.HasPrefix(line, old) || strings.HasPrefix(line, "vllm:kv_offload_size")
	}
	var still strings.Builder
	for line := range strings.Lines(post) {
		if !isOld(line) {
			still.WriteString(line)
		}
	}
	for line := range strings.Lines(pre) {
		if isOld(line) {
			still.WriteString(line)
		}
	}
	for name, c := range map[string]struct {
		pre, post string
		bytes     int64 // -1: null
		why       string
	}{
		"flat ones vanish":                  {pre, without(post, flat), 790_000_000, ""},
		"flat ones are new":                 {without(pre, flat), post, 790_000_000, ""},
		"deprecated ones are gone":          {without(without(pre, old), "vllm:kv_offload_size"), without(without(post, old), "vllm:kv_offload_size"), 790_000_000, ""},
		"deprecated ones vanish":            {pre, without(post, old), 790_000_000, ""},
		"deprecated ones have more":         {pre, testkit.ReplaceAll(t, post, `total_bytes_total{engine="0",model_name="m",transfer_type="CPU_to_GPU"} 3.77e+08`, `total_bytes_total{engine="0",model_name="m",transfer_type="CPU_to_GPU"} 9e+11`), 790_000_000, ""},
		"both vanish":                       {pre, without(without(post, flat), old), -1, "vanished from the page"},
		"flat ones vanish, of another tier": {pre, without(still.String(), flat+"bytes"), -1, "vanished from the page"},
	} {
		t.Run(name, func(t *testing.T) {
			v, g := offloadView(t, c.pre, c.post)
			got := g.KVOffload.Load.Bytes
			why := reasonAt(v, "engine.kv_offload.load.bytes")
			if c.bytes >= 0 && (got == nil || *got != c.bytes) || c.bytes < 0 && (got != nil || !strings.Contains(why, c.why) || g.KVOffload.Load.GigabytesPerSecondBusy != nil || g.KVOffload.Load.GigabytesPerSecondWall != nil) {
				t.Errorf("%s %q, want %d", testkit.JSON(got), why, c.bytes)
			}
			if *g.KVOffload.Store.Bytes != 60_000_000 {
				t.Errorf("stored: %s", testkit.JSON(g.KVOffload.Store))
			}
		})
	}
}

func TestNoOffload(t *testing.T) {
	v, g := offloadView(t, testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post"))
	if g.KVOffload != nil || !strings.Contains(reasonAt(v, "engine.kv_offload"), "exports no vllm:kv_offload families") || strings.Contains(reasonAt(v, "engine.kv_offload"), "off:") || g.KVConnectors != nil {
		t.Errorf("%s", testkit.JSON(g.KVOffload))
	}
	// Before June 2026 the deprecated series came with the first event too.
	page := testkit.ReplaceLines(t, testkit.ReplaceLines(t, offloadPage(t, "deprecated_pre"), "vllm:kv_offload_total_bytes_total{", ""), "vllm:kv_offload_total_time_total{", "")
	if v, g = offloadView(t, page, page); g.KVOffload.Load.Bytes == nil || *g.KVOffload.Load.Bytes != 0 || *g.KVOffload.Store.Seconds != 0 {
		t.Errorf("%s %v", testkit.JSON(g.KVOffload.Load), v.Notes.Unavailable)
	}
	page = testkit.ReplaceLines(t, page, "vllm:kv_offload_size_", "")
	if v, g = offloadView(t, page, page); g.KVOffload.Load.Bytes == nil || *g.KVOffload.Load.Bytes != 0 || *g.KVOffload.Load.Operations != 0 {
		t.Errorf("%s %v", testkit.JSON(g.KVOffload.Load), v.Notes.Unavailable)
	}
	// Families without a sample: offloading is on, and nothing happened.
	page = offloadPage(t, "lazy_pre")
	v, g = offloadView(t, page, page)
	if o := g.KVOffload; o == nil || *o.Load.Bytes != 0 || *o.Load.Operations != 0 || *o.AllocationFailures != 0 || o.StoresSkipped != nil || o.LookupDelaySeconds.Sync != nil || !strings.Contains(reasonAt(v, "engine.kv_offload.lookup_delay_seconds.sync"), "has no sample of it") || !strings.Contains(reasonAt(v, "engine.kv_offload.stores_skipped"), "store_threshold") {
		t.Errorf("%s", testkit.JSON(g.KVOffload))
	}
}

// The expected values are what make.py's function tiers counts.
func TestTiers(t *testing.T) {
	for _, name := range []string{"tiers", "tiers_blocks"} {
		v, g := offloadView(t, scenario(t, name)...)
		o := g.KVOffload
		if *o.AllocationFailures != 6 || *o.StoresSkipped != 7 || *o.PromotionAllocationFailures != 5 || o.LookupDelaySeconds.Sync.Count != 1 || o.LookupDelaySeconds.Async != nil || o.CPUAllocationChunks.Sum != 32 {
			t.Errorf("%s: %s", name, testkit.JSON(o))
		}
		if p := o.CPUPinned; *p.Usage.Peak != 0.25 || *p.Usage.Last != 0 || *p.Write.Peak != 0.2 || *p.Read.Peak != 0.05 {
			t.Errorf("%s: pinned %s", name, testkit.JSON(p))
		}
		var names []string
		for _, tier := range o.Tiers {
			names = append(names, tier.Tier)
		}
		if diff := cmp.Diff([]string{"0:primary", "1:fs", "2:obj", "10:StripedFileSystemTierManager", "disk"}, names); diff != "" {
			t.Fatal(diff)
		}
		primary, fs, obj, striped, disk := o.Tiers[0], o.Tiers[1], o.Tiers[2], o.Tiers[3], o.Tiers[4]
		if *primary.Queries != 400 || *primary.Hits != 200 || *primary.HitRate != 0.5 || primary.ReadBytes != nil || primary.WriteSeconds != nil || *primary.Failures != 0 || !strings.Contains(reasonAt(v, "engine.kv_offload.tiers.0.read_bytes"), "reads and writes nothing itself") {
			t.Errorf("%s: %s", name, testkit.JSON(primary))
		}
		if *fs.Queries != 200 || *fs.Hits != 30 || *fs.HitRate != 0.15 || *fs.ReadBytes != 62_000_000 || *fs.ReadSeconds != 0.25 || *fs.WriteBytes != 30_000_000 || *fs.WriteSeconds != 0.5 || *fs.PromotionFailures != 2 || *fs.CascadeFailures != 0 || *fs.Failures != 2 {
			t.Errorf("%s: %s", name, testkit.JSON(fs))
		}
		// The jobs of both engines are added up; of fractions the highest counts.
		if *fs.ActivePromotions.Peak != 6 || *fs.ActivePromotions.Last != 0 || *fs.ActiveCascades.Peak != 3 || *fs.PrimaryPinned.Write.Peak != 0.25 || *fs.PrimaryPinned.Read.Peak != 0.5 {
			t.Errorf("%s: gauges %s", name, testkit.JSON(fs))
		}
		if fs.LookupDelaySeconds.Sync.Count != 1 || fs.LookupDelaySeconds.Async != nil || obj.LookupDelaySeconds.Sync != nil || obj.LookupDelaySeconds.Async.Sum != 0.3 || primary.LookupDelaySeconds != nil || primary.PrimaryPinned != nil {
			t.Errorf("%s: delays %s %s", name, testkit.JSON(fs.LookupDelaySeconds), testkit.JSON(obj.LookupDelaySeconds))
		}
		// Its series appear inside the window, and its hits have none.
		if *obj.Queries != 120 || *obj.Hits != 0 || *obj.HitRate != 0 || *obj.ReadBytes != 0 || *obj.WriteBytes != 4_000_000 || *obj.WriteSeconds != 2 || *obj.Failures != 1 || obj.ActiveCascades != nil || !strings.HasSuffix(reasonAt(v, "engine.kv_offload.tiers.2.active_cascades"), `for "2:obj"`) {
			t.Errorf("%s: %s", name, testkit.JSON(obj))
		}
		if *striped.HitRate != 1 || *disk.Queries != 1 {
			t.Errorf("%s: %s %s", name, testkit.JSON(striped), testkit.JSON(disk))
		}
		switch back := obj.Backpressure; name {
		case "tiers":
			if *back.StoresDropped != 3 || *back.BlocksDropped != 48 || *back.StoreSecondsPerMebibyte.Peak != 0.05 || *back.StoreSecondsPerMebibyte.Last != 0.02 || fs.Backpressure != nil {
				t.Errorf("back-pressure %s", testkit.JSON(back))
			}
		default:
			if back != nil || !strings.Contains(reasonAt(v, "engine.kv_offload.tiers.2.backpressure"), "only if the tier configures back-pressure") {
				t.Errorf("back-pressure %s", testkit.JSON(back))
			}
		}
		if s := testkit.JSON(o) + testkit.JSON(v.Notes); strings.Contains(s, "evictions") {
			t.Error("the event names families that vobs does not read")
		}
	}
}

// Gauges of several server processes, each with its pid, are one engine's.
func TestOffloadGaugesByPID(t *testing.T) {
	page := offloadPage(t, "pids_post")
	_, g := offloadView(t, page, page, page)
	o := g.KVOffload
	if *o.CPUPinned.Usage.Peak != 0.3 || *o.CPUPinned.Usage.Last != 0.3 || *o.Tiers[0].ActivePromotions.Peak != 2 || *o.Load.Bytes != 0 {
		t.Errorf("%s", testkit.JSON(o))
	}
	// In this mode a family without a series has no TYPE line either: series that appear
	// inside the window count if the deprecated ones moved too.
	pre := testkit.ReplaceLines(t, page, "vllm:kv_offload_load", "")
	for _, line := range []string{"total_bytes_total", "total_time_total", "size_sum", "size_count", "size_bucket"} {
		var out strings.Builder
		for l := range strings.Lines(pre) {
			if strings.HasPrefix(l, "vllm:kv_offload_"+line+"{") {
				l = l[:strings.LastIndexByte(l, ' ')] + " 0.0\n"
			}
			out.WriteString(l)
		}
		pre = out.String()
	}
	if _, g = offloadView(t, pre, page); g.KVOffload.Load.Bytes == nil || *g.KVOffload.Load.Bytes != 50_000_000 || *g.KVOffload.Load.Operations != 2 {
		t.Errorf("%s", testkit.JSON(g.KVOffload.Load))
	}
}
