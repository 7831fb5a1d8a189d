package aggregate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vobs/vobs/internal/testkit"
)

// The expected values are what make.py's function connectors counts.
func TestConnectors(t *testing.T) {
	v, g := offloadView(t, offloadPage(t, "connectors_pre"), offloadPage(t, "connectors_post"))
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
	if why := reasonAt(v, "engine.kv_connectors.2.bytes"); !strings.Contains(why, "3FS does not export it") {
		t.Errorf("%q", why)
	}
}

// simplePage returns a page of an idle engine with SimpleCPUOffloadConnector. The families are
// those of vLLM 0.32 (vllm/v1/simple_kv_offload/metrics.py).
func simplePage(stored, full, loaded string) string {
	return "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 100\n" +
		"# TYPE vllm:simple_kv_offload_save_outcomes_total counter\n" +
		"vllm:simple_kv_offload_save_outcomes_total{engine=\"0\",model_name=\"m\",outcome=\"stored\"} " + stored + "\n" +
		"vllm:simple_kv_offload_save_outcomes_total{engine=\"0\",model_name=\"m\",outcome=\"dropped_cpu_full\"} " + full + "\n" +
		"# TYPE vllm:simple_kv_offload_load_blocks_total counter\nvllm:simple_kv_offload_load_blocks_total{engine=\"0\",model_name=\"m\"} " + loaded + "\n" +
		"# TYPE vllm:simple_kv_offload_used_blocks gauge\nvllm:simple_kv_offload_used_blocks{engine=\"0\",model_name=\"m\"} 400\n" +
		"# TYPE vllm:simple_kv_offload_pending_store_blocks gauge\nvllm:simple_kv_offload_pending_store_blocks{engine=\"0\",model_name=\"m\"} 3\n" +
		"# TYPE vllm:simple_kv_offload_info gauge\n" +
		"vllm:simple_kv_offload_info{engine=\"0\",model_name=\"m\",backend=\"cpu\",page_cache=\"False\",lazy_offload=\"False\",capacity_blocks=\"4096\"} 1\n"
}

func TestSimpleOffload(t *testing.T) {
	v, g := offloadView(t, simplePage("500", "20", "300"), simplePage("1500", "60", "900"))
	if len(g.KVConnectors) != 1 || g.KVConnectors[0].Name != "simple_cpu_offload" {
		t.Fatal(testkit.JSON(g.KVConnectors))
	}
	c := g.KVConnectors[0]
	if diff := cmp.Diff(map[string]int64{"stored": 1000, "dropped_cpu_full": 40}, c.OffloadBlocks.SaveOutcomes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int64{"completed": 600}, c.OffloadBlocks.Loaded); diff != "" {
		t.Error(diff)
	}
	if b := c.OffloadBlocks; *b.Pinned.Last != 400 || *b.PendingStores.Last != 3 || *b.Capacity != 4096 || c.Transfers != nil {
		t.Error(testkit.JSON(c))
	}
	if why := reasonAt(v, "engine.kv_offload"); strings.Contains(why, "off:") || !strings.Contains(why, "SimpleCPUOffloadConnector: see engine.kv_connectors") {
		t.Errorf("%q", why)
	}
	// Other builds split the loads by phase.
	phases := func(issued, completed string) string {
		return strings.Replace(simplePage("0", "0", completed), `load_blocks_total{engine="0",model_name="m"}`, `load_blocks_total{engine="0",model_name="m",phase="issued"} `+issued+"\n"+`vllm:simple_kv_offload_load_blocks_total{engine="0",model_name="m",phase="completed"}`, 1)
	}
	_, g = offloadView(t, phases("300", "200"), phases("900", "700"))
	if diff := cmp.Diff(map[string]int64{"issued": 600, "completed": 500}, g.KVConnectors[0].OffloadBlocks.Loaded); diff != "" {
		t.Error(diff)
	}
}

// Families of connectors that vobs does not read: nothing is called off because of that.
func TestUnreadConnector(t *testing.T) {
	const engine = "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{engine=\"0\"} 100\n"
	for _, family := range []string{"lmcache:num_hit_tokens", "vllm:kv_offload_fs_evictions", "vllm:p2p_connector_transfers", "vllm:num_requests_kv_fetch_by_stage"} {
		for _, page := range []string{
			engine + "# TYPE " + family + "_total counter\n" + family + "_total{engine=\"0\"} 3\n",
			engine + "# TYPE " + family + "_total counter\n", // declared only
		} {
			v, g := offloadView(t, page, page)
			if g.KVOffload != nil || g.KVConnectors != nil {
				t.Errorf("%s: %s", family, testkit.JSON(g))
			}
			for _, path := range []string{"engine.kv_offload", "engine.kv_connectors"} {
				if why := reasonAt(v, path); !strings.Contains(why, family) || strings.Contains(why, "off:") || strings.Contains(why, "is off") {
					t.Errorf("%s: %q", path, why)
				}
			}
			if why := reasonAt(v, "engine.kv_connectors"); !strings.Contains(why, "vobs reads nothing of this connector") {
				t.Errorf("%q", why)
			}
		}
	}
	page := engine
	for _, family := range []string{"a", "b", "c", "d", "e"} {
		page += "lmcache:" + family + " 1\n"
	}
	v, _ := offloadView(t, page, page)
	if why := reasonAt(v, "engine.kv_connectors"); !strings.Contains(why, "lmcache:a, lmcache:b, lmcache:c and 2 more families") {
		t.Errorf("%q", why)
	}
}

// The families that 0.32 added to the connectors of NIXL and HiSparse.
func TestConnectorFamiliesOf032(t *testing.T) {
	page := func(late, lifetime string) string {
		return "# TYPE vllm:nixl_num_notifications_after_expiry_total counter\nvllm:nixl_num_notifications_after_expiry_total{engine=\"0\"} " + late + "\n" +
			"# TYPE vllm:hisparse_host_cache_usage_perc gauge\nvllm:hisparse_host_cache_usage_perc{engine=\"0\"} 0.5\n" +
			"# TYPE vllm:hisparse_pending_page_transfers gauge\nvllm:hisparse_pending_page_transfers{engine=\"0\"} 2\n" +
			"# TYPE vllm:hisparse_host_block_lifetime_seconds histogram\n" +
			"vllm:hisparse_host_block_lifetime_seconds_bucket{engine=\"0\",le=\"+Inf\"} " + lifetime + "\nvllm:hisparse_host_block_lifetime_seconds_sum{engine=\"0\"} 8\nvllm:hisparse_host_block_lifetime_seconds_count{engine=\"0\"} " + lifetime + "\n"
	}
	_, g := offloadView(t, page("1", "2"), page("4", "6"))
	if len(g.KVConnectors) != 2 || *g.KVConnectors[0].LateNotifications != 3 {
		t.Fatal(testkit.JSON(g.KVConnectors))
	}
	if h := g.KVConnectors[1].HostCache; *h.Usage.Last != 0.5 || *h.PendingTransfers.Last != 2 || h.Residency.LifetimeSeconds.Count != 4 || h.Residency.ReuseGapSeconds != nil {
		t.Error(testkit.JSON(h))
	}
}

// A family of a connector vanishes inside the window: the figures that need it are null, the
// others are not.
func TestConnectorFamilyLost(t *testing.T) {
	pre, post := offloadPage(t, "connectors_pre"), offloadPage(t, "connectors_post")
	v, g := offloadView(t, pre, testkit.ReplaceLines(t, testkit.ReplaceLines(t, testkit.ReplaceLines(t, post, "vllm:hf3fs_num_failed_load", ""), "vllm:nixl_bytes_transferred", ""), "vllm:hisparse_cache_misses", ""))
	nixl, hf3fs, hisparse := g.KVConnectors[0], g.KVConnectors[2], g.KVConnectors[3]
	if nixl.Bytes != nil || nixl.SizeBytes != nil || nixl.Transfers == nil || !strings.Contains(reasonAt(v, "engine.kv_connectors.0.bytes"), "vanished") {
		t.Errorf("%s", testkit.JSON(nixl))
	}
	if hf3fs.Failures != nil || hf3fs.Operations[0].Count != nil || *hf3fs.Operations[1].Count != 4 || hf3fs.Transfers == nil {
		t.Errorf("%s", testkit.JSON(hf3fs))
	}
	if hisparse.Cache != nil || *hisparse.Bytes != 1<<20 {
		t.Errorf("%s", testkit.JSON(hisparse))
	}
}
