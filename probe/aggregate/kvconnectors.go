package aggregate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vobs/vobs/internal/vllm/metrics"
	"github.com/vobs/vobs/probe/window"
	"github.com/vobs/vobs/schema"
)

// kvConnectors returns the figures of the KV connectors that export metrics, except for
// offloading.
func (v view) kvConnectors() []schema.KVConnector {
	var out []schema.KVConnector
	for _, c := range []struct {
		name, title string
		metrics     []metrics.ID
		fill        func(path string, c *schema.KVConnector)
	}{
		{"nixl", "NIXL", []metrics.ID{metrics.NixlTransferTime, metrics.NixlPostTime, metrics.NixlBytes, metrics.NixlDescriptors, metrics.NixlFailedTransfers, metrics.NixlFailedNotifications, metrics.NixlExpiredRequests, metrics.NixlLateNotifications}, v.nixl},
		{"mooncake_store", "Mooncake Store", []metrics.ID{metrics.MooncakeTime, metrics.MooncakeCalls, metrics.MooncakeKeys, metrics.MooncakeBytes, metrics.MooncakeFailedKeys}, v.mooncake},
		{"hf3fs", "3FS", []metrics.ID{metrics.HF3FSSaveTime, metrics.HF3FSLoadTime, metrics.HF3FSFailedSaves, metrics.HF3FSFailedLoads}, v.hf3fs},
		{"hisparse", "HiSparse", []metrics.ID{metrics.HisparseHits, metrics.HisparseMisses, metrics.HisparseBytes, metrics.HisparseHostUsage, metrics.HisparsePendingTransfers}, v.hisparse},
		{"simple_cpu_offload", "SimpleCPUOffload", simpleOffloadMetrics, v.simpleOffload},
	} {
		if !v.everExported(c.metrics...) {
			continue
		}
		path := fmt.Sprintf("engine.kv_connectors.%d.", len(out))
		k := schema.KVConnector{Name: c.name}
		c.fill(path, &k)
		// The first reason at a path counts: these are for what fill did not try.
		for _, field := range []struct {
			name    string
			missing bool
		}{
			{"transfers", k.Transfers == nil}, {"bytes", k.Bytes == nil}, {"failures", k.Failures == nil},
			{"post_seconds", k.PostSeconds == nil}, {"size_bytes", k.SizeBytes == nil}, {"descriptors", k.Descriptors == nil},
			{"failed_notifications", k.FailedNotifications == nil}, {"expired_requests", k.ExpiredRequests == nil},
			{"late_notifications", k.LateNotifications == nil}, {"cache", k.Cache == nil}, {"operations", k.Operations == nil},
			{"host_cache", k.HostCache == nil}, {"offload_blocks", k.OffloadBlocks == nil},
		} {
			if field.missing {
				v.Notes.Missing(path+field.name, "the connector of "+c.title+" does not export it")
			}
		}
		out = append(out, k)
	}
	if out == nil {
		why := "the engine exports no metrics of a KV connector that vobs reads (NIXL, Mooncake Store, 3FS, HiSparse, SimpleCPUOffload)"
		if unread := v.unreadFamilies(metrics.UnreadConnector); unread != "" {
			why = "vobs reads nothing of this connector, although the page has " + unread
		}
		v.Notes.Missing("engine.kv_connectors", why)
	}
	return out
}

func (v view) nixl(path string, c *schema.KVConnector) {
	c.Transfers = v.distribution(path+"transfers", metrics.NixlTransferTime)
	c.SizeBytes = v.distribution(path+"size_bytes", metrics.NixlBytes)
	if found, why := v.metricsOf(metrics.NixlBytes); why == "" {
		c.Bytes = schema.Ptr(int64(window.MergeHistograms(found).Sum))
	} else {
		v.Notes.Missing(path+"bytes", why)
	}
	c.Failures = v.count(path+"failures", metrics.NixlFailedTransfers)
	c.PostSeconds = v.distribution(path+"post_seconds", metrics.NixlPostTime)
	c.Descriptors = v.distribution(path+"descriptors", metrics.NixlDescriptors)
	c.FailedNotifications = v.count(path+"failed_notifications", metrics.NixlFailedNotifications)
	c.ExpiredRequests = v.count(path+"expired_requests", metrics.NixlExpiredRequests)
	c.LateNotifications = v.count(path+"late_notifications", metrics.NixlLateNotifications)
}

// mooncake fills the operations of Mooncake Store: load_get and save_put, which move KV,
// save_exists and lookup_exists, which query. Their status is ok or error.
func (v view) mooncake(path string, c *schema.KVConnector) {
	all := func(*window.Metric) bool { return true }
	names := v.labelValues(metrics.MooncakeTime, metrics.MooncakeCalls, metrics.MooncakeKeys, metrics.MooncakeBytes, metrics.MooncakeFailedKeys)
	c.Operations = []schema.KVOperation{}
	for i, name := range slices.Sorted(maps.Keys(names)) {
		path := fmt.Sprintf("%soperations.%d.", path, i)
		count := func(field string, id metrics.ID, match func(*window.Metric) bool) *int64 {
			found, why := v.selectMetrics(func(*endpoint) metrics.ID { return id }, func(m *window.Metric) bool { return m.LabelValue == name && match(m) })
			return v.countOf(path+field, found, why)
		}
		o := schema.KVOperation{Operation: name}
		o.Count = count("count", metrics.MooncakeCalls, all)
		o.Failures = count("failures", metrics.MooncakeCalls, failed)
		o.Keys = count("keys", metrics.MooncakeKeys, all)
		o.Bytes = count("bytes", metrics.MooncakeBytes, all)
		o.FailedKeys = count("failed_keys", metrics.MooncakeFailedKeys, all)
		found, why := v.metricsWithLabel(metrics.MooncakeTime, name)
		o.Seconds = v.distributionOf(path+"seconds", found, why, metrics.MooncakeTime)
		c.Operations = append(c.Operations, o)
	}
	moves := func(id metrics.ID, match func(*window.Metric) bool) (found []*window.Metric, why string) {
		return v.selectMetrics(func(*endpoint) metrics.ID { return id }, func(m *window.Metric) bool {
			return (strings.HasSuffix(m.LabelValue, "_put") || strings.HasSuffix(m.LabelValue, "_get")) && match(m)
		})
	}
	found, why := moves(metrics.MooncakeTime, all)
	c.Transfers = v.distributionOf(path+"transfers", found, why, metrics.MooncakeTime)
	found, why = moves(metrics.MooncakeBytes, all)
	c.Bytes = v.countOf(path+"bytes", found, why)
	found, why = moves(metrics.MooncakeCalls, failed)
	c.Failures = v.countOf(path+"failures", found, why)
}

func failed(m *window.Metric) bool { return m.Labels.Get("status") != "ok" }

// hf3fs fills the figures of 3FS's connector, which times successful calls and counts
// failed ones.
func (v view) hf3fs(path string, c *schema.KVConnector) {
	var all []*window.Metric
	unknown := ""
	failures, failuresUnknown := int64(0), false
	for i, o := range []struct {
		name         string
		time, failed metrics.ID
	}{{"load", metrics.HF3FSLoadTime, metrics.HF3FSFailedLoads}, {"save", metrics.HF3FSSaveTime, metrics.HF3FSFailedSaves}} {
		path := fmt.Sprintf("%soperations.%d.", path, i)
		op := schema.KVOperation{Operation: o.name}
		found, why := v.metricsOf(o.time)
		op.Seconds = v.distributionOf(path+"seconds", found, why, o.time)
		all, unknown = append(all, found...), cmp.Or(unknown, why)
		if op.Failures = v.count(path+"failures", o.failed); op.Failures != nil {
			failures += *op.Failures
		}
		failuresUnknown = failuresUnknown || op.Failures == nil
		if why == "" && op.Failures != nil {
			op.Count = schema.Ptr(int64(window.MergeHistograms(found).Count) + *op.Failures)
		} else {
			v.Notes.Missing(path+"count", "the number of successful or of failed calls is unknown")
		}
		for _, field := range []string{"keys", "bytes", "failed_keys"} {
			v.Notes.Missing(path+field, "the connector of 3FS does not export it")
		}
		c.Operations = append(c.Operations, op)
	}
	c.Transfers = v.distributionOf(path+"transfers", all, unknown, metrics.HF3FSLoadTime)
	if !failuresUnknown {
		c.Failures = &failures
	} else {
		v.Notes.Missing(path+"failures", "the number of failed loads or of failed saves is unknown")
	}
}

func (v view) hisparse(path string, c *schema.KVConnector) {
	c.Bytes = v.count(path+"bytes", metrics.HisparseBytes)
	c.Cache = v.hisparseCache(path + "cache")
	path += "host_cache"
	c.HostCache = &schema.HostCache{
		Usage:            v.gauge(path+".usage", metrics.HisparseHostUsage),
		PendingTransfers: v.gauge(path+".pending_transfers", metrics.HisparsePendingTransfers),
	}
	path += ".residency"
	if !v.everExported(metrics.HisparseHostBlockLifetime, metrics.HisparseHostBlockIdleBeforeEvict, metrics.HisparseHostBlockReuseGap) {
		v.Notes.Missing(path, "the engine exports no vllm:hisparse_host_block families: vLLM 0.32 exports them with --kv-cache-metrics")
		return
	}
	c.HostCache.Residency = &schema.KVResidency{
		LifetimeSeconds:        v.distribution(path+".lifetime_seconds", metrics.HisparseHostBlockLifetime),
		IdleBeforeEvictSeconds: v.distribution(path+".idle_before_evict_seconds", metrics.HisparseHostBlockIdleBeforeEvict),
		ReuseGapSeconds:        v.distribution(path+".reuse_gap_seconds", metrics.HisparseHostBlockReuseGap),
	}
}

func (v view) hisparseCache(path string) *schema.CacheHits {
	hits, why := v.counter(metrics.HisparseHits)
	misses, whyMisses := v.counter(metrics.HisparseMisses)
	if why == "" {
		why = whyMisses
	}
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	c := &schema.CacheHits{Queries: hits + misses, Hits: hits}
	if x, why := ratio(&c.Hits, &c.Queries, "", "nothing was looked up"); why == "" {
		c.HitRate = schema.F(x)
	} else {
		v.Notes.Missing(path+".hit_rate", why)
	}
	return c
}

// simpleOffloadMetrics are those of SimpleCPUOffloadConnector, which offloads to CPU memory or
// to disk.
var simpleOffloadMetrics = []metrics.ID{metrics.SimpleSaveOutcomes, metrics.SimpleLoadBlocks, metrics.SimplePinnedBlocks, metrics.SimplePendingStoreBlocks, metrics.SimpleInfo}

func (v view) simpleOffload(path string, c *schema.KVConnector) {
	path += "offload_blocks."
	b := &schema.OffloadBlocks{
		SaveOutcomes:  v.countByLabel(path+"save_outcomes", metrics.SimpleSaveOutcomes),
		Loaded:        v.countByLabel(path+"loaded", metrics.SimpleLoadBlocks),
		Pinned:        v.gauge(path+"pinned", metrics.SimplePinnedBlocks),
		PendingStores: v.gauge(path+"pending_stores", metrics.SimplePendingStoreBlocks),
		Capacity:      v.simpleCapacity(path + "capacity"),
	}
	if n, ok := b.Loaded[""]; ok { // 0.32 counts only finished loads, without a phase
		delete(b.Loaded, "")
		b.Loaded["completed"] += n
	}
	c.OffloadBlocks = b
}

// simpleCapacity adds up the sizes of the engines' offload pools, which a label has.
func (v view) simpleCapacity(path string) *int64 {
	sum, why := int64(0), ""
	sizes := map[window.GaugeKey]bool{}
	for k := range v.gauges.Keys(metrics.SimpleInfo) {
		n, err := strconv.ParseInt(k.LabelValue, 10, 64)
		if err != nil || n < 0 {
			why = fmt.Sprintf("%s has capacity_blocks=%q, which is not a number", metrics.SimpleInfo.CanonicalName(), k.LabelValue)
		}
		sum += n
		k.LabelValue = ""
		if sizes[k] {
			why = "an engine's pool changed its size"
		}
		sizes[k] = true
	}
	if why == "" && len(sizes) == 0 {
		why = "the engine does not export " + metrics.SimpleInfo.CanonicalName()
	}
	if why != "" {
		v.Notes.Missing(path, why)
		return nil
	}
	return &sum
}
