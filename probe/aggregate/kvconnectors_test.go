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
