package aggregate

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/exposition"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// offloadPage gives a page of testdata/offload, which make.py there wrote.
func offloadPage(t testing.TB, name string) string {
	t.Helper()
	page, err := os.ReadFile("../../testdata/offload/" + name + ".prom")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// scenario gives a scenario's pages: pre, mid where there is one, and post.
func scenario(t testing.TB, name string) []string {
	pages := []string{offloadPage(t, name+"_pre")}
	if _, err := os.Stat("../../testdata/offload/" + name + "_mid.prom"); err == nil {
		pages = append(pages, offloadPage(t, name+"_mid"))
	}
	return append(pages, offloadPage(t, name+"_post"))
}

// readThrough books pages of one endpoint, a second apart, the first before the
// run and the last after it, and reads KV offloading and connectors off them.
func readThrough(t *testing.T, pages ...string) (view, *schema.Engine) {
	t.Helper()
	l, g := window.NewCounters(), window.NewGauges()
	parser := exposition.NewParser(metrics.IsWanted)
	for i, text := range pages {
		var page exposition.Page
		if err := parser.Parse([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		l.Classify(&page, true)
		l.Complete = true
		got := l.Apply(&page, true, i == 0)
		g.Add(0, time.Unix(int64(i), 0), got.Gauges, true, i > 0 && i < len(pages)-1, got.Restarted)
	}
	r := viewOf(l, g)
	r.stage = r.chooseStage()
	r.Engine = &schema.Engine{Window: &schema.Window{DurationSeconds: 4}}
	r.Engine.KVOffload, r.Engine.KVConnectors = r.offload(), r.connectors()
	e := &schema.GenerationObservability{Engine: r.Engine, Unavailable: r.Notes.Unavailable}
	for _, path := range schema.UnexplainedNulls(e) {
		if strings.HasPrefix(path, "engine.kv_offload") || strings.HasPrefix(path, "engine.kv_connectors") {
			t.Errorf("%s is null without a reason", path)
		}
	}
	return r, r.Engine
}

func reasonIn(r view, field string) string { return testkit.Reason(r.Output.Notes, field) }

// moved are the figures of one direction that expected.json has.
type moved struct {
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	Operations int64   `json:"operations"`
}

// What make.py added up from the events is what the pages amount to, whichever of
// the two families has it: the flat ones and the deprecated ones tell of the same
// events and are never added up.
func TestOffloadedBothWays(t *testing.T) {
	text, err := os.ReadFile("../../testdata/offload/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]map[string]moved
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	if len(expected) < 12 {
		t.Fatalf("only %d scenarios", len(expected))
	}
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		t.Run(name, func(t *testing.T) {
			r, g := readThrough(t, scenario(t, name)...)
			for way, got := range map[string]*schema.KVTransfer{"load": g.KVOffload.Load, "store": g.KVOffload.Store} {
				want := expected[name][way]
				if got.Bytes == nil || *got.Bytes != want.Bytes || got.Seconds == nil || !testkit.Near(got.Seconds, want.Seconds) || got.Operations == nil || *got.Operations != want.Operations {
					t.Errorf("%s %s, want %+v; %v", way, testkit.JSON(got), want, r.Notes.Unavailable)
					continue
				}
				if !testkit.Near(got.GigabytesPerSecondWall, float64(want.Bytes)/4e9) {
					t.Errorf("%s over the window: %s", way, testkit.JSON(got))
				}
				busy := reasonIn(r, "engine.kv_offload."+way+".gigabytes_per_second_busy")
				switch {
				case want.Seconds > 0 && !testkit.Near(got.GigabytesPerSecondBusy, float64(want.Bytes)/want.Seconds/1e9),
					want.Seconds == 0 && got.GigabytesPerSecondBusy != nil,
					want.Seconds == 0 && want.Bytes == 0 && !strings.Contains(busy, "nothing was"),
					want.Seconds == 0 && want.Bytes > 0 && !strings.Contains(busy, "tells no time"):
					t.Errorf("%s while copying: %s %q", way, testkit.JSON(got.GigabytesPerSecondBusy), busy)
				}
				if d := got.SizeBytes; want.Operations > 0 && (d == nil || d.Count != want.Operations || d.Sum != schema.Float(want.Bytes)) || want.Operations == 0 && d != nil {
					t.Errorf("%s sizes: %s", way, testkit.JSON(d))
				}
			}
			if undercounted := strings.Contains(testkit.Codes(r.Output.Notes), "kv_offload_undercounted"); undercounted != (name == "omni") {
				t.Errorf("doubts %q", testkit.Codes(r.Output.Notes))
			}
			if g.KVConnectors != nil || !strings.Contains(reasonIn(r, "engine.kv_connectors"), "no KV connector exports metrics") {
				t.Errorf("connectors %s", testkit.JSON(g.KVConnectors))
			}
			if !strings.HasPrefix(name, "tiers") && (g.KVOffload.Tiers != nil || !strings.Contains(reasonIn(r, "engine.kv_offload.tiers"), "kv_offload_tiering")) {
				t.Errorf("tiers %s", testkit.JSON(g.KVOffload.Tiers))
			}
		})
	}
}

// Sizes beyond the last bound, and four ranks that copy side by side: the time
// that they spent exceeds the window.
func TestOffloadRanks(t *testing.T) {
	r, g := readThrough(t, offloadPage(t, "ranks_pre"), offloadPage(t, "ranks_post"))
	load := g.KVOffload.Load
	if load.SizeBytes.P50Est == nil || load.SizeBytes.P99Est != nil || *load.SizeBytes.Above != 2e8 || *load.SizeBytes.Mean != 92_500_000 {
		t.Errorf("sizes: %s", testkit.JSON(load.SizeBytes))
	}
	// Without a clue of how many ranks there are, nothing is divided by their number.
	r.Engine.Window.DurationSeconds = 0.05
	if load = r.transfers(loading); *load.Seconds < 0.05 || !testkit.Near(load.GigabytesPerSecondBusy, 20) || !testkit.Near(load.GigabytesPerSecondWall, 1.48e9/0.05/1e9) {
		t.Errorf("in a short window: %s", testkit.JSON(load))
	}
}

// Which of the two families is read is decided by what was there at both ends.
func TestOffloadFallback(t *testing.T) {
	const flat, old = "vllm:kv_offload_load_", "vllm:kv_offload_total_"
	pre, post := offloadPage(t, "both_pre"), offloadPage(t, "both_post")
	without := func(page, begins string) string { return testkit.ReplaceLines(t, page, begins, "") }
	// Where the offload tier is not the CPU's memory the deprecated ones stand still.
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
		"deprecated ones tell of more":      {pre, testkit.ReplaceAll(t, post, `total_bytes_total{engine="0",model_name="m",transfer_type="CPU_to_GPU"} 3.77e+08`, `total_bytes_total{engine="0",model_name="m",transfer_type="CPU_to_GPU"} 9e+11`), 790_000_000, ""},
		"both vanish":                       {pre, without(without(post, flat), old), -1, "vanished from the page"},
		"flat ones vanish, of another tier": {pre, without(still.String(), flat+"bytes"), -1, "vanished from the page"},
	} {
		t.Run(name, func(t *testing.T) {
			r, g := readThrough(t, c.pre, c.post)
			got := g.KVOffload.Load.Bytes
			why := reasonIn(r, "engine.kv_offload.load.bytes")
			if c.bytes >= 0 && (got == nil || *got != c.bytes) || c.bytes < 0 && (got != nil || !strings.Contains(why, c.why) || g.KVOffload.Load.GigabytesPerSecondBusy != nil || g.KVOffload.Load.GigabytesPerSecondWall != nil) {
				t.Errorf("%s %q, want %d", testkit.JSON(got), why, c.bytes)
			}
			if *g.KVOffload.Store.Bytes != 60_000_000 {
				t.Errorf("stored: %s", testkit.JSON(g.KVOffload.Store))
			}
		})
	}
}

func TestOffloadOff(t *testing.T) {
	r, g := readThrough(t, testkit.Recorded(t, "serve_default_pre"), testkit.Recorded(t, "serve_default_post"))
	if g.KVOffload != nil || !strings.Contains(reasonIn(r, "engine.kv_offload"), "KV offloading is off") || g.KVConnectors != nil {
		t.Errorf("%s", testkit.JSON(g.KVOffload))
	}
	// Before June 2026 the deprecated series came with the first event too.
	page := testkit.ReplaceLines(t, testkit.ReplaceLines(t, offloadPage(t, "deprecated_pre"), "vllm:kv_offload_total_bytes_total{", ""), "vllm:kv_offload_total_time_total{", "")
	if r, g = readThrough(t, page, page); g.KVOffload.Load.Bytes == nil || *g.KVOffload.Load.Bytes != 0 || *g.KVOffload.Store.Seconds != 0 {
		t.Errorf("%s %v", testkit.JSON(g.KVOffload.Load), r.Notes.Unavailable)
	}
	page = testkit.ReplaceLines(t, page, "vllm:kv_offload_size_", "")
	if r, g = readThrough(t, page, page); g.KVOffload.Load.Bytes == nil || *g.KVOffload.Load.Bytes != 0 || *g.KVOffload.Load.Operations != 0 {
		t.Errorf("%s %v", testkit.JSON(g.KVOffload.Load), r.Notes.Unavailable)
	}
	// Families without a sample: it is on, and nothing happened.
	page = offloadPage(t, "lazy_pre")
	r, g = readThrough(t, page, page)
	if o := g.KVOffload; o == nil || *o.Load.Bytes != 0 || *o.Load.Operations != 0 || *o.AllocationFailures != 0 || o.StoresSkipped != nil || o.LookupDelaySeconds.Sync != nil || !strings.Contains(reasonIn(r, "engine.kv_offload.lookup_delay_seconds.sync"), "has no sample of it") || !strings.Contains(reasonIn(r, "engine.kv_offload.stores_skipped"), "store_threshold") {
		t.Errorf("%s", testkit.JSON(g.KVOffload))
	}
}

// The expected values are what make.py's function tiers counts.
func TestTiers(t *testing.T) {
	for _, name := range []string{"tiers", "tiers_blocks"} {
		r, g := readThrough(t, scenario(t, name)...)
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
		if *primary.Queries != 400 || *primary.Hits != 200 || *primary.HitRate != 0.5 || primary.ReadBytes != nil || primary.WriteSeconds != nil || *primary.Failures != 0 || !strings.Contains(reasonIn(r, "engine.kv_offload.tiers.0.read_bytes"), "reads and writes nothing itself") {
			t.Errorf("%s: %s", name, testkit.JSON(primary))
		}
		if *fs.Queries != 200 || *fs.Hits != 30 || *fs.HitRate != 0.15 || *fs.ReadBytes != 62_000_000 || *fs.ReadSeconds != 0.25 || *fs.WriteBytes != 30_000_000 || *fs.WriteSeconds != 0.5 || *fs.PromotionFailures != 2 || *fs.CascadeFailures != 0 || *fs.Failures != 2 {
			t.Errorf("%s: %s", name, testkit.JSON(fs))
		}
		// Jobs of both engines, of fractions the highest.
		if *fs.ActivePromotions.Peak != 6 || *fs.ActivePromotions.Last != 0 || *fs.ActiveCascades.Peak != 3 || *fs.PrimaryPinned.Write.Peak != 0.25 || *fs.PrimaryPinned.Read.Peak != 0.5 {
			t.Errorf("%s: gauges %s", name, testkit.JSON(fs))
		}
		if fs.LookupDelaySeconds.Sync.Count != 1 || fs.LookupDelaySeconds.Async != nil || obj.LookupDelaySeconds.Sync != nil || obj.LookupDelaySeconds.Async.Sum != 0.3 || primary.LookupDelaySeconds != nil || primary.PrimaryPinned != nil {
			t.Errorf("%s: delays %s %s", name, testkit.JSON(fs.LookupDelaySeconds), testkit.JSON(obj.LookupDelaySeconds))
		}
		// Its series are new within the window, and its hits have none.
		if *obj.Queries != 120 || *obj.Hits != 0 || *obj.HitRate != 0 || *obj.ReadBytes != 0 || *obj.WriteBytes != 4_000_000 || *obj.WriteSeconds != 2 || *obj.Failures != 1 || obj.ActiveCascades != nil || !strings.HasSuffix(reasonIn(r, "engine.kv_offload.tiers.2.active_cascades"), `for "2:obj"`) {
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
			if back != nil || !strings.Contains(reasonIn(r, "engine.kv_offload.tiers.2.backpressure"), "where a tier configures back-pressure") {
				t.Errorf("back-pressure %s", testkit.JSON(back))
			}
		}
		if s := testkit.JSON(o) + testkit.JSON(r.Notes); strings.Contains(s, "evictions") || strings.Contains(s, "simple_kv") {
			t.Error("families that are not known are spoken of")
		}
	}
}

// Gauges of several server processes, each under its pid, are one engine's.
func TestOffloadPids(t *testing.T) {
	page := offloadPage(t, "pids_post")
	_, g := readThrough(t, page, page, page)
	o := g.KVOffload
	if *o.CPUPinned.Usage.Peak != 0.3 || *o.CPUPinned.Usage.Last != 0.3 || *o.Tiers[0].ActivePromotions.Peak != 2 || *o.Load.Bytes != 0 {
		t.Errorf("%s", testkit.JSON(o))
	}
	// In this mode a family without a series has no TYPE line either: series that
	// come inside the window count where the deprecated ones tell of the same.
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
	if _, g = readThrough(t, pre, page); g.KVOffload.Load.Bytes == nil || *g.KVOffload.Load.Bytes != 50_000_000 || *g.KVOffload.Load.Operations != 2 {
		t.Errorf("%s", testkit.JSON(g.KVOffload.Load))
	}
}

// The expected values are what make.py's function connectors counts.
func TestConnectors(t *testing.T) {
	r, g := readThrough(t, offloadPage(t, "connectors_pre"), offloadPage(t, "connectors_post"))
	if len(g.KVConnectors) != 4 || g.KVOffload != nil {
		t.Fatalf("%s", testkit.JSON(g.KVConnectors))
	}
	nixl, mooncake, hf3fs, hisparse := g.KVConnectors[0], g.KVConnectors[1], g.KVConnectors[2], g.KVConnectors[3]
	if nixl.Name != "nixl" || nixl.Transfers.Count != 12 || !testkit.Near(&nixl.Transfers.Sum, 0.3) || *nixl.Bytes != 402653184 || *nixl.Failures != 2 || nixl.SizeBytes.Count != 12 || !testkit.Near(&nixl.PostSeconds.Sum, 0.03) || *nixl.Descriptors.Mean != 64 || *nixl.FailedNotifications != 1 || *nixl.ExpiredRequests != 3 || nixl.Operations != nil {
		t.Errorf("%s", testkit.JSON(nixl))
	}
	if mooncake.Name != "mooncake_store" || mooncake.Transfers.Count != 3 || !testkit.Near(&mooncake.Transfers.Sum, 0.56) || *mooncake.Bytes != 4<<20 || *mooncake.Failures != 1 || mooncake.Descriptors != nil {
		t.Errorf("%s", testkit.JSON(mooncake))
	}
	got := map[string]string{}
	for _, o := range mooncake.Operations {
		got[o.Operation] = testkit.JSON([]*int64{o.Count, o.Failures, o.Keys, o.Bytes, o.FailedKeys}) + testkit.JSON(o.Seconds.Count)
	}
	want := map[string]string{"load_get": "[1,0,8,2097152,0]1", "lookup_exists": "[2,1,32,0,16]2", "save_exists": "[1,0,8,0,0]1", "save_put": "[2,1,10,2097152,3]2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if hf3fs.Transfers.Count != 5 || !testkit.Near(&hf3fs.Transfers.Sum, 0.18) || *hf3fs.Failures != 1 || hf3fs.Bytes != nil || *hf3fs.Operations[0].Count != 2 || *hf3fs.Operations[0].Failures != 1 || *hf3fs.Operations[1].Count != 4 {
		t.Errorf("%s", testkit.JSON(hf3fs))
	}
	if *hisparse.Bytes != 1<<20 || *hisparse.Cache.HitRate != 0.75 || hisparse.Cache.Queries != 120 || hisparse.Transfers != nil {
		t.Errorf("%s", testkit.JSON(hisparse))
	}
	if why := reasonIn(r, "engine.kv_connectors.2.bytes"); !strings.Contains(why, "3FS exports no such figure") {
		t.Errorf("%q", why)
	}
}

// One connector's family is lost inside the window: what rests on it is null, the
// rest is not.
func TestConnectorFamilyLost(t *testing.T) {
	pre, post := offloadPage(t, "connectors_pre"), offloadPage(t, "connectors_post")
	r, g := readThrough(t, pre, testkit.ReplaceLines(t, testkit.ReplaceLines(t, testkit.ReplaceLines(t, post, "vllm:hf3fs_num_failed_load", ""), "vllm:nixl_bytes_transferred", ""), "vllm:hisparse_cache_misses", ""))
	nixl, hf3fs, hisparse := g.KVConnectors[0], g.KVConnectors[2], g.KVConnectors[3]
	if nixl.Bytes != nil || nixl.SizeBytes != nil || nixl.Transfers == nil || !strings.Contains(reasonIn(r, "engine.kv_connectors.0.bytes"), "vanished") {
		t.Errorf("%s", testkit.JSON(nixl))
	}
	if hf3fs.Failures != nil || hf3fs.Operations[0].Count != nil || *hf3fs.Operations[1].Count != 4 || hf3fs.Transfers == nil {
		t.Errorf("%s", testkit.JSON(hf3fs))
	}
	if hisparse.Cache != nil || *hisparse.Bytes != 1<<20 {
		t.Errorf("%s", testkit.JSON(hisparse))
	}
}
