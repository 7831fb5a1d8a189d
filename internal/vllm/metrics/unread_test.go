package metrics

import "testing"

func TestUnreadFamily(t *testing.T) {
	for name, want := range map[string]Unread{
		"vllm:kv_offload_fs_evictions_total":       {"vllm:kv_offload_fs_evictions", UnreadConnector},
		"vllm:num_requests_kv_fetch_by_stage":      {"vllm:num_requests_kv_fetch_by_stage", UnreadConnector},
		"vllm:nixl_num_failed_handshakes_created":  {"vllm:nixl_num_failed_handshakes", UnreadConnector},
		"lmcache:retrieve_hit_rate_bucket":         {"lmcache:retrieve_hit_rate", UnreadConnector},
		"ray_vllm_mooncake_transfer_seconds_count": {"ray_vllm_mooncake_transfer_seconds", UnreadConnector},
		"vllm:spec_decode_efficiency":              {"vllm:spec_decode_efficiency", UnreadSpeculation},
	} {
		if got, ok := UnreadFamily(name); !ok || got != want || !IsWanted(name) {
			t.Errorf("%s: %v, %v, want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{
		"vllm:engine_sleep_state", "vllm:num_requests_waiting_by_reason", "offload", "lmcache", "node_nixl_total", "",
		// Parts of families that are read, as prometheus_client, OpenMetrics and Ray write them.
		"vllm:kv_offload_load_bytes_created", "vllm:nixl_xfer_time_seconds_created", "vllm:nixl_num_failed_transfers", "ray_vllm_nixl_num_failed_transfers",
	} {
		if got, ok := UnreadFamily(name); ok {
			t.Errorf("%s: %v", name, got)
		}
	}
	for id := range DescID(NumDescs()) {
		for _, suffix := range []string{"", "_created", "_bucket", "_sum", "_count"} {
			if got, ok := UnreadFamily(id.Name() + suffix); ok && (suffix == "" || suffix == "_created" || id.Desc().Kind == KindHistogram) {
				t.Errorf("%s%s: %v", id.Name(), suffix, got)
			}
		}
	}
}
